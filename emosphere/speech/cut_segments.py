"""Cut one cell's speech into segments of about a sentence, at its pauses."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emosphere.model.description import MAX_CLIP_S

FRAME_MS: Final = 32
"""Length of one frame of speech activity."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentConfig:
    """What counts as speech, and where it is cut."""

    max_s: float = MAX_CLIP_S
    """No segment is longer. At most the model's ``max_clip_s``, the longest clip it was trained to hear at once."""
    min_s: float = 1.0
    """Shorter segments join a near neighbour; alone they are kept, with low confidence."""
    on_probability: float = 0.5
    """Speech begins in a frame at least this probable ..."""
    off_probability: float = 0.35
    """... and ends before the first frame less probable than this."""
    min_speech_ms: int = 250
    """Shorter bursts are no speech: clicks, coughs, a single beat of music."""
    min_mean_probability: float = 0.8
    """A short segment whose speech frames are, on average, less probable than this is no speech: a tune, not a talk."""
    lasting_ms: int = 1200
    """With this much speech a segment is no longer short in that sense ..."""
    min_lasting_probability: float = 0.6
    """... and its frames need only this probability on average: distorted voices."""
    pause_ms: int = 500
    """A pause this long ends a segment."""
    near_ms: int = 1000
    """Across pauses up to this long a short segment still joins its neighbour."""
    pad_ms: int = 96
    """Kept before and after speech: soft beginnings and endings."""

    def __post_init__(self) -> None:
        if not 0 < self.min_s < self.max_s / 2 < math.inf:
            raise ValueError(
                f"min_s={self.min_s} must be above 0 and below half of max_s={self.max_s}, a finite number."
            )
        if max(2 * self.min_frames, 3) > self.max_frames:
            raise ValueError(
                f"max_s={self.max_s} holds {self.max_frames} frames of {FRAME_MS} ms; wanted are 3, and twice the "
                f"{self.min_frames} of min_s={self.min_s}, so that it can be cut in two. Raise max_s or lower min_s."
            )
        if not 0 < self.off_probability <= self.on_probability < 1:
            raise ValueError(
                f"off_probability={self.off_probability} must be above 0 and at most "
                f"on_probability={self.on_probability}, which is below 1."
            )
        if not 0 <= self.min_lasting_probability <= self.min_mean_probability < 1:
            raise ValueError(
                f"min_lasting_probability={self.min_lasting_probability} must be at least 0 and at most "
                f"min_mean_probability={self.min_mean_probability}, which is below 1."
            )
        if min(self.min_speech_ms, self.lasting_ms, self.pause_ms, self.near_ms, self.pad_ms) < 0:
            raise ValueError("min_speech_ms, lasting_ms, pause_ms, near_ms and pad_ms cannot be negative.")

    @property
    def max_frames(self) -> int:
        """Whole frames within ``max_s``."""
        return int(self.max_s * 1000) // FRAME_MS

    @property
    def min_frames(self) -> int:
        """``min_s`` in frames, to the nearest."""
        return _frames(1000 * self.min_s)


class Segment(NamedTuple):
    """A stretch of speech in frames of its cell, half-open."""

    start_frame: int
    stop_frame: int
    speech_frames: int
    """How many of its frames hold speech."""


class _Run(NamedTuple):
    start: int
    stop: int


_Group = list[_Run]
"""Runs of speech that make up one segment, in order."""


def segments_of(probabilities: NDArray[np.float32], config: SegmentConfig) -> list[Segment]:
    """Segments of one cell from its frames' speech probabilities: in order, disjoint, at most ``max_s`` long.

    >>> talk = np.concatenate([np.zeros(40), np.ones(100), np.zeros(40)]).astype(np.float32)
    >>> segments_of(talk, SegmentConfig())
    [Segment(start_frame=37, stop_frame=143, speech_frames=100)]
    """
    groups: list[_Group] = []
    for group in _joined(speech_runs(probabilities, config), _frames(config.pause_ms)):
        groups += _split(group, probabilities, max_frames=config.max_frames, min_frames=config.min_frames)
    groups = [group for group in groups if _sounds_like_speech(group, probabilities, config)]
    groups = _merge_short(
        groups, min_frames=config.min_frames, near=_frames(config.near_ms), max_frames=config.max_frames
    )
    return _padded(groups, num_frames=len(probabilities), pad=_frames(config.pad_ms), max_frames=config.max_frames)


def even_segments(num_frames: int, config: SegmentConfig) -> list[Segment]:
    """All of a cell as speech, in as few parts as ``max_s`` allows, equal to a frame.

    >>> even_segments(800, SegmentConfig())
    [Segment(start_frame=0, stop_frame=266, speech_frames=266), Segment(start_frame=266, stop_frame=533, \
speech_frames=267), Segment(start_frame=533, stop_frame=800, speech_frames=267)]
    """
    parts = -(-num_frames // config.max_frames)
    borders = [part * num_frames // parts for part in range(parts + 1)] if parts else []
    return [Segment(start, stop, stop - start) for start, stop in itertools.pairwise(borders)]


def speech_runs(probabilities: NDArray[np.float32], config: SegmentConfig) -> list[_Run]:
    """Uninterrupted speech, half-open frame ranges, bursts below ``min_speech_ms`` left out."""
    may_be = np.concatenate([[False], probabilities >= config.off_probability, [False]])
    edges = np.flatnonzero(may_be[1:] != may_be[:-1])
    is_sure = probabilities >= config.on_probability
    runs = []
    for low, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        sure = np.flatnonzero(is_sure[low:stop])
        # Speech begins where it is sure, not where it merely may be.
        if len(sure) and stop - (start := low + int(sure[0])) >= _frames(config.min_speech_ms):
            runs.append(_Run(start, stop))
    return runs


def _joined(runs: Sequence[_Run], pause: int) -> list[_Group]:
    groups: list[_Group] = []
    for run in runs:
        if groups and run.start - groups[-1][-1].stop < pause:
            groups[-1].append(run)
        else:
            groups.append([run])
    return groups


def _split(group: _Group, probabilities: NDArray[np.float32], *, max_frames: int, min_frames: int) -> list[_Group]:
    """Cut a group that is too long at its longest pause, or where nobody pauses, at its least probable frame."""
    if group[-1].stop - group[0].start <= max_frames:
        return [group]
    start, stop = group[0].start, group[-1].stop
    middle = (start + stop) / 2
    pauses = [
        (earlier.stop - later.start, abs((earlier.stop + later.start) / 2 - middle), index + 1)
        for index, (earlier, later) in enumerate(itertools.pairwise(group))
        if earlier.stop - start >= min_frames and stop - later.start >= min_frames
    ]
    if pauses:
        index = min(pauses)[2]
        halves = group[:index], group[index:]
    else:
        halves = _cut_inside(group, probabilities, margin=max(min_frames, (stop - start) // 4))
    return [
        part for half in halves for part in _split(half, probabilities, max_frames=max_frames, min_frames=min_frames)
    ]


def _cut_inside(group: _Group, probabilities: NDArray[np.float32], *, margin: int) -> tuple[_Group, _Group]:
    start, stop = group[0].start, group[-1].stop
    cut = start + margin + int(np.argmin(probabilities[start + margin : stop - margin]))
    first = [_Run(run.start, min(run.stop, cut)) for run in group if run.start < cut]
    second = [_Run(max(run.start, cut), run.stop) for run in group if run.stop > cut]
    return first, second


def _sounds_like_speech(group: _Group, probabilities: NDArray[np.float32], config: SegmentConfig) -> bool:
    joined = np.concatenate([probabilities[run.start : run.stop] for run in group])
    is_lasting = len(joined) >= _frames(config.lasting_ms)
    needed = config.min_lasting_probability if is_lasting else config.min_mean_probability
    return float(joined.mean(dtype=np.float64)) >= needed


def _merge_short(groups: list[_Group], *, min_frames: int, near: int, max_frames: int) -> list[_Group]:
    merged = list(groups)
    index = 0
    while index < len(merged):
        group = merged[index]
        if group[-1].stop - group[0].start < min_frames:
            # Both pairs that it could be merged with, by the gap between the two.
            neighbours = []
            for first in (index - 1, index):
                if 0 <= first < len(merged) - 1:
                    gap, span = _gap(merged[first], merged[first + 1]), _span(merged[first], merged[first + 1])
                    if gap <= near and span <= max_frames:
                        neighbours.append((gap, first))
            if neighbours:
                first = min(neighbours)[1]
                merged[first : first + 2] = [merged[first] + merged[first + 1]]
                index = first
                continue
        index += 1
    return merged


def _gap(earlier: _Group, later: _Group) -> int:
    return later[0].start - earlier[-1].stop


def _span(earlier: _Group, later: _Group) -> int:
    return later[-1].stop - earlier[0].start


def _padded(groups: Sequence[_Group], *, num_frames: int, pad: int, max_frames: int) -> list[Segment]:
    segments = []
    for index, group in enumerate(groups):
        start, stop = group[0].start, group[-1].stop
        # Neighbours share a pause between them; the cell's borders are hard.
        before = start if index == 0 else (start - groups[index - 1][-1].stop) // 2
        after = num_frames - stop if index + 1 == len(groups) else (groups[index + 1][0].start - stop) // 2
        room = max_frames - (stop - start)
        lead = min(pad, before, room // 2)
        tail = min(pad, after, room - lead)
        speech = sum(run.stop - run.start for run in group)
        segments.append(Segment(start - lead, stop + tail, speech))
    return segments


def _frames(duration_ms: float) -> int:
    return round(duration_ms / FRAME_MS)
