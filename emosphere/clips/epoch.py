"""One epoch of training: which clips meet in a batch, which rank gets which of them, and how each is changed."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from emosphere.clips.batches import Batch, Clips
from emosphere.clips.spectrum import SpectrumConfig, augment_bands
from emosphere.model.frames import ClipFeatures, pad_clips


class PlannedBatch(NamedTuple):
    """Clips that are one batch, of all ranks together."""

    rows: list[int]
    longest: int
    """Frames of each clip that are in the batch at most; 0 without such a limit."""


def num_batches(num_rows: int, batch_size: int) -> int:
    """Batches that :func:`plan_epoch` makes of ``num_rows`` clips."""
    return -(-num_rows // batch_size)


def plan_epoch(
    clips: Clips,
    rows: Sequence[int],
    spectrum: SpectrumConfig | None,
    *,
    batch_size: int,
    pool_batches: int = 1,
    seed: int,
    epoch: int,
) -> list[PlannedBatch]:
    """Every clip of ``rows`` once, in batches that (seed, epoch) alone decide, however many ranks share them.

    No batch holds more than ``batch_size`` clips, and all are as equal as can be: a concordance over a small rest would
    mean little. With ``pool_batches`` above 1 so many batches at a time are sorted by length before they are cut, then
    shuffled, so that little is padded.
    """
    rng = np.random.default_rng([seed, epoch])
    parts = np.array_split(rng.permutation(np.asarray(rows)), num_batches(len(rows), batch_size))
    batches = [[int(row) for row in part] for part in parts]
    if pool_batches > 1:
        pools = [batches[at : at + pool_batches] for at in range(0, len(batches), pool_batches)]
        batches = [batch for pool in pools for batch in _sorted_by_length(pool, clips, rng)]
    return [
        PlannedBatch(batch, int(rng.integers(spectrum.crop_frames[0], spectrum.crop_frames[1] + 1)) if spectrum else 0)
        for batch in batches
    ]


def _sorted_by_length(pool: list[list[int]], clips: Clips, rng: np.random.Generator) -> list[list[int]]:
    """The same clips in batches of like length, in any order."""
    by_length = iter(sorted((row for batch in pool for row in batch), key=clips.num_frames))
    sorted_batches = [list(islice(by_length, len(batch))) for batch in pool]
    return [sorted_batches[at] for at in rng.permutation(len(pool))]


def training_shares(
    clips: Clips,
    plan: Sequence[PlannedBatch],
    spectrum: SpectrumConfig | None,
    *,
    micro_batch_size: int | None = None,
    seed: int,
    epoch: int,
    rank: int = 0,
    num_ranks: int = 1,
) -> Iterator[list[Batch]]:
    """One rank's share of each planned batch, in nearly equal pieces of at most ``micro_batch_size`` clips.

    What happens to a clip depends on (seed, epoch, clip) alone, not on which rank gets it.
    """
    shares = [batch.rows[rank::num_ranks] for batch in plan]
    picks = [(row, _version(clips, seed, epoch, row)) for share in shares for row in share]
    drawn = clips.draw(picks)
    for batch, share in zip(plan, shares, strict=True):
        pieces = []
        for piece in _pieces(share, micro_batch_size):
            changed = []
            for row in piece:
                features = next(drawn)
                rng = _clip_rng(seed, epoch, row)
                rng.integers(clips.num_versions)  # the version: `_version` drew it from the same generator
                changed.append(_changed(features, batch.longest, spectrum, rng))
            pieces.append(Batch(pad_clips(changed), clips.targets(piece)))
        yield pieces


def _changed(
    features: ClipFeatures, longest: int, spectrum: SpectrumConfig | None, rng: np.random.Generator
) -> ClipFeatures:
    """One random version of a clip; streams that the settings do not name are heard as they are."""
    if spectrum is None:
        return features
    return {
        name: augment_bands(frames, longest, spectrum, rng) if name in spectrum.streams else frames
        for name, frames in features.items()
    }


def _clip_rng(seed: int, epoch: int, row: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch, row])


def _version(clips: Clips, seed: int, epoch: int, row: int) -> int:
    return int(_clip_rng(seed, epoch, row).integers(clips.num_versions))


def _pieces(rows: list[int], size: int | None) -> list[list[int]]:
    count = 1 if size is None else -(-len(rows) // size)
    # As equal as can be, and rather one too large than one of a single clip, which has no concordance of its own.
    count = max(min(count, len(rows) // 2), 1)
    return [[int(row) for row in part] for part in np.array_split(np.asarray(rows), count)]
