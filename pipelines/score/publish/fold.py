"""From staged units to whole recordings: a run's rows, on scratch disk, so that memory does not grow with the run."""

import contextlib
import datetime
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from emosphere.errors import RETRIED_CODES, MachineError
from emosphere.tables.identity import file_number
from emosphere.tables.schema import RECORDINGS, arrow_schema
from pipelines.cluster.scratch import scratch_database
from pipelines.output.columns import check_columns
from pipelines.output.forgotten import read_forgotten
from pipelines.output.ledger import Ledger, RunHeader, read_parquet
from pipelines.score.publish.staged import STAGED_SCHEMA

DATABASE_MEMORY = "256MB"
"""What the scratch database of a run may hold before it spills to disk."""
WAITING_ROWS = 20_000
"""Rows gathered before they go to the database at once."""
FOLDED_TABLES = ("segments", "recordings")
"""In the order in which their files are replaced."""


class WholeRecording(NamedTuple):
    """What a run has to say of one recording."""

    row: dict[str, Any]
    """Of ``recordings``."""
    segments: list[dict[str, Any]]
    """Rows of ``segments``."""
    audio_ms: int
    """Audio that was decoded for the model, channels added up."""


class Folded:
    """A run's results, recording by recording, on scratch disk."""

    def __init__(self, base: duckdb.DuckDBPyConnection) -> None:
        self.base = base
        self.base.execute("SET TimeZone = 'UTC'")
        for table in FOLDED_TABLES:
            self.base.from_arrow(_stored_schema(table).empty_table()).create(table)
        self.audio_ms = self.speech_ms = self.num_segments = self.segment_bytes = 0
        self.num_forgotten = 0
        """Recordings that were erased after they were planned."""
        self._statuses: dict[str, int] = {}
        self._waiting: dict[str, list[dict[str, Any]]] = {table: [] for table in FOLDED_TABLES}

    def count(self, status: str) -> int:
        """Recordings with this status."""
        return self._statuses.get(status, 0)

    def add(self, part: int, whole: WholeRecording) -> None:
        """Take in a recording that became whole with this part."""
        key = {"part": part, "hash": file_number(whole.row["recording_id"], 1 << 32)}
        self._waiting["recordings"].append(whole.row | key)
        self._waiting["segments"] += [segment | key for segment in whole.segments]
        self.audio_ms += whole.audio_ms
        if sum(map(len, self._waiting.values())) > WAITING_ROWS:
            self._flush()

    def complete(self) -> None:
        """All recordings are there: keep the latest of those that were scored twice, and count."""
        self._flush()
        # A run that took in late files may hold two versions of a recording: what was planned later counts.
        self.base.execute(
            "CREATE TABLE latest AS SELECT recording_id, max(part) AS part FROM recordings GROUP BY recording_id"
        )
        for table in FOLDED_TABLES:
            self.base.execute(f"DELETE FROM {table} WHERE (recording_id, part) NOT IN (FROM latest)")
        statuses = self.base.sql("SELECT status, count(*) FROM recordings GROUP BY status")
        self._statuses = dict(statuses.fetchall())
        [totals] = self.base.sql("SELECT count(*), coalesce(sum(speech_ms), 0) FROM segments").fetchall()
        self.num_segments, self.speech_ms = map(int, totals)

    def _flush(self) -> None:
        for table, rows in self._waiting.items():
            values = pa.Table.from_pylist(rows, schema=_stored_schema(table))
            self.base.from_arrow(values).insert_into(table)
            if table == "segments":
                self.segment_bytes += values.select(arrow_schema(table).names).nbytes
            rows.clear()

    # Where rows go

    def place(self, published: Iterable[tuple[str, pa.RecordBatchReader]], dt: str) -> list[str]:
        """Settle the dt of every recording: where its rows are already, else ``dt``. Returns those that occur.

        ``published``: the dt of each published file, and the ``recording_id`` of its rows.
        """
        self.base.execute("CREATE OR REPLACE TABLE placed (recording_id VARCHAR, dt VARCHAR)")
        for published_dt, reader in published:
            self.base.register("published", reader)
            # Recordings of this run that have rows in this file.
            self.base.execute(
                "INSERT INTO placed SELECT recording_id, $dt FROM published SEMI JOIN latest USING (recording_id)",
                {"dt": published_dt},
            )
            self.base.unregister("published")
        # Recordings of this run that have rows in no file.
        self.base.execute(
            "INSERT INTO placed SELECT recording_id, $dt FROM latest ANTI JOIN placed USING (recording_id)",
            {"dt": dt},
        )
        return [placed_dt for (placed_dt,) in self.base.sql("SELECT DISTINCT dt FROM placed ORDER BY dt").fetchall()]

    def file_numbers(self, dt: str, num_files: int) -> list[int]:
        """Which of the files of a partition get rows."""
        numbers = self.base.sql(
            "SELECT DISTINCT hash % $num_files AS number FROM recordings JOIN placed USING (recording_id) "
            "WHERE dt = $dt ORDER BY number",
            params={"num_files": num_files, "dt": dt},
        )
        return [number for (number,) in numbers.fetchall()]

    def rows(self, table: str, dt: str, number: int, num_files: int) -> pa.Table:
        """The run's rows for one file."""
        rows = self.base.sql(
            "SELECT * EXCLUDE (part, hash) FROM query_table($table) WHERE hash % $num_files = $number "
            "AND recording_id IN (SELECT recording_id FROM placed WHERE dt = $dt)",
            params={"table": table, "num_files": num_files, "number": number, "dt": dt},
        )
        return rows.to_arrow_table().cast(arrow_schema(table))


def _stored_schema(table: str) -> pa.Schema:
    """A table in the scratch database: behind the part in which the recording became whole, and a hash of its id."""
    return pa.schema([("part", pa.int64()), ("hash", pa.int64()), *arrow_schema(table)])


@contextlib.contextmanager
def fold_run(ledger: Ledger, header: RunHeader) -> Iterator[Folded]:
    """Fold all staged parts. Raises MachineError unless every unit of the plan is there exactly once, UsageError where
    another version of emosphere staged any.
    """
    with scratch_database("fold", DATABASE_MEMORY) as base:
        folded = Folded(base)
        for part, units in _units_by_recording(ledger, header, folded):
            folded.add(part, fold(units, header))
        folded.complete()
        yield folded


def _units_by_recording(
    ledger: Ledger, header: RunHeader, folded: Folded
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """All staged units of one recording after another, with the part in which the last of them stands. What was erased
    is left out, whatever the staged parts hold of it.
    """
    # A run that took in late files may hold a recording twice, in two versions.
    incomplete: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    is_staged = np.zeros(header.num_units, dtype=bool)
    forgotten, advice = read_forgotten(ledger.home), ledger.advice(header.run_id)
    staged_parts = ledger.staged_parts(header.run_id)
    for part in sorted(staged_parts.keys() & set(range(header.num_parts))):
        staged = read_parquet(staged_parts[part])
        check_columns(staged_parts[part], staged.schema, STAGED_SCHEMA, advice)
        for unit in staged.to_pylist():
            if is_staged[unit["unit_id"]]:
                continue
            is_staged[unit["unit_id"]] = True
            identity = unit["recording_id"]  # empty where an erasure took it out
            if not identity or forgotten.holds(identity, unit["source_uri"], unit["modified_us"]):
                folded.num_forgotten += unit["unit_index"] == 0
                continue
            key = identity, unit["content_version"]
            incomplete[key].append(unit)
            if len(incomplete[key]) == unit["num_units"]:
                yield part, incomplete.pop(key)
    if not is_staged.all() or incomplete:
        raise MachineError(
            f"Run {header.run_id}: staged {is_staged.sum()} of {header.num_units} planned units, {len(incomplete)} "
            "recordings incomplete; nothing was published. Run the same command again."
        )


def fold(units: Iterable[dict[str, Any]], header: RunHeader) -> WholeRecording:
    """What all staged units of one recording come to. One that failed anywhere has no segments."""
    units = sorted(units, key=lambda unit: unit["unit_index"])
    distinct = {channel for unit in units for channel in unit["distinct_channels"]}
    segments = [] if _failure(units) is not None else _segment_rows(units, distinct, header)
    row = _recording_row(units, distinct, len(segments), header)
    return WholeRecording(row, segments, sum(unit["audio_ms"] for unit in units))


def _segment_rows(units: list[dict[str, Any]], distinct: set[int], header: RunHeader) -> list[dict[str, Any]]:
    """Rows of ``segments``, by channel and start; a channel that is a copy in every unit has none."""
    scored = [segment for unit in units for segment in unit["segments"] if segment["channel"] in distinct]
    scored.sort(key=lambda segment: (segment["channel"], segment["start_ms"]))
    num_before: Counter[int] = Counter()
    rows = []
    for segment in scored:
        channel = segment["channel"]
        rows.append(
            segment
            | {
                "recording_id": units[0]["recording_id"],
                "source_uri": units[0]["source_uri"],
                "role": header.roles.get(str(channel)),
                "speaker": None,
                "segment_index": num_before[channel],
                "run_id": header.run_id,
                "scored_at": units[-1]["scored_at"],
            }
        )
        num_before[channel] += 1
    return rows


def _recording_row(
    units: list[dict[str, Any]], distinct: set[int], num_segments: int, header: RunHeader
) -> dict[str, Any]:
    first = units[0]
    end_ms = max((unit["end_ms"] for unit in units if unit["end_ms"] is not None), default=None)
    code, message = _reason(units, end_ms or 0)
    # What every unit says of its recording as a whole, then what only all of them say together.
    return {column.name: first[column.name] for column in RECORDINGS if column.name in first} | {
        "modified_at": None if first["modified_us"] is None else _time(first["modified_us"]),
        "num_channels_skipped": _num_channels_skipped(units, distinct),
        "duration_ms": first["header_ms"] if end_ms is None else end_ms,
        "status": _status(units, distinct, num_segments),
        "error_code": code,
        "error_message": message,
        "num_segments": num_segments,
        "settings_digest": header.settings_digest,
        "run_id": header.run_id,
        "scored_at": units[-1]["scored_at"],
    }


def _num_channels_skipped(units: list[dict[str, Any]], distinct: set[int]) -> int:
    """Channels that were withheld, or are copies of earlier ones; 0 where no channel was looked at."""
    num_channels = units[0]["num_channels"]
    if num_channels is None or _failure(units) is not None:
        return 0
    if not distinct and not _is_withheld(units):
        return 0
    return int(num_channels) - len(distinct)


def _status(units: list[dict[str, Any]], distinct: set[int], num_segments: int) -> str:
    if _failure(units) is not None:
        return "failed"
    if num_segments:
        return "scored"
    if _is_withheld(units) and not distinct:  # policy let no channel of it be scored
        return "skipped_policy"
    return "no_speech"


def _reason(units: list[dict[str, Any]], end_ms: int) -> tuple[str | None, str | None]:
    """Code and words for a recording that failed, or of which less came out than its header promised."""
    failure = _failure(units)
    if failure is not None:
        return failure["error_code"], failure["error_message"]
    # A damaged inside (CORRUPT) says more than an early end (TRUNCATED).
    flaw = min(
        (unit for unit in units if unit["flaw_code"] is not None), key=lambda unit: unit["flaw_code"], default=None
    )
    if flaw is None:
        return None, None
    header_ms = units[0]["header_ms"]
    if flaw["num_units"] > 1 and flaw["flaw_code"] == "TRUNCATED" and header_ms is not None:
        # A unit that begins behind the end cannot know where the end was; all units together do.
        return "TRUNCATED", f"Only {end_ms / 1000:.2f} s of {header_ms / 1000:.2f} s came out."
    return flaw["flaw_code"], flaw["flaw_message"]


def _failure(units: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first unit that failed."""
    return next((unit for unit in units if unit["error_code"] is not None), None)


def _is_withheld(units: list[dict[str, Any]]) -> bool:
    """Whether policy kept any of it from the model."""
    return any(unit["withheld"] for unit in units)


def _time(microseconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(microseconds / 1_000_000, datetime.UTC)


def has_passing_failure(staged: pa.Table) -> bool:
    """Whether a staged part holds a unit that failed for a reason which may have passed."""
    return any(code in RETRIED_CODES for code in staged.column("error_code").to_pylist())
