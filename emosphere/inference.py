"""Speech in, rows out: the notebook user's door, and the engine that the pipeline feeds."""

import copy
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from emosphere.audio.decode_outcome import SAMPLES_PER_MS
from emosphere.audio.resample import to_model_rate
from emosphere.model.checkpoint import Checkpoint, load_checkpoint
from emosphere.model.find import find_model
from emosphere.model.predict import Predictor
from emosphere.settings import BatchSettings, SpeechSettings
from emosphere.speech.activity import SpeechActivity
from emosphere.speech.cells import Cell, cut_cells
from emosphere.speech.find_segments import SpeechSegment, find_segments
from emosphere.tables.schema import columns_from
from emosphere.tasks import Published
from emosphere.tasks.task import Columns

if TYPE_CHECKING:
    import pandas

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class ScoredChannels:
    """What became of the cells of one key."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """One dict per segment, columns of ``segments`` that the audio and the model determine; by channel and start."""
    distinct_channels: set[int] = field(default_factory=set)
    """Channels that differ from every earlier one somewhere in these cells."""


class Scorer:
    """One model, one speech-activity model; scores waveforms at once or cells of many recordings as they come."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "cpu",
        speech: SpeechSettings | None = None,
        batch: BatchSettings | None = None,
        threads: Executor | None = None,
    ) -> None:
        """``threads`` compute the network's batches side by side, instead of the calling one.

        Raises UsageError where segments could be longer than what the model was trained to hear at once.
        """
        self.checkpoint = checkpoint
        self.speech = speech or SpeechSettings()
        self.speech.check_model(checkpoint)
        self.batch = batch or BatchSettings()
        pool_s = self.batch.pool_s if self.batch.pool_s is not None else 32 * self.batch.batch_s
        self._pool_samples = int(pool_s * 1000 * SAMPLES_PER_MS)
        self._predictor = Predictor(
            checkpoint, device=device, batch_s=self.batch.batch_s, precision=self.batch.precision, threads=threads
        )
        self._activity = SpeechActivity().to(device) if self.speech.find_speech else None
        self._tasks = checkpoint.config.tasks
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

    def score(self, waveform: npt.ArrayLike, sample_rate_hz: int) -> "pandas.DataFrame":
        """Segments of a waveform, ``(samples,)`` or ``(channels, samples)`` in [-1, 1], with their scores.

        Columns are those of the table ``segments`` that apply without an archive. Raises ValueError for another shape
        or samples that are not finite.
        """
        import pandas  # for this alone: the pipeline does without

        samples = np.atleast_2d(np.asarray(waveform, dtype=np.float32))
        if samples.ndim != 2 or samples.shape[0] > 64:
            raise ValueError(f"waveform has shape {np.shape(waveform)}; wanted (samples,) or (channels, samples).")
        if not np.isfinite(samples).all():
            raise ValueError("waveform holds NaN or infinity.")
        blocks = to_model_rate(
            iter([samples.T]), sample_rate_hz=sample_rate_hz, num_channels=len(samples), num_dropped=0
        )
        cells = cut_cells(blocks, start_sample=0, first_cell=0, stop_cell=None, grid=self.speech.grid)
        events: list[tuple[int, Cell | None]] = [*((0, cell) for cell in cells), (0, None)]
        [(_, scored)] = self.score_cells(events)
        rows = [row for row in scored.rows if row["channel"] in scored.distinct_channels]
        index: dict[int, int] = {}
        for row in rows:
            row["segment_index"] = index.get(row["channel"], 0)
            index[row["channel"]] = row["segment_index"] + 1
        return pandas.DataFrame(rows, columns=columns_from("segments", "audio", "model", "order"))

    def score_cells(self, events: Iterable[tuple[Key, Cell | None]]) -> Iterator[tuple[Key, ScoredChannels]]:
        """Score a stream of cells; ``(key, None)`` says that a key has no more. Yields each key once it is whole.

        Keys may interleave. What is held is bounded by :class:`BatchSettings`, however long the stream.
        """
        stream: _Stream[Key] = _Stream(
            self._find_segments,
            self._score_segments,
            cells_at_once=self.batch.cells,
            pool_samples=self._pool_samples,
        )
        for key, cell in events:
            stream.take(key, cell)
            yield from stream.pop_whole()
        stream.finish()
        yield from stream.pop_whole()

    def _find_segments(self, cells: list[Cell]) -> list[list[SpeechSegment]]:
        """Segments of each cell."""
        began = time.perf_counter()
        segments = find_segments(cells, self._activity, self.speech.segment, self.speech.quality)
        self.spent_s["find_speech"] += time.perf_counter() - began
        return segments

    def _score_segments(self, segments: list[SpeechSegment]) -> list[dict[str, Any]]:
        """The row of each segment."""
        began = time.perf_counter()
        answers = self._predictor.predict([segment.samples for segment in segments])
        columns = columns_of(Published(self._tasks, answers))
        rows = [
            _audio_columns(segment) | {name: _python_value(values[number]) for name, values in columns.items()}
            for number, segment in enumerate(segments)
        ]
        self.spent_s["predict"] += time.perf_counter() - began
        return rows


def load(model: str = "default", *, device: str | None = None, speech: SpeechSettings | None = None) -> Scorer:
    """A scorer with the model of that name: ``default`` (bundled), a folder, a URL, or ``hf:ORG/NAME``.

    ``device`` is a torch device; by default the GPU where there is one. ``speech``: how speech is found and cut.
    Raises BadCheckpoint if there is no such model, UsageError if ``speech`` cuts longer segments than it can hear.
    """
    return Scorer(load_checkpoint(find_model(model)), device=device or default_device(), speech=speech)


def default_device() -> str:
    """``cuda`` where torch sees a GPU, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


class _Stream(Generic[Key]):
    """Cells of several keys on their way through a scorer: they wait until there are enough to look for speech in, and
    their segments until there are enough for the network.
    """

    def __init__(
        self,
        segments_of: Callable[[list[Cell]], list[list[SpeechSegment]]],
        rows_of: Callable[[list[SpeechSegment]], list[dict[str, Any]]],
        *,
        cells_at_once: int,
        pool_samples: int,
    ) -> None:
        """``segments_of`` finds those of each of ``cells_at_once`` cells; ``rows_of`` scores each of some segments, of
        ``pool_samples`` samples or more together.
        """
        self._segments_of, self._rows_of = segments_of, rows_of
        self._cells_at_once, self._pool_samples = cells_at_once, pool_samples
        self._keys: dict[Key, _OpenKey] = {}
        self._cells: list[tuple[Key, Cell]] = []
        self._segments: list[tuple[Key, SpeechSegment]] = []

    def take(self, key: Key, cell: Cell | None) -> None:
        """Take in a cell, or that its key has no more; work where enough is gathered."""
        open_key = self._keys.setdefault(key, _OpenKey())
        if cell is None:
            open_key.is_closed = True
        elif not open_key.takes_for_copy(cell):
            open_key.num_waiting += 1
            self._cells.append((key, cell))
        if len(self._cells) >= self._cells_at_once:
            self._find_segments()
        if sum(len(segment.samples) for _, segment in self._segments) >= self._pool_samples:
            self._score_segments()

    def finish(self) -> None:
        """Work at what is left."""
        self._find_segments()
        self._score_segments()

    def pop_whole(self) -> Iterator[tuple[Key, ScoredChannels]]:
        """Keys of which all is scored; nothing of them is kept."""
        whole = [key for key, open_key in self._keys.items() if open_key.is_closed and not open_key.num_waiting]
        for key in whole:
            yield key, self._keys.pop(key).scored()

    def _find_segments(self) -> None:
        if not self._cells:
            return
        segments_by_cell = self._segments_of([cell for _, cell in self._cells])
        for (key, _), segments in zip(self._cells, segments_by_cell, strict=True):
            self._keys[key].num_waiting += len(segments) - 1
            self._segments += [(key, segment) for segment in segments]
        self._cells.clear()

    def _score_segments(self) -> None:
        if not self._segments:
            return
        rows = self._rows_of([segment for _, segment in self._segments])
        for (key, segment), row in zip(self._segments, rows, strict=True):
            self._keys[key].rows.append((segment.cell_index, row))
            self._keys[key].num_waiting -= 1
        self._segments.clear()


@dataclass(slots=True)
class _OpenKey:
    """A key of which more may come, or something still waits."""

    is_closed: bool = False
    """Whether no more cells will come."""
    num_waiting: int = 0
    """Its cells and segments that are not scored yet."""
    rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """Index of the cell, and row of a segment in it."""
    distinct_channels: set[int] = field(default_factory=set)
    spans: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    """By channel and index of a cell: its first sample, and how many they are."""
    copies: list[tuple[int, int, int]] = field(default_factory=list)
    """Index of a cell, the channel that it is scored on, and the channel that gets the same rows."""

    def takes_for_copy(self, cell: Cell) -> bool:
        """Whether an identical channel's rows will do for this cell; notes what is needed to know and to copy."""
        span = (cell.start_sample, len(cell.samples) - cell.lead_in)
        self.spans[cell.channel, cell.index] = span
        if cell.same_as is None:
            self.distinct_channels.add(cell.channel)
            return False
        if self.spans.get((cell.same_as, cell.index)) != span:
            return False
        self.copies.append((cell.index, cell.same_as, cell.channel))
        return True

    def scored(self) -> ScoredChannels:
        """Its rows, with those of the copies."""
        for index, source, channel in self.copies:
            self.rows += [
                (cell, row | {"channel": channel})
                for cell, row in self.rows
                if cell == index and row["channel"] == source
            ]
        rows = sorted((row for _, row in self.rows), key=lambda row: (row["channel"], row["start_ms"]))
        return ScoredChannels(rows, self.distinct_channels)


def _audio_columns(segment: SpeechSegment) -> dict[str, Any]:
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


def columns_of(model: Published) -> Columns:
    """All columns of ``segments`` that follow from a model's answers; an array of None where no head fills one."""
    num_segments = len(next(iter(model.answers.values())))
    columns: Columns = {name: np.full(num_segments, None) for name in columns_from("segments", "model")}
    for head, task in model.tasks.items():
        columns |= task.columns(model, head)
    return columns


def _python_value(value: Any) -> Any:
    """A number of NumPy's as one of Python's; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value
