"""The absolute grid: every channel is cut near whole minutes, in its own pauses, wherever decoding began."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emosphere.audio.decode_outcome import MODEL_RATE_HZ
from emosphere.speech.same_sound import duplicate_of

STEP: Final = 512
"""Samples between possible borders: one 32 ms frame of speech activity."""
QUIET_STEPS: Final = 6
"""Steps over which quiet is measured, 192 ms: shorter than a pause between phrases, longer than a stop consonant."""
POWER_STEP: Final = 1e-9
"""Powers are compared in steps of -90 dB, so that rounding far below hearing cannot move a border."""
SPAN_MARGIN_S: Final = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class CellGrid:
    """Where cells begin and end; every border is a multiple of 512 samples."""

    cell_s: float = 60.0
    """Time from one border to the next, before each is moved into a pause."""
    search_s: float = 3.0
    """How far a border may move either way."""
    lead_in_s: float = 2.048
    """Audio before a cell that goes through speech activity and is not reported."""

    def __post_init__(self) -> None:
        if not 0 < 2 * self.search_s < self.cell_s < math.inf:
            raise ValueError(
                f"search_s={self.search_s} must be above 0 and below half of cell_s={self.cell_s}, a finite number."
            )
        if self.search_s * MODEL_RATE_HZ < STEP * (QUIET_STEPS + 1):
            raise ValueError(f"search_s={self.search_s} leaves no room for a quiet frame of 192 ms.")
        if not 0 <= self.lead_in_s <= self.cell_s - self.search_s:
            raise ValueError(f"lead_in_s={self.lead_in_s} must fit between two borders of cell_s={self.cell_s}.")

    def span_s(self, first_cell: int) -> float:
        """From which second to decode so that ``first_cell`` can be cut.

        >>> CellGrid().span_s(0), round(CellGrid().span_s(1), 3)
        (0.0, 54.852)
        """
        if first_cell == 0:
            return 0.0
        return max(0.0, first_cell * self.cell_s - self.search_s - self.lead_in_s - SPAN_MARGIN_S)

    def search_range(self, border: int) -> tuple[int, int]:
        """Samples [start, stop) in which border number ``border`` (from 1 on) is sought."""
        middle = border * self.cell_s
        return round((middle - self.search_s) * MODEL_RATE_HZ), round((middle + self.search_s) * MODEL_RATE_HZ)

    def nominal_range(self, cell: int) -> tuple[int, int]:
        """Samples [start, stop) of a cell before its borders are moved."""
        return round(cell * self.cell_s * MODEL_RATE_HZ), round((cell + 1) * self.cell_s * MODEL_RATE_HZ)

    @property
    def lead_in(self) -> int:
        """Samples of lead-in, a multiple of 512."""
        return round(self.lead_in_s * MODEL_RATE_HZ / STEP) * STEP


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Cell:
    """About a minute of one channel, as every run cuts it."""

    channel: int
    index: int
    start_sample: int
    """First sample of the cell, at 16 kHz from the beginning of the recording."""
    lead_in: int
    """How many of ``samples`` lie before ``start_sample``."""
    samples: NDArray[np.float32]
    """Lead-in and cell, 1-D, full scale 1."""
    same_as: int | None
    """Lowest earlier channel with the same sound, compared over the nominal minute; None for a channel of its own."""

    @property
    def stop_sample(self) -> int:
        """One past the last sample of the cell."""
        return self.start_sample + len(self.samples) - self.lead_in


def cut_cells(
    blocks: Iterable[NDArray[np.float32]],
    *,
    start_sample: int,
    first_cell: int,
    stop_cell: int | None,
    grid: CellGrid,
) -> Iterator[Cell]:
    """Cut ``blocks`` (channels, samples), which begin at ``start_sample``, into cells [first_cell, stop_cell).

    For each index the cells of all channels follow each other; None runs to the end. Nothing comes out for cells that
    the audio does not reach. Reading stops once the last cell is cut. Raises ValueError when the blocks begin too late.
    """
    needed = 0 if first_cell == 0 else grid.search_range(first_cell)[0] - grid.lead_in
    if start_sample > max(0, needed):
        raise ValueError(f"Cell {first_cell} needs audio from sample {needed}; the blocks begin at {start_sample}.")
    window = _Window(iter(blocks), start_sample)
    index = first_cell
    starts = _borders(window, first_cell, grid)
    while starts is not None and (stop_cell is None or index < stop_cell):
        stops = _borders(window, index + 1, grid)
        end = window.stop
        if stops is None and max(starts, default=end) >= end:
            return
        nominal_start, nominal_stop = grid.nominal_range(index)
        same_as = duplicate_of(window.between(nominal_start, end if stops is None else nominal_stop))
        lead_in = 0 if index == 0 else grid.lead_in
        for channel, start in enumerate(starts):
            stop = end if stops is None else stops[channel]
            yield Cell(
                channel=channel,
                index=index,
                start_sample=start,
                lead_in=lead_in,
                samples=window.between(start - lead_in, stop)[channel].copy(),
                same_as=same_as[channel],
            )
        starts, index = stops, index + 1
        if stops is not None:
            window.forget_before(min(grid.search_range(index)[0] - grid.lead_in, grid.nominal_range(index)[0]))


class _Window:
    """The part of a recording that is still needed, by absolute sample."""

    def __init__(self, blocks: Iterator[NDArray[np.float32]], start: int) -> None:
        self._blocks, self._start = blocks, start
        self._parts: list[NDArray[np.float32]] = []
        self.stop = start

    def reach(self, sample: int) -> bool:
        """Read on until ``sample`` samples are there; False when the recording ends before."""
        while self.stop < sample:
            block = next(self._blocks, None)
            if block is None:
                return False
            self._parts.append(block)
            self.stop += block.shape[1]
        return True

    @property
    def num_channels(self) -> int:
        """Known after the first block, 0 without any."""
        return self._parts[0].shape[0] if self._parts else 0

    def between(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples (channels, stop - start); a view."""
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts, axis=1)]
        return self._parts[0][:, max(0, start - self._start) : max(0, stop - self._start)]

    def forget_before(self, sample: int) -> None:
        """Drop what no later cell needs."""
        if sample > self._start:
            self._parts = [self.between(sample, self.stop).copy()]
            self._start = sample


def _borders(window: _Window, border: int, grid: CellGrid) -> list[int] | None:
    """Where border number ``border`` lies in each channel; None when the recording ends before it is settled."""
    if border == 0:
        return [0] * window.num_channels if window.reach(1) else None
    low, high = grid.search_range(border)
    if not window.reach(high):
        return None
    first = -(-low // STEP) * STEP
    num_steps = (high - first) // STEP
    region = window.between(first, first + num_steps * STEP)
    return [first + STEP * quietest_step(samples) for samples in region]


def quietest_step(samples: NDArray[np.float32]) -> int:
    """Which 512-sample step (0-based) begins the quietest 192 ms; of equals, the first."""
    steps = samples.reshape(-1, STEP).astype(np.float64)
    energy = np.einsum("ij,ij->i", steps, steps)
    num_frames = len(energy) - QUIET_STEPS + 1
    frame_energy = sum(energy[offset : offset + num_frames] for offset in range(QUIET_STEPS))
    power = np.asarray(frame_energy) / (QUIET_STEPS * STEP)
    return int(np.argmin(np.rint(power / POWER_STEP)))
