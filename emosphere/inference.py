"""Speech in, rows out: the notebook user's door, and the engine that the pipeline feeds."""

import copy
import time
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from emosphere.audio.resample import to_model_rate
from emosphere.model.checkpoint import Checkpoint, load_checkpoint
from emosphere.model.find import find_model
from emosphere.model.predict import Predictor
from emosphere.settings import BatchSettings, SpeechSettings
from emosphere.speech.activity import SpeechActivity
from emosphere.speech.cells import Cell, cut_cells
from emosphere.speech.find_segments import SpeechSegment, find_segments
from emosphere.tables.schema import SEGMENTS
from emosphere.tables.vad_columns import located

SAMPLES_PER_MS = 16
Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class ScoredChannels:
    """What became of the cells of one key."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """One dict per segment, columns of ``segments`` that the audio and the model determine; by channel and start."""
    distinct_channels: set[int] = field(default_factory=set)
    """Channels that differ from every earlier one somewhere in these cells."""


@dataclass(slots=True)
class _Open:
    """A key whose cells are still coming or still in a batch."""

    rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    distinct: set[int] = field(default_factory=set)
    spans: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    copies: list[tuple[int, int, int]] = field(default_factory=list)
    waiting: int = 0
    closed: bool = False


class Scorer:
    """One model, one speech-activity model; scores waveforms at once or cells of many recordings as they come."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "cpu",
        listen: SpeechSettings | None = None,
        batch: BatchSettings | None = None,
        threads: Executor | None = None,
    ) -> None:
        """``threads``: threads that compute the network's batches side by side, instead of the calling one."""
        self.checkpoint = checkpoint
        self.listen = listen or SpeechSettings()
        self.batch = batch or BatchSettings()
        pool_s = self.batch.pool_s if self.batch.pool_s is not None else 32 * self.batch.batch_s
        self._pool_samples = int(pool_s * 1000 * SAMPLES_PER_MS)
        self._predictor = Predictor(
            checkpoint, device=device, batch_s=self.batch.batch_s, precision=self.batch.precision, threads=threads
        )
        self._activity = SpeechActivity().to(device) if self.listen.find_speech else None
        self._num_regions = checkpoint.config.num_regions or 8
        self._vad_radius_90 = checkpoint.config.vad_radius_90
        self.spent_s = {"find_speech": 0.0, "predict": 0.0}
        """Seconds spent so far on finding and measuring speech, and in the network."""

    def another(self) -> "Scorer":
        """One more for another thread: the same networks in memory, figures of its own."""
        other = copy.copy(self)
        other.spent_s, other._predictor = dict.fromkeys(self.spent_s, 0.0), self._predictor.another()
        return other

    @property
    def padding(self) -> tuple[int, int]:
        """Samples that went through the network so far, and how many of them were padding."""
        return self._predictor.num_samples, self._predictor.num_padding

    def score(self, waveform: npt.ArrayLike, sample_rate_hz: int) -> pd.DataFrame:
        """Segments of a waveform, ``(samples,)`` or ``(channels, samples)`` in [-1, 1], with their scores.

        Columns are those of the table ``segments`` that apply without an archive. Raises ValueError for another shape
        or samples that are not finite.
        """
        samples = np.atleast_2d(np.asarray(waveform, dtype=np.float32))
        if samples.ndim != 2 or samples.shape[0] > 64:
            raise ValueError(f"waveform has shape {np.shape(waveform)}; wanted (samples,) or (channels, samples).")
        if not np.isfinite(samples).all():
            raise ValueError("waveform holds NaN or infinity.")
        blocks = to_model_rate(
            iter([samples.T]), sample_rate_hz=sample_rate_hz, num_channels=len(samples), num_dropped=0
        )
        cells = cut_cells(blocks, start_sample=0, first_cell=0, stop_cell=None, grid=self.listen.grid)
        events: list[tuple[int, Cell | None]] = [*((0, cell) for cell in cells), (0, None)]
        [(_, scored)] = self.score_cells(events)
        rows = [row for row in scored.rows if row["channel"] in scored.distinct_channels]
        index: dict[int, int] = {}
        for row in rows:
            row["segment_index"] = index.get(row["channel"], 0)
            index[row["channel"]] = row["segment_index"] + 1
        columns = [column.name for column in SEGMENTS if column.name in _ROW_COLUMNS]
        return pd.DataFrame(rows, columns=columns)

    def score_cells(self, events: Iterable[tuple[Key, Cell | None]]) -> Iterator[tuple[Key, ScoredChannels]]:
        """Score a stream of cells; ``(key, None)`` says that a key has no more. Yields each key once it is whole.

        Keys may interleave. What is held is bounded by :class:`BatchSettings`, however long the stream.
        """
        open_keys: dict[Key, _Open] = {}
        cells: list[tuple[Key, Cell]] = []
        pool: list[tuple[Key, SpeechSegment]] = []
        for key, cell in events:
            state = open_keys.setdefault(key, _Open())
            if cell is None:
                state.closed = True
            elif not self._is_copy(state, cell):
                state.waiting += 1
                cells.append((key, cell))
            if len(cells) >= self.batch.cells:
                self._find_speech(cells, open_keys, pool)
            if sum(len(segment.samples) for _, segment in pool) >= self._pool_samples:
                self._predict(pool, open_keys)
            yield from _finished(open_keys)
        self._find_speech(cells, open_keys, pool)
        self._predict(pool, open_keys)
        yield from _finished(open_keys)

    def _is_copy(self, state: _Open, cell: Cell) -> bool:
        """Whether an identical channel's rows will do for this cell; notes what is needed to know and to copy."""
        span = (cell.start_sample, len(cell.samples) - cell.lead_in)
        state.spans[cell.channel, cell.index] = span
        if cell.same_as is None:
            state.distinct.add(cell.channel)
            return False
        if state.spans.get((cell.same_as, cell.index)) != span:
            return False
        state.copies.append((cell.index, cell.same_as, cell.channel))
        return True

    def _find_speech(
        self, cells: list[tuple[Key, Cell]], open_keys: dict[Key, _Open], pool: list[tuple[Key, SpeechSegment]]
    ) -> None:
        if not cells:
            return
        began = time.perf_counter()
        found = find_segments([cell for _, cell in cells], self._activity, self.listen.segment, self.listen.quality)
        for (key, _), segments in zip(cells, found, strict=True):
            open_keys[key].waiting += len(segments) - 1
            pool.extend((key, segment) for segment in segments)
        cells.clear()
        self.spent_s["find_speech"] += time.perf_counter() - began

    def _predict(self, pool: list[tuple[Key, SpeechSegment]], open_keys: dict[Key, _Open]) -> None:
        if not pool:
            return
        began = time.perf_counter()
        vad, region_probs = self._predictor.predict([segment.samples for _, segment in pool])
        columns = located(vad, region_probs, self._num_regions)
        for row_number, (key, segment) in enumerate(pool):
            row = _row(segment)
            row.update((name, _plain(values[row_number])) for name, values in columns.items())
            row["vad_radius_90"] = self._vad_radius_90
            state = open_keys[key]
            state.rows.append((segment.cell_index, row))
            state.waiting -= 1
        pool.clear()
        self.spent_s["predict"] += time.perf_counter() - began


def load(model: str = "default", *, device: str | None = None) -> Scorer:
    """A scorer with the model of that name: ``default`` (bundled), a folder, a URL, or ``hf:ORG/NAME``.

    ``device`` is a torch device; by default the GPU where there is one. Raises BadCheckpoint if there is no such model.
    """
    return Scorer(load_checkpoint(find_model(model)), device=device or default_device())


def default_device() -> str:
    """``cuda`` where torch sees a GPU, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _finished(open_keys: dict[Key, _Open]) -> Iterator[tuple[Key, ScoredChannels]]:
    for key in [key for key, state in open_keys.items() if state.closed and not state.waiting]:
        state = open_keys.pop(key)
        for index, source, channel in state.copies:
            state.rows += [
                (cell, {**row, "channel": channel})
                for cell, row in state.rows
                if cell == index and row["channel"] == source
            ]
        rows = sorted((row for _, row in state.rows), key=lambda row: (row["channel"], row["start_ms"]))
        yield key, ScoredChannels(rows, state.distinct)


def _row(segment: SpeechSegment) -> dict[str, Any]:
    return {
        "channel": segment.channel,
        "start_ms": segment.start_sample // SAMPLES_PER_MS,
        "end_ms": segment.stop_sample // SAMPLES_PER_MS,
        "speech_ms": segment.speech_ms,
        "confidence": segment.confidence,
        "low_reason": segment.low_reason,
        "rms_db": segment.rms_db,
        "clipped_ratio": segment.clipped_ratio,
        "snr_db": segment.snr_db,
        "bandwidth_hz": segment.bandwidth_hz,
    }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


_ROW_COLUMNS = frozenset(
    [
        "channel",
        "segment_index",
        "start_ms",
        "end_ms",
        "speech_ms",
        "valence",
        "arousal",
        "dominance",
        "radius",
        "azimuth_deg",
        "polar_deg",
        "region",
        "region_name",
        "region_prob",
        "vad_radius_90",
        "confidence",
        "low_reason",
        "rms_db",
        "clipped_ratio",
        "snr_db",
        "bandwidth_hz",
    ]
)
