"""Labelled clips to batches: heard once, kept in memory, then drawn, changed and padded."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
import torch
from jaxtyping import Float, Int
from torch import Tensor

from emosphere.data.augment import RATE_HZ, DistortionConfig, Waveform, distort
from emosphere.data.labels import EMOTIONS
from emosphere.data.manifest import Clip, category_targets, region_targets, vad_targets
from emosphere.data.spectrum import SpectrumConfig, change
from emosphere.errors import BadClip
from emosphere.model.frames import Frames, pad_frames
from emosphere.store import locate

Listen = Callable[[Float[Tensor, "batch sample"], Int[Tensor, "batch"]], Frames]


class Batch(NamedTuple):
    """What the network hears, and what it should have answered."""

    heard: Frames
    targets: dict[str, Tensor]
    """``vad`` (batch, 3) centred; class labels (batch,) by head name, -1 where an item has none."""


@dataclass(frozen=True)
class HeardClips:
    """Clips after the fixed front end of a network: the clean version, and distorted copies."""

    clips: tuple[Clip, ...]
    versions: tuple[tuple[Tensor, ...], ...]
    """``versions[0]`` is clean; each holds one float16 (frame, feature) tensor per clip."""

    def targets(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Targets of the clips in ``rows``, by head."""
        clips = [self.clips[row] for row in rows]
        return {
            "vad": vad_targets(clips),
            "region": region_targets(clips),
            "category": category_targets(clips, EMOTIONS),
        }


def read_clip(clip: Clip, *, max_s: float = 12.0) -> Waveform:
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
            if start:
                file.seek(start)
            samples = file.read(max(longest, 0), dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise BadClip(f"{clip.uri}: a clip of the manifest cannot be read ({error}).") from error
    if clip.channel is not None and clip.channel >= samples.shape[1]:
        raise BadClip(f"{clip.uri}: has no channel {clip.channel}, only {samples.shape[1]}.")
    waveform = samples.mean(axis=1) if clip.channel is None else samples[:, clip.channel]
    if not len(waveform) or not np.isfinite(waveform).all():
        found = "values that are not finite" if len(waveform) else "no sample"
        raise BadClip(f"{clip.uri}: holds {found} from {clip.start_ms} ms on.")
    if rate_hz != RATE_HZ:
        waveform = soxr.resample(waveform, rate_hz, RATE_HZ)
    return np.ascontiguousarray(waveform, np.float32)


def hear(
    clips: Sequence[Clip], listen: Listen, min_samples: int, distortion: DistortionConfig | None, *, seed: int = 0
) -> HeardClips:
    """Decode every clip once, distort it ``copies`` times and keep what the front end makes of each version.

    A copy depends on (seed, copy, path) alone, not on the other clips.
    """
    copies = distortion.copies if distortion else 0
    versions: list[list[Tensor]] = [[] for _ in range(1 + copies)]
    for clip in clips:
        clean = read_clip(clip)
        versions[0].append(_heard(clean, listen, min_samples))
        for copy in range(copies):
            rng = np.random.default_rng([seed, copy, *clip.name.encode()])
            assert distortion is not None
            versions[1 + copy].append(_heard(distort(clean, distortion, rng), listen, min_samples))
    return HeardClips(tuple(clips), tuple(tuple(version) for version in versions))


def num_batches(num_rows: int, batch_size: int, num_ranks: int = 1) -> int:
    """Batches that :func:`training_batches` makes of ``num_rows`` clips."""
    whole, rest = divmod(num_rows, batch_size)
    return whole + (rest >= 2 * num_ranks)


def training_batches(
    heard: HeardClips,
    rows: Sequence[int],
    config: SpectrumConfig | None,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    rank: int = 0,
    num_ranks: int = 1,
) -> Iterator[Batch]:
    """One epoch over ``rows`` in random order; each of ``num_ranks`` workers gets its share of every batch.

    ``batch_size`` counts the clips of all workers together. What happens to a clip depends on (seed, epoch, clip)
    alone. A last batch with fewer than two clips per worker is left out: concordance needs two.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(np.asarray(rows))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        longest = int(rng.integers(config.crop_frames[0], config.crop_frames[1] + 1)) if config else 0
        if len(batch) < 2 * num_ranks:
            return
        mine = [int(row) for row in batch[rank::num_ranks]]
        cells = []
        for row in mine:
            clip_rng = np.random.default_rng([seed, epoch, row])
            version = heard.versions[int(clip_rng.integers(len(heard.versions)))]
            one = version[row].float()
            cells.append(change(one, longest, config, clip_rng) if config else one)
        yield Batch(pad_frames(cells), heard.targets(mine))


def evaluation_batches(
    heard: HeardClips, rows: Sequence[int], *, version: int = 0, batch_frames: int = 6000
) -> Iterator[tuple[list[int], Batch]]:
    """Batches of whole clips in one version, longest first, with the rows each holds."""
    cells = heard.versions[version]
    batch: list[int] = []
    for row in sorted(rows, key=lambda row: len(cells[row]), reverse=True):
        if batch and (len(batch) + 1) * len(cells[batch[0]]) > batch_frames:
            yield batch, _whole(heard, batch, version)
            batch = []
        batch.append(row)
    if batch:
        yield batch, _whole(heard, batch, version)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on ``device``."""
    targets: Mapping[str, Tensor] = batch.targets
    return Batch(
        Frames(batch.heard.values.to(device), batch.heard.is_valid.to(device)),
        {name: target.to(device) for name, target in targets.items()},
    )


def _whole(heard: HeardClips, rows: list[int], version: int) -> Batch:
    return Batch(pad_frames([heard.versions[version][row].float() for row in rows]), heard.targets(rows))


def _heard(waveform: Waveform, listen: Listen, min_samples: int) -> Tensor:
    padded = np.pad(waveform, (0, max(min_samples - len(waveform), 0)))
    frames = listen(torch.from_numpy(padded)[None], torch.tensor([len(padded)]))
    return frames.values[0].half()
