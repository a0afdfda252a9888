"""One epoch of training: which clips meet in a batch, who hears which of them, and how each is changed."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from emosphere.data.collate import Batch, Clips
from emosphere.data.spectrum import SpectrumConfig, change
from emosphere.model.frames import pad_frames


class PlannedBatch(NamedTuple):
    """Clips that are one batch, of all workers together."""

    rows: list[int]
    longest: int
    """Frames that the batch hears of each clip at most; 0 without such a limit."""


def num_batches(num_rows: int, batch_size: int, num_ranks: int = 1) -> int:
    """Batches that :func:`plan_epoch` makes of ``num_rows`` clips."""
    whole, rest = divmod(num_rows, batch_size)
    return whole + (rest >= 2 * num_ranks)


def plan_epoch(
    clips: Clips,
    rows: Sequence[int],
    spectrum: SpectrumConfig | None,
    *,
    batch_size: int,
    pool_batches: int = 1,
    seed: int,
    epoch: int,
    num_ranks: int = 1,
) -> list[PlannedBatch]:
    """Every clip of ``rows`` once, in an order that (seed, epoch) alone decide.

    With ``pool_batches`` above 1 so many batches at a time are sorted by length before they are cut, then shuffled, so
    that little is padded. A last batch with fewer than two clips per worker is left out: concordance needs two.
    """
    rng = np.random.default_rng([seed, epoch])
    order = [int(row) for row in rng.permutation(np.asarray(rows))]
    pool = batch_size * pool_batches
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        drawn = order[start : start + pool]
        if pool_batches > 1:
            drawn.sort(key=clips.num_frames)
        cut = [drawn[at : at + batch_size] for at in range(0, len(drawn), batch_size)]
        batches += [cut[at] for at in rng.permutation(len(cut))] if pool_batches > 1 else cut
    planned = []
    for batch in batches:
        longest = int(rng.integers(spectrum.crop_frames[0], spectrum.crop_frames[1] + 1)) if spectrum else 0
        if len(batch) >= 2 * num_ranks:
            planned.append(PlannedBatch(batch, longest))
    return planned


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
    """One worker's share of each planned batch, in nearly equal pieces of at most ``micro_batch_size`` clips.

    What happens to a clip depends on (seed, epoch, clip) alone, not on who hears it.
    """
    shares = [batch.rows[rank::num_ranks] for batch in plan]
    picks = [(row, _version(clips, seed, epoch, row)) for share in shares for row in share]
    cells = clips.draw(picks)
    for batch, share in zip(plan, shares, strict=True):
        pieces = []
        for piece in _pieces(share, micro_batch_size):
            frames = []
            for row in piece:
                one = next(cells)
                rng = _fate(seed, epoch, row)
                rng.integers(clips.num_versions)  # drawn already
                frames.append(change(one, batch.longest, spectrum, rng) if spectrum else one)
            pieces.append(Batch(pad_frames(frames), clips.targets(piece)))
        yield pieces


def _fate(seed: int, epoch: int, row: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch, row])


def _version(clips: Clips, seed: int, epoch: int, row: int) -> int:
    return int(_fate(seed, epoch, row).integers(clips.num_versions))


def _pieces(rows: list[int], size: int | None) -> list[list[int]]:
    count = 1 if size is None else -(-len(rows) // size)
    # As equal as can be, and rather one too large than one of a single clip, which has no concordance of its own.
    count = max(min(count, len(rows) // 2), 1)
    return [[int(row) for row in part] for part in np.array_split(np.asarray(rows), count)]
