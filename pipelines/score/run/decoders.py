"""One part's recordings on their way through decoders beside the model: units in, cells out, in threads ahead of it."""

import contextlib
import hashlib
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

from emosphere.audio.decode_outcome import MODEL_RATE_HZ
from emosphere.audio.decoding.child import IsolatedDecoder
from emosphere.errors import BadRecording, ErrorCode, MachineError
from emosphere.speech.cells import Cell, cut_cells
from pipelines.archive.fetch import Fetcher
from pipelines.archive.recording import recording_of
from pipelines.archive.seal import Seal
from pipelines.score.policy import withhold_cells
from pipelines.score.settings import ScoreSettings

AFTER_THE_START = frozenset({"TRUNCATED", "CORRUPT", "TOO_SHORT", "EMPTY"})
"""Reasons which, met by a later unit of a recording, say only that it ends earlier than its header promised."""

SAMPLES_PER_MS = MODEL_RATE_HZ // 1000
QUEUED_CELLS = 8
"""Cells (about a minute each) decoded ahead of the model: the bound on waveforms in memory, per part."""

Event = tuple[int, Cell | None]
"""A cell of a unit, by the unit's row in its part; None: the unit has no more."""


class Decoders:
    """Decoder processes that work at one part at a time, and what fetches for each of them."""

    def __init__(self, count: int, settings: ScoreSettings, seal: Seal, withheld: frozenset[int]) -> None:
        self._settings, self._seal, self._withheld = settings, seal, withheld
        self._decoders = [IsolatedDecoder(settings.decode) for _ in range(count)]
        self._fetchers = [Fetcher(settings.fetch, settings.store) for _ in range(count)]

    def decode(self, units: list[dict[str, Any]]) -> "PartDecoding":
        """Begin with the units of a part."""
        return PartDecoding(units, self, self._settings, self._seal, self._withheld)

    @property
    def pairs(self) -> list[tuple[Fetcher, IsolatedDecoder]]:
        """Each decoder with its fetcher."""
        return list(zip(self._fetchers, self._decoders, strict=True))

    def close(self) -> None:
        """End the processes and wipe the scratch folders."""
        for fetcher, decoder in self.pairs:
            decoder.close()
            fetcher.close()


class PartDecoding:
    """The units of one part on their way through the decoders."""

    def __init__(
        self,
        units: list[dict[str, Any]],
        decoders: Decoders,
        settings: ScoreSettings,
        seal: Seal,
        withheld: frozenset[int],
    ) -> None:
        self.units = units
        self.results: list[dict[str, Any]] = [{} for _ in units]
        """What is known of each unit so far; complete once its end is out."""
        self.waited_s = 0.0
        """Seconds that whoever takes the events has waited for them."""
        self._decoders, self._settings, self._seal, self._withheld = decoders, settings, seal, withheld
        self._first_with: dict[tuple[str, int], int] = {}
        self._alike = Counter(map(_span, units))
        self._digests: dict[str, str] = {}
        self._hashing = threading.Lock()
        self._todo = deque(range(len(units)))
        self._queue: queue.Queue[Event | BaseException | None] = queue.Queue(QUEUED_CELLS)
        self._stopped = threading.Event()

    def events(self) -> Iterator[Event]:
        """Cells of all units, interleaved as the decoders deliver them; ``(row, None)`` ends a unit."""
        threads = [threading.Thread(target=self._decode_all, args=pair, daemon=True) for pair in self._decoders.pairs]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                asked = time.monotonic()
                event = self._queue.get()
                self.waited_s += time.monotonic() - asked
                if event is None:
                    running -= 1
                elif isinstance(event, BaseException):
                    raise event
                else:
                    yield event
        finally:
            self._stopped.set()
            while any(thread.is_alive() for thread in threads):
                try:  # a thread may be waiting for room in the queue
                    self._queue.get(timeout=0.05)
                except queue.Empty:
                    continue

    def _decode_all(self, fetcher: Fetcher, decoder: IsolatedDecoder) -> None:
        try:
            while not self._stopped.is_set():
                try:
                    row = self._todo.popleft()
                except IndexError:
                    break
                self._decode(row, fetcher, decoder)
                self._put((row, None))
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _decode(self, row: int, fetcher: Fetcher, decoder: IsolatedDecoder) -> None:
        unit, result = self.units[row], self.results[row]
        try:
            if unit["error_code"] is not None:
                raise BadRecording(unit["error_code"], unit["error_message"])
            recording = self._seal.uncover(recording_of(unit))
            path = fetcher.local_path(recording)
            with fetcher.failures_explained(recording):
                if self._is_new(row, path):
                    self._decode_unit(row, path, decoder)
            fetcher.check_unchanged(recording)  # it may have grown meanwhile
        except BadRecording as reason:
            if unit["unit_index"] and reason.code in AFTER_THE_START:
                result |= {"flaw_code": _flaw(reason.code), "flaw_message": str(reason)}
            else:
                result |= {"error_code": reason.code, "error_message": str(reason)}
        except (MachineError, MemoryError):
            raise
        except Exception as error:
            # One recording met something nobody foresaw. It costs that recording, and the next run tries it again.
            result |= {"error_code": "INTERNAL", "error_message": f"{type(error).__name__}: {error}"}

    def _is_new(self, row: int, path: str) -> bool:
        """Whether no unit of this part has the same bytes; else its results will stand for this one's too."""
        if not self._settings.plan.score_duplicates_once:
            return True
        unit = self.units[row]
        if unit["unit_index"] and self._alike[_span(unit)] == 1:
            return True  # the first unit's digest is the recording's
        digest = self._digest(unit["recording_id"], path)
        self.results[row]["content_digest"] = digest
        # One step, also where two threads ask at once.
        first = self._first_with.setdefault((digest, unit["unit_index"]), row)
        if first != row:
            self.results[row]["same_as"] = first
        return first == row

    def _digest(self, recording_id: str, path: str) -> str:
        """sha256 of a recording, computed once for all its units in this part."""
        with self._hashing:  # another thread waits for this one's answer
            if recording_id not in self._digests:
                with open(path, "rb") as file:
                    self._digests[recording_id] = hashlib.file_digest(file, "sha256").hexdigest()
            return self._digests[recording_id]

    def _decode_unit(self, row: int, path: str, decoder: IsolatedDecoder) -> None:
        unit, result = self.units[row], self.results[row]
        grid = self._settings.listen.grid
        stream = decoder.open(path, start_s=0.0)
        header = stream.header
        result |= {
            "codec": header.codec,
            "sample_rate_hz": header.sample_rate_hz,
            "num_channels": header.num_channels,
            "header_ms": header.duration_ms,
        }
        if self._withheld.issuperset(range(header.num_channels)):  # not even decoded
            stream.close()
            result["withheld"] = True
            return
        first, stop = cells_of(unit["unit_index"], unit["num_units"], header.duration_ms, grid.cell_s)
        if stop is not None and stop <= first:
            stream.close()
            return
        if first:
            stream.close()
            stream = decoder.open(path, start_s=grid.span_s(first))
        cells = cut_cells(stream, start_sample=stream.start_sample, first_cell=first, stop_cell=stop, grid=grid)
        for cell, may_be_scored in withhold_cells(cells, self._withheld):
            result["end_ms"] = max(result.get("end_ms", 0), cell.stop_sample // SAMPLES_PER_MS)
            if not may_be_scored:
                result["withheld"] = True
                continue
            result["audio_ms"] = result.get("audio_ms", 0) + (len(cell.samples) - cell.lead_in) // SAMPLES_PER_MS
            self._put((row, cell))
            if self._stopped.is_set():
                break
        if stop is not None or self._stopped.is_set():
            stream.close()
            return
        outcome = stream.outcome
        # A unit that begins behind the end of a cut recording heard nothing and knows no end.
        if "end_ms" in result or unit["unit_index"] == 0:
            result["end_ms"] = outcome.end_sample // SAMPLES_PER_MS
        if outcome.flaw is not None:
            result |= {"flaw_code": outcome.flaw, "flaw_message": outcome.message}

    def _put(self, event: Event | BaseException | None) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(event, timeout=0.2)
                return


def cells_of(unit_index: int, num_units: int, duration_ms: int | None, cell_s: float) -> tuple[int, int | None]:
    """Cells ``[first, stop)`` of a unit; the last unit with any cell runs to the end of whatever comes (None).

    Without a promised duration the first unit takes everything, the others nothing.

    >>> cells_of(0, 2, 600_000, 60.0), cells_of(1, 2, 600_000, 60.0)
    ((0, 5), (5, None))
    >>> cells_of(0, 3, None, 60.0), cells_of(2, 3, None, 60.0)
    ((0, None), (1, 1))
    """
    if duration_ms is None:
        return (0, None) if unit_index == 0 else (1, 1)
    num_cells = max(1, -(-duration_ms // int(cell_s * 1000)))
    first, stop = unit_index * num_cells // num_units, (unit_index + 1) * num_cells // num_units
    if unit_index == num_units - 1:
        return first, None
    return first, stop


def _span(unit: dict[str, Any]) -> tuple[int | None, int]:
    """What two units of the same bytes have in common before anybody has read them."""
    return unit["num_bytes"], unit["unit_index"]


def _flaw(code: ErrorCode) -> str:
    return "CORRUPT" if code == "CORRUPT" else "TRUNCATED"
