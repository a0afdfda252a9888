"""One part's recordings on their way through decoders beside the model: units in, cells out, in threads ahead of it."""

import contextlib
import hashlib
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence

from emosphere.audio.decode_outcome import SAMPLES_PER_MS, DecodeOutcome, RecordingHeader
from emosphere.audio.decoding.child import IsolatedDecoder
from emosphere.errors import BadRecording, MachineError
from emosphere.speech.cells import Cell, CellGrid, cut_cells
from pipelines.archive.fetch import Fetcher
from pipelines.archive.seal import Seal
from pipelines.score.policy import withhold_cells
from pipelines.score.settings import ScoreSettings
from pipelines.score.unit import DecodedUnit, Reason, Unit

AFTER_THE_START = frozenset({"TRUNCATED", "CORRUPT", "TOO_SHORT", "EMPTY"})
"""Reasons which, met by a later unit of a recording, say only that it ends earlier than its header promised."""

QUEUED_CELLS = 8
"""Cells (about a minute each) decoded ahead of the model: the bound on waveforms in memory, per part."""

END_S = 0.02
"""Time between two looks whether the threads of a part have ended."""
TAKE_S = 0.2
"""Time after which a thread that waits at a queue looks whether the part is still wanted."""
CLOSE_S = 5.0
"""Time that threads are given to notice that it is not."""


ENDED = "The run was ended; the same command resumes."


class DecodersLost(MachineError):
    """Who decoded, apart on another machine, is gone. The part can begin anew."""


class Ended(MachineError):
    """Nobody wants the part any more."""


Event = tuple[int, Cell | DecodedUnit]
"""By a unit's row in its part: one of its cells or, behind the last of them, what its decoding came to."""


class Decoders:
    """Decoder processes that work at one part at a time, and what fetches for each of them."""

    def __init__(self, count: int, settings: ScoreSettings, seal: Seal, withheld: frozenset[int]) -> None:
        self._settings, self._seal, self._withheld = settings, seal, withheld
        self._decoders = [IsolatedDecoder(settings.decode) for _ in range(count)]
        self._fetchers = [Fetcher(settings.fetch, settings.store) for _ in range(count)]
        self._part: PartDecoding | None = None
        self._is_closed = False
        self._closing = threading.Lock()

    def start(self) -> None:
        """Start a first process ahead of the first part. What fails is said over the first recording."""
        with contextlib.suppress(OSError):
            self._decoders[0].start()

    def decode(self, units: Sequence[Unit]) -> "PartDecoding":
        """Begin with the units of a part. Raises Ended after :meth:`close`."""
        with self._closing:
            if self._is_closed:
                raise Ended(ENDED)
            self._part = PartDecoding(units, self, self._settings, self._seal, self._withheld)
            return self._part

    @property
    def pairs(self) -> list[tuple[Fetcher, IsolatedDecoder]]:
        """Each decoder with its fetcher."""
        return list(zip(self._fetchers, self._decoders, strict=True))

    def close(self) -> None:
        """End the part under way and the processes, and wipe the scratch folders."""
        with self._closing:
            self._is_closed = True
        if self._part is not None:
            self._part.end()
        for fetcher, decoder in self.pairs:
            decoder.close()
            fetcher.close()


class PartDecoding:
    """The units of one part on their way through the decoders."""

    def __init__(
        self,
        units: Sequence[Unit],
        decoders: Decoders,
        settings: ScoreSettings,
        seal: Seal,
        withheld: frozenset[int],
    ) -> None:
        self.waited_s = 0.0
        """Seconds that whoever takes the events has waited for them."""
        self._units, self._decoders = units, decoders
        self._settings, self._seal, self._withheld = settings, seal, withheld
        self._todo = deque(range(len(units)))
        self._queue: queue.Queue[Event | BaseException | None] = queue.Queue(QUEUED_CELLS)
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._num_of_size_and_span = Counter(map(_size_and_span, units))
        self._first_rows: dict[tuple[str, int], int] = {}
        """Row of the first unit, by digest and span."""
        self._digests: dict[str, str] = {}
        self._hashing = threading.Lock()

    def events(self) -> Iterator[Event]:
        """Cells of all units, interleaved as the decoders deliver them; a DecodedUnit ends each unit.

        Raises MachineError where the machine is broken, Ended after :meth:`end`.
        """
        self._threads = [
            threading.Thread(target=self._decode_all, args=pair, daemon=True) for pair in self._decoders.pairs
        ]
        for thread in self._threads:
            thread.start()
        num_running = len(self._threads)
        try:
            while num_running:
                began = time.monotonic()
                event = self._take()
                self.waited_s += time.monotonic() - began
                if event is None:
                    num_running -= 1
                elif isinstance(event, BaseException):
                    raise event
                else:
                    yield event
        finally:
            self._stopped.set()
            while any(thread.is_alive() for thread in self._threads):
                try:  # a thread may be waiting for room in the queue
                    self._queue.get(timeout=0.05)
                except queue.Empty:
                    continue

    def end(self) -> None:
        """Let nothing more come of this part, from whichever thread this is called."""
        self._stopped.set()
        deadline = time.monotonic() + CLOSE_S
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < deadline:
            for _, decoder in self._decoders.pairs:
                decoder.kill()  # whose thread may be waiting for it, or has just had it started
            time.sleep(END_S)

    def _take(self) -> Event | BaseException | None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=TAKE_S)
        raise Ended(ENDED)

    def _decode_all(self, fetcher: Fetcher, decoder: IsolatedDecoder) -> None:
        """The work of one thread: unit after unit until none is left."""
        try:
            while not self._stopped.is_set():
                try:
                    row = self._todo.popleft()
                except IndexError:
                    break
                self._put((row, self._decode(row, fetcher, decoder)))
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _decode(self, row: int, fetcher: Fetcher, decoder: IsolatedDecoder) -> DecodedUnit:
        """Send a unit's cells ahead and return what its decoding came to, also where it ended early."""
        unit = self._units[row]
        cells = _UnitCells(unit, self._settings.listen.grid, self._withheld)
        digest: str | None = None
        same_as: int | None = None
        failure: Reason | None = None
        try:
            if unit.recording.error_code is not None:
                raise BadRecording(unit.recording.error_code, unit.recording.error_message or "")
            recording = self._seal.uncover(unit.recording)
            path = fetcher.local_path(recording)
            with fetcher.failures_explained(recording):
                digest, same_as = self._find_first(row, path)
                if same_as is None:
                    self._send_cells(row, cells.decode(path, decoder))
            fetcher.check_unchanged(recording)  # it may have grown meanwhile
        except BadRecording as error:
            if unit.unit_index and error.code in AFTER_THE_START:
                cells.flaw = Reason("CORRUPT" if error.code == "CORRUPT" else "TRUNCATED", str(error))
            else:
                failure = Reason(error.code, str(error))
        except (MachineError, MemoryError):
            raise
        except Exception as error:
            # One recording met something nobody foresaw. It costs that recording, and the next run tries it again.
            failure = Reason("INTERNAL", f"{type(error).__name__}: {error}")
        if failure is not None or cells.flaw is not None:
            same_as = None  # what befell this one itself (it changed while it was read) stands
        return DecodedUnit(
            header=cells.header,
            audio_ms=cells.audio_ms,
            end_ms=cells.end_ms,
            is_withheld=cells.is_withheld,
            failure=self._worded(failure, unit),
            flaw=self._worded(cells.flaw, unit),
            content_digest=digest,
            same_as=same_as,
        )

    def _send_cells(self, row: int, cells: Generator[Cell, None, None]) -> None:
        with contextlib.closing(cells):
            for cell in cells:
                self._put((row, cell))
                if self._stopped.is_set():
                    return

    def _worded(self, reason: Reason | None, unit: Unit) -> Reason | None:
        """The reason in words that the tables may show."""
        return reason and reason._replace(message=self._seal.say(reason.message, unit.recording))

    def _find_first(self, row: int, path: str) -> tuple[str | None, int | None]:
        """The recording's digest, where it matters, and the row of an earlier unit with the same bytes and span."""
        unit = self._units[row]
        if not self._settings.plan.score_duplicates_once:
            return None, None
        if unit.unit_index and self._num_of_size_and_span[_size_and_span(unit)] == 1:
            return None, None  # the first unit's digest is the recording's
        digest = self._digest(unit.recording_id, path)
        # One step, also where two threads are here at once.
        first = self._first_rows.setdefault((digest, unit.unit_index), row)
        return digest, first if first != row else None

    def _digest(self, recording_id: str, path: str) -> str:
        """sha256 of a recording, computed once for all its units in this part."""
        with self._hashing:  # another thread waits for this one
            if recording_id not in self._digests:
                with open(path, "rb") as file:
                    self._digests[recording_id] = hashlib.file_digest(file, "sha256").hexdigest()
            return self._digests[recording_id]

    def _put(self, event: Event | BaseException | None) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(event, timeout=TAKE_S)
                return


class _UnitCells:
    """The cells of one unit that may be scored, and what has come out of its decoder so far."""

    def __init__(self, unit: Unit, grid: CellGrid, withheld: frozenset[int]) -> None:
        self._unit, self._grid, self._withheld = unit, grid, withheld
        self.header: RecordingHeader | None = None
        self.audio_ms = 0
        self.end_ms: int | None = None
        self.is_withheld = False
        self.flaw: Reason | None = None

    def decode(self, path: str, decoder: IsolatedDecoder) -> Generator[Cell, None, None]:
        """The cells one by one. Raises BadRecording and OSError as the decoder does."""
        stream = decoder.open(path, start_s=0.0)
        self.header = stream.header
        self.is_withheld = self._withheld.issuperset(range(self.header.num_channels))
        first, stop = cells_of(self._unit.unit_index, self._unit.num_units, self.header.duration_ms, self._grid.cell_s)
        if self.is_withheld or (stop is not None and stop <= first):  # not even decoded
            stream.close()
            return
        if first:
            stream.close()
            stream = decoder.open(path, start_s=self._grid.span_s(first))
        with stream:
            cells = cut_cells(
                stream, start_sample=stream.start_sample, first_cell=first, stop_cell=stop, grid=self._grid
            )
            for cell, may_be_scored in withhold_cells(cells, self._withheld):
                self.end_ms = max(self.end_ms or 0, cell.stop_sample // SAMPLES_PER_MS)
                if may_be_scored:
                    self.audio_ms += (len(cell.samples) - cell.lead_in) // SAMPLES_PER_MS
                    yield cell
                else:
                    self.is_withheld = True
            if stop is None:
                self._take_outcome(stream.outcome)

    def _take_outcome(self, outcome: DecodeOutcome) -> None:
        """The recording ended within this unit."""
        # One that begins behind the end of a cut recording has no audio and knows no end.
        if self.end_ms is not None or self._unit.unit_index == 0:
            self.end_ms = outcome.end_sample // SAMPLES_PER_MS
        if outcome.flaw is not None:
            self.flaw = Reason(outcome.flaw, outcome.message or "")


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


def _size_and_span(unit: Unit) -> tuple[int | None, int]:
    """What units of the same bytes have in common before anybody has read them."""
    return unit.recording.num_bytes, unit.unit_index
