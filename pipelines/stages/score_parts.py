"""The scoring actor: one part of the plan in, its staged results out, one small row about it back to the driver."""

import contextlib
import ctypes
import datetime
import hashlib
import os
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from emosphere.audio.cells import Cell, cut_cells
from emosphere.audio.isolation import IsolatedDecoder
from emosphere.audio.recording import MODEL_RATE_HZ
from emosphere.data.schema import SEGMENTS
from emosphere.errors import RETRIED_CODES, BadRecording, EmosphereError, ErrorCode, MachineError
from emosphere.inference import Scorer, default_device
from emosphere.model.checkpoint import load_checkpoint
from emosphere.model.find import find_model
from emosphere.store import Location
from pipelines.archive.fetch import Fetcher
from pipelines.archive.recording import RECORDING_SCHEMA, Recording
from pipelines.archive.seal import UNSEALED, Seal
from pipelines.ledger import Ledger, RunHeader
from pipelines.policy import is_phone_call, judge_cells, withheld_channels
from pipelines.resources import Pool
from pipelines.settings import ScoreSettings

ADDED_LATER = {"recording_id", "source_uri", "role", "speaker", "segment_index", "run_id", "scored_at"}
SPEECH_COLUMNS = [column.name for column in SEGMENTS if column.name not in ADDED_LATER]
"""Columns of ``segments`` that are known while scoring; the others are added at publishing."""

HOW_TO_FETCH = {"kind", "url", "member", "offset"}
"""Fields of a Recording that end with the fetching."""
STAGED_SCHEMA = pa.schema(
    [
        ("unit_id", pa.int64()),
        ("recording_id", pa.string()),
        ("unit_index", pa.int32()),
        ("num_units", pa.int32()),
        ("attempts", pa.int32()),
        *(field for field in RECORDING_SCHEMA if field.name not in HOW_TO_FETCH),
        ("content_digest", pa.string()),
        ("flaw_code", pa.string()),
        ("flaw_message", pa.string()),
        ("codec", pa.string()),
        ("sample_rate_hz", pa.int32()),
        ("num_channels", pa.int32()),
        ("header_ms", pa.int64()),
        ("end_ms", pa.int64()),
        ("audio_ms", pa.int64()),
        ("distinct_channels", pa.list_(pa.int32())),
        ("withheld", pa.bool_()),
        ("scored_at", pa.timestamp("us", tz="UTC")),
        (
            "segments",
            pa.list_(pa.struct([(c.name, c.type) for c in SEGMENTS if c.name in SPEECH_COLUMNS])),
        ),
    ]
)
"""One row per unit, failures included: one unit in, one row out."""

FIRST_FAILED = "Another recording of the same bytes, scored in its stead, failed in a way that may pass."
AFTER_THE_START = frozenset({"TRUNCATED", "CORRUPT", "TOO_SHORT", "EMPTY"})
"""Reasons which, met by a later unit of a recording, say only that it ends earlier than its header promised."""

SAMPLES_PER_MS = MODEL_RATE_HZ // 1000
CELLS_PER_TRIM = 32
"""Cells of a lane after which freed memory is handed back to the system: it costs milliseconds."""
SIGN_S = 60.0
"""Time between signs of life."""
QUEUED_CELLS = 8
"""Cells (about a minute each) decoded ahead of the model: the bound on waveforms in memory, per lane."""


class ScoreParts:
    """One actor: one model, and lanes that score parts with it, side by side.

    Reads:  part (int)
    Gives:  part, units, recordings, failed, segments, audio_s, phone_calls (stereo, 8 kHz);
            wait_s (for decoders), hear_s, predict_s, wall_s; samples through the network, padding among them
    """

    def __init__(
        self, out: Location, header: RunHeader, model: str, settings: ScoreSettings, pool: Pool, seal: Seal = UNSEALED
    ) -> None:
        self._lanes: list[_Lane] = []
        # One compiled kernel per shape would be kept for each of a thousand segment lengths.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
        self._ledger, self._run_id, self._settings, self._seal = Ledger(out), header.run_id, settings, seal
        # Found anew on every machine: "default" is the worker's own package, a URL its own copy.
        checkpoint = load_checkpoint(find_model(model))
        self._digests = (checkpoint.digest, header.model_digest)
        self._withheld = withheld_channels(header.roles, header.exception)
        scorer = Scorer(checkpoint, device=default_device(), listen=settings.listen, batch=settings.batch)
        threads = pool.threads_for(sum(parameter.numel() for parameter in checkpoint.network.parameters()))
        self._free: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        for number in range(pool.lanes):
            num_decoders = len(range(number, pool.decoders, pool.lanes))
            self._lanes.append(_Lane(scorer.another(), threads, num_decoders, settings))
            self._free.put(self._lanes[-1])

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        # A broken machine travels to the driver as a value: through Ray it would arrive as advice about Ray.
        try:
            summaries = [self._in_a_lane(int(part)) for part in batch["part"]]
        except EmosphereError as error:
            return {"error": np.array([self._seal.hide(str(error))])}
        except Exception as error:
            if self._seal.key is None:
                raise
            return {"error": np.array([self._seal.hide(f"{type(error).__name__}: {error}")])}  # a name may stand in it
        return {name: np.array([summary[name] for summary in summaries]) for name in summaries[0]}

    def close(self) -> None:
        """End the decoder processes and wipe the scratch folders."""
        for lane in self._lanes:
            lane.close()

    __del__ = close

    def _in_a_lane(self, part: int) -> dict[str, Any]:
        lane = self._free.get()
        try:
            return lane.thread.submit(self._score_part, lane, part).result()
        finally:
            self._free.put(lane)

    def _score_part(self, lane: "_Lane", part: int) -> dict[str, Any]:
        if self._digests[0] != self._digests[1]:
            raise MachineError(
                f"A worker's model has digest {self._digests[0]}, the run's is {self._digests[1]}; give all machines "
                "the same version, then run the same command again."
            )
        began = time.monotonic()
        units = self._ledger.plan_part(self._run_id, part).to_pylist()
        work = _Work(units, self._settings, self._seal, self._withheld)
        scorer = lane.scorer.another()
        events = self._with_signs(part, work.events(lane.fetchers, lane.decoders))
        for row, scored in scorer.score_cells(events):
            work.results[row]["segments"] = scored.rows
            work.results[row]["distinct_channels"] = sorted(scored.distinct_channels)
        staged = [work.staged_row(row) for row in range(len(units))]
        self._ledger.write_staged_part(self._run_id, part, pa.Table.from_pylist(staged, schema=STAGED_SCHEMA))
        return {
            "part": part,
            "units": len(units),
            "recordings": sum(unit["unit_index"] == 0 for unit in units),
            "failed": sum(row["error_code"] is not None for row in staged),
            "segments": sum(len(row["segments"]) for row in staged),
            "audio_s": sum(row["audio_ms"] for row in staged) / 1000,
            "phone_calls": sum(is_phone_call(row["sample_rate_hz"], row["num_channels"]) for row in staged),
            "wait_s": work.waited_s,
            **{f"{name}_s": spent for name, spent in scorer.spent_s.items()},
            "samples": scorer.padding[0],
            "padding": scorer.padding[1],
            "wall_s": time.monotonic() - began,
        }

    def _with_signs(self, part: int, events: Iterable[tuple[int, Cell | None]]) -> Iterator[tuple[int, Cell | None]]:
        """The same events; once a minute the driver is told that they still come, since a part may last for hours."""
        told = time.monotonic()
        for number, event in enumerate(events):
            yield event
            if time.monotonic() - told >= SIGN_S:
                told = time.monotonic()
                self._ledger.write_sign_of_life(self._run_id, part, number)


class _Lane:
    """What it takes to score one part: a thread for the networks, and decoders that work ahead of it.

    One thread for good: Ray makes an actor in one thread and calls it in others, and OpenMP keeps a team for every
    thread that ever used torch. Teams of more threads than cores sleep at each barrier, which cost WavLM 15 %.
    """

    def __init__(self, scorer: Scorer, threads: int, num_decoders: int, settings: ScoreSettings) -> None:
        self.scorer = scorer
        self.thread = ThreadPoolExecutor(1, "lane", initializer=torch.set_num_threads, initargs=(threads,))
        self.decoders = [IsolatedDecoder(settings.decode) for _ in range(num_decoders)]
        self.fetchers = [Fetcher(settings.fetch, settings.store) for _ in self.decoders]

    def close(self) -> None:
        for decoder in self.decoders:
            decoder.close()
        for fetcher in self.fetchers:
            fetcher.close()
        self.thread.shutdown(wait=False)


class _Work:
    """The units of one part on their way through the decoders."""

    def __init__(
        self, units: list[dict[str, Any]], settings: ScoreSettings, seal: Seal, withheld: frozenset[int]
    ) -> None:
        self.units = units
        self.results: list[dict[str, Any]] = [{} for _ in units]
        self.waited_s = 0.0
        self._settings, self._seal, self._withheld = settings, seal, withheld
        self._first_with: dict[tuple[str, int], int] = {}
        self._alike = Counter(map(_span, units))
        self._digests: dict[str, str] = {}
        self._hashing = threading.Lock()
        self._todo = deque(range(len(units)))
        self._queue: queue.Queue[tuple[int, Cell | None] | BaseException | None] = queue.Queue(QUEUED_CELLS)
        self._stopped = threading.Event()

    def events(self, fetchers: list[Fetcher], decoders: list[IsolatedDecoder]) -> Iterator[tuple[int, Cell | None]]:
        """Cells of all units, interleaved as the decoders deliver them; ``(row, None)`` ends a unit."""
        threads = [
            threading.Thread(target=self._decode_all, args=pair, daemon=True)
            for pair in zip(fetchers, decoders, strict=True)
        ]
        for thread in threads:
            thread.start()
        running, num_cells = len(threads), 0
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
                    num_cells += 1
                    if num_cells % CELLS_PER_TRIM == 0:
                        _give_back_memory()
        finally:
            self._stopped.set()
            while any(thread.is_alive() for thread in threads):
                try:  # a thread may be waiting for room in the queue
                    self._queue.get(timeout=0.05)
                except queue.Empty:
                    continue

    def staged_row(self, row: int) -> dict[str, Any]:
        """The unit's row for staging. A unit that failed keeps no scores: never half a unit."""
        unit, result = self.units[row], self.results[row]
        told_of = unit
        # What befell this one itself (it changed while it was read) is told of it, whatever became of the first one.
        if "same_as" in result and not {"error_code", "flaw_code"} & result.keys():
            told_of, found = self.units[result["same_as"]], self.results[result["same_as"]]
            result = found | {"content_digest": result["content_digest"]}
            if result.get("error_code") in RETRIED_CODES:
                result["error_message"] = FIRST_FAILED
        staged = {name: unit.get(name) for name in STAGED_SCHEMA.names}
        staged |= {
            "audio_ms": 0,
            "distinct_channels": [],
            "withheld": False,
            "scored_at": datetime.datetime.now(datetime.UTC),
            **result,
        }
        for name in ("error_message", "flaw_message"):
            staged[name] = staged[name] and self._seal.say(staged[name], self._recording(told_of))
        if staged["error_code"] is not None:
            staged |= {"segments": [], "distinct_channels": []}
        staged["segments"] = [
            {name: segment.get(name) for name in SPEECH_COLUMNS} for segment in staged.get("segments") or []
        ]
        return staged

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
            recording = self._seal.uncover(self._recording(unit))
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

    def _recording(self, unit: dict[str, Any]) -> Recording:
        return Recording(**{name: unit[name] for name in Recording.__dataclass_fields__})

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
        for cell, may_be_heard in judge_cells(cells, self._withheld):
            result["end_ms"] = max(result.get("end_ms", 0), cell.stop_sample // SAMPLES_PER_MS)
            if not may_be_heard:
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

    def _put(self, event: tuple[int, Cell | None] | BaseException | None) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(event, timeout=0.2)
                return


def _give_back_memory() -> None:
    """Hand freed memory back to the system: batches of ever new lengths leave the C library's heap full of holes, which
    grew the actor by 30 MB with every quarter of an hour of audio (measured over 10 h; with this it stays level).
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library has other ways
        ctypes.CDLL("libc.so.6").malloc_trim(0)


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
