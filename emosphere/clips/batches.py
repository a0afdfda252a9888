"""Labelled clips to batches: read once, kept in memory, then drawn, changed and padded."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import soundfile
import soxr
import torch
from jaxtyping import Float, Int
from torch import Tensor

from emosphere.clips.augment import RATE_HZ, DistortionConfig, Waveform, distort
from emosphere.clips.manifest import Clip
from emosphere.errors import BadClip
from emosphere.model.description import MAX_CLIP_S
from emosphere.model.frames import ClipFeatures, Features, Frames, pad_clips
from emosphere.store import locate
from emosphere.tasks import Target, Task

FrontEnd = Callable[[Float[Tensor, "batch sample"], Int[Tensor, "batch"]], Features]


class Batch(NamedTuple):
    """What goes into the network, and what should come out."""

    features: Features
    targets: dict[str, Target]
    """By head."""


class Clips(Protocol):
    """Labelled clips behind a network's fixed front end, wherever they are kept."""

    @property
    def clips(self) -> Sequence[Clip]:
        """What a row of a batch is."""
        ...

    @property
    def tasks(self) -> Mapping[str, Task]:
        """What the heads should answer, by head."""
        ...

    @property
    def num_versions(self) -> int:
        """The clean one, and distorted copies."""
        ...

    def targets(self, rows: Sequence[int]) -> dict[str, Target]:
        """Targets of the clips in ``rows``, by head."""
        ...

    def num_frames(self, row: int) -> int:
        """Length of a clip, as far as it is known beforehand."""
        ...

    def draw(self, picks: Sequence[tuple[int, int]]) -> Iterator[ClipFeatures]:
        """Features of the (row, version) ``picks``, in their order."""
        ...


@dataclass(frozen=True)
class InMemoryClips:
    """Clips kept in memory."""

    clips: tuple[Clip, ...]
    versions: tuple[tuple[ClipFeatures, ...], ...]
    """``versions[0]`` is clean; each holds the features of every clip, in float16."""
    tasks: Mapping[str, Task]
    """What the heads should answer, by head."""

    @property
    def num_versions(self) -> int:
        return len(self.versions)

    def targets(self, rows: Sequence[int]) -> dict[str, Target]:
        return targets_of([self.clips[row] for row in rows], self.tasks)

    def num_frames(self, row: int) -> int:
        """Of the first stream."""
        return len(next(iter(self.versions[0][row].values())))

    def draw(self, picks: Sequence[tuple[int, int]]) -> Iterator[ClipFeatures]:
        return (
            {name: frames.float() for name, frames in self.versions[version][row].items()} for row, version in picks
        )


def targets_of(clips: Sequence[Clip], tasks: Mapping[str, Task]) -> dict[str, Target]:
    """What each head should answer."""
    return {head: task.target(clips) for head, task in tasks.items()}


def read_clip(clip: Clip, *, max_s: float = MAX_CLIP_S) -> Waveform:
    """First ``max_s`` seconds of the clip at 16 kHz, its channel or their average. Raises BadClip."""
    try:
        location = locate(clip.uri)
        source = location.path if location.is_local else io.BytesIO(location.read_bytes())
        with soundfile.SoundFile(source) as file:
            rate_hz = file.samplerate
            start = round(clip.start_ms * rate_hz / 1000)
            longest = int(max_s * rate_hz)
            if clip.end_ms is not None:
                longest = min(longest, round(clip.end_ms * rate_hz / 1000) - start)
            file.seek(min(start, file.frames))
            samples = file.read(max(longest, 0), dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise BadClip(f"{clip.uri}: a clip of the manifest cannot be read ({error}).") from error
    if clip.channel is not None and clip.channel >= samples.shape[1]:
        raise BadClip(f"{clip.uri}: has no channel {clip.channel}, only {samples.shape[1]}.")
    waveform = samples.mean(axis=1) if clip.channel is None else samples[:, clip.channel]
    if not len(waveform) or not np.isfinite(waveform).all():
        content = "values that are not finite" if len(waveform) else "no sample"
        raise BadClip(f"{clip.uri}: holds {content} from {clip.start_ms} ms on.")
    if rate_hz != RATE_HZ:
        waveform = soxr.resample(waveform, rate_hz, RATE_HZ)
    return np.ascontiguousarray(waveform, np.float32)


def version_of(clean: Waveform, clip: Clip, version: int, distortion: DistortionConfig | None, seed: int) -> Waveform:
    """The clip itself (0), or a distorted copy that depends on (seed, version, clip) alone, not on other clips."""
    if not version or distortion is None:
        return clean
    return distort(clean, distortion, np.random.default_rng([seed, version - 1, *clip.name.encode()]))


def clip_features(
    waveform: Waveform, front_end: FrontEnd, min_samples: int, device: torch.device | None = None
) -> ClipFeatures:
    """What the front ends on ``device`` make of one clip; a very short one is padded with silence to one frame."""
    padded = np.pad(waveform, (0, max(min_samples - len(waveform), 0)))
    features = front_end(torch.from_numpy(padded)[None].to(device), torch.tensor([len(padded)], device=device))
    return {name: frames.values[0] for name, frames in features.items()}


def evaluation_batches(
    clips: Clips, rows: Sequence[int], *, version: int = 0, batch_frames: int = 6000
) -> Iterator[tuple[list[int], Batch]]:
    """Batches of whole clips in one version, longest first, with the rows each holds."""
    order = sorted(rows, key=clips.num_frames, reverse=True)
    groups: list[list[int]] = []
    for row in order:
        if not groups or (len(groups[-1]) + 1) * clips.num_frames(groups[-1][0]) > batch_frames:
            groups.append([])
        groups[-1].append(row)
    features = clips.draw([(row, version) for row in order])
    for group in groups:
        yield group, Batch(pad_clips([next(features) for _ in group]), clips.targets(group))


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on ``device``."""
    return Batch(
        {name: Frames(*(part.to(device) for part in frames)) for name, frames in batch.features.items()},
        {name: Target(*(part.to(device) for part in target)) for name, target in batch.targets.items()},
    )
