"""From staged units to whole recordings: a run's rows, on scratch disk, so that memory does not grow with the run."""

import contextlib
import datetime
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from emosphere.errors import RETRIED_CODES, MachineError
from emosphere.tables.identity import file_number
from emosphere.tables.schema import arrow_schema
from pipelines.cluster.scratch import scratch_database
from pipelines.out.ledger import Ledger, RunHeader

DATABASE_MEMORY = "256MB"
"""What the scratch database of a run may hold before it spills to disk."""
WAITING_ROWS = 20_000
"""Rows gathered before they go to the database at once."""
FOLDED_TABLES = ("segments", "recordings")


class Folded:
    """A run's results, recording by recording, on scratch disk."""

    def __init__(self, base: duckdb.DuckDBPyConnection) -> None:
        self.base = base
        self.base.execute("SET TimeZone = 'UTC'")
        for table in FOLDED_TABLES:
            self.base.register("empty", arrow_schema(table).empty_table())
            self.base.execute(f"CREATE TABLE {table} AS SELECT 0::BIGINT AS part, 0::BIGINT AS hash, * FROM empty")
        self.audio_ms = self.speech_ms = self.num_segments = self.segment_bytes = 0
        self._statuses: dict[str, int] = {}
        self._waiting: dict[str, list[dict[str, Any]]] = {table: [] for table in FOLDED_TABLES}

    def count(self, status: str) -> int:
        return self._statuses.get(status, 0)

    def add(self, part: int, recording: dict[str, Any], segments: list[dict[str, Any]]) -> None:
        """Take in a recording that became whole with this part."""
        for table, rows in (("recordings", [recording]), ("segments", segments)):
            key = {"part": part, "hash": file_number(recording["recording_id"], 1 << 32)}
            self._waiting[table] += [row | key for row in rows]
        if sum(map(len, self._waiting.values())) > WAITING_ROWS:
            self._flush()

    def close(self) -> None:
        """All is there: keep the latest of recordings that were scored twice, and count."""
        self._flush()
        self.base.execute("CREATE TABLE latest AS SELECT recording_id, max(part) AS part FROM recordings GROUP BY ALL")
        for table in FOLDED_TABLES:
            self.base.execute(f"DELETE FROM {table} WHERE (recording_id, part) NOT IN (FROM latest)")
        self._statuses = dict(self.base.sql("SELECT status, count(*) FROM recordings GROUP BY ALL").fetchall())
        self.num_segments, self.speech_ms = self._row("SELECT count(*), coalesce(sum(speech_ms), 0) FROM segments")

    def _flush(self) -> None:
        for table, rows in self._waiting.items():
            schema = arrow_schema(table)
            values = pa.Table.from_pylist(rows, schema=schema)
            self.segment_bytes += values.nbytes if table == "segments" else 0
            for number, name in enumerate(("part", "hash")):
                values = values.add_column(number, name, pa.array([row[name] for row in rows], pa.int64()))
            self.base.register("incoming", values)
            self.base.execute(f"INSERT INTO {table} SELECT * FROM incoming")
            self.base.unregister("incoming")
            rows.clear()

    def _row(self, query: str) -> tuple[int, ...]:
        return tuple(int(value) for value in self.base.execute(query).fetchall()[0])

    # Where rows go

    def place(self, published: Iterable[tuple[str, pa.RecordBatchReader]], dt: str) -> list[str]:
        """Settle the dt of every recording: where its rows are already, else ``dt``. Returns those that occur."""
        self.base.execute("CREATE OR REPLACE TABLE placed (recording_id VARCHAR, dt VARCHAR)")
        for at, reader in published:
            self.base.register("incoming", reader)
            self.base.execute(
                "INSERT INTO placed SELECT recording_id, $dt FROM incoming WHERE recording_id IN (FROM latest SELECT "
                "recording_id)",
                {"dt": at},
            )
            self.base.unregister("incoming")
        self.base.execute(
            "INSERT INTO placed SELECT recording_id, $dt FROM latest WHERE recording_id NOT IN (FROM placed SELECT "
            "recording_id)",
            {"dt": dt},
        )
        return [at for (at,) in self.base.sql("SELECT DISTINCT dt FROM placed ORDER BY dt").fetchall()]

    def numbers(self, dt: str, num_files: int) -> list[int]:
        """Which of the files of a partition get rows."""
        found = self.base.execute(
            "SELECT DISTINCT hash % $n FROM recordings JOIN placed USING (recording_id) WHERE dt = $dt ORDER BY ALL",
            {"n": num_files, "dt": dt},
        )
        return [number for (number,) in found.fetchall()]

    def rows(self, table: str, dt: str, number: int, num_files: int) -> pa.Table:
        """The run's rows for one file."""
        columns = ", ".join(f'"{name}"' for name in arrow_schema(table).names)
        found = self.base.sql(
            f"SELECT {columns} FROM {table} WHERE hash % $n = $k "
            "AND recording_id IN (SELECT recording_id FROM placed WHERE dt = $dt)",
            params={"n": num_files, "k": number, "dt": dt},
        )
        return found.to_arrow_table().cast(arrow_schema(table))


@contextlib.contextmanager
def fold_run(ledger: Ledger, header: RunHeader) -> Iterator[Folded]:
    """Fold all staged parts. Raises MachineError unless every unit of the plan is there exactly once."""
    with scratch_database("fold", DATABASE_MEMORY) as base:
        folded = Folded(base)
        # A run that took in late files may hold a recording twice, in two versions.
        waiting: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        seen = np.zeros(header.num_units, dtype=bool)
        for part in range(header.num_parts):
            for unit in ledger.staged_part(header.run_id, part).to_pylist():
                if seen[unit["unit_id"]]:
                    continue
                seen[unit["unit_id"]] = True
                if not unit["recording_id"]:  # erased meanwhile
                    continue
                key = unit["recording_id"], unit["content_version"]
                waiting[key].append(unit)
                if len(waiting[key]) == unit["num_units"]:
                    recording, segments, audio_ms = fold(waiting.pop(key), header)
                    folded.add(part, recording, segments)
                    folded.audio_ms += audio_ms
        if not seen.all() or waiting:
            raise MachineError(
                f"Run {header.run_id}: staged {seen.sum()} of {header.num_units} planned units, {len(waiting)} "
                "recordings incomplete; nothing was published. Run the same command again."
            )
        folded.close()
        yield folded


def fold(units: Iterable[dict[str, Any]], header: RunHeader) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """One ``recordings`` row, its ``segments`` rows, and milliseconds of audio, from all units of one recording."""
    units = sorted(units, key=lambda unit: unit["unit_index"])
    first, last = units[0], units[-1]
    failure = next((unit for unit in units if unit["error_code"] is not None), None)
    flaws = sorted((unit for unit in units if unit["flaw_code"] is not None), key=lambda unit: unit["flaw_code"])
    distinct = {channel for unit in units for channel in unit["distinct_channels"]}
    segments = []
    if failure is None:
        rows = [row for unit in units for row in unit["segments"] if row["channel"] in distinct]
        rows.sort(key=lambda row: (row["channel"], row["start_ms"]))
        index: dict[int, int] = defaultdict(int)
        for row in rows:
            channel = row["channel"]
            segments.append(
                row
                | {
                    "recording_id": first["recording_id"],
                    "source_uri": first["source_uri"],
                    "role": header.roles.get(str(channel)),
                    "speaker": None,
                    "segment_index": index[channel],
                    "run_id": header.run_id,
                    "scored_at": last["scored_at"],
                }
            )
            index[channel] += 1
    ends = [unit["end_ms"] for unit in units if unit["end_ms"] is not None]
    code, message = _reason(failure, flaws, max(ends, default=0), first["header_ms"])
    was_decoded = failure is None and first["num_channels"] is not None
    withheld = any(unit["withheld"] for unit in units)
    recording = {
        name: first[name]
        for name in ("recording_id", "source_uri", "content_version", "num_bytes", "codec", "sample_rate_hz")
    } | {
        "content_digest": first.get("content_digest"),
        "modified_at": None if first["modified_us"] is None else _time(first["modified_us"]),
        "num_channels": first["num_channels"],
        "num_channels_skipped": first["num_channels"] - len(distinct) if was_decoded and (distinct or withheld) else 0,
        "duration_ms": max(ends) if ends else first["header_ms"],
        "status": _status(failed=failure is not None, spoken=bool(segments), withheld=withheld and not distinct),
        "error_code": code,
        "error_message": message,
        "attempts": first["attempts"],
        "num_segments": len(segments),
        "settings_digest": header.settings_digest,
        "attributes": first["attributes"],
        "run_id": header.run_id,
        "scored_at": last["scored_at"],
    }
    return recording, segments, sum(unit["audio_ms"] for unit in units)


def _status(*, failed: bool, spoken: bool, withheld: bool) -> str:
    """``withheld``: policy let no channel of it be heard."""
    return "failed" if failed else "scored" if spoken else "skipped_policy" if withheld else "no_speech"


def _reason(
    failure: dict[str, Any] | None, flaws: list[dict[str, Any]], end_ms: int, header_ms: int | None
) -> tuple[str | None, str | None]:
    """Code and words of a recording. A damaged inside (CORRUPT) says more than an early end (TRUNCATED)."""
    if failure is not None:
        return failure["error_code"], failure["error_message"]
    if not flaws:
        return None, None
    flaw = flaws[0]
    if flaw["num_units"] > 1 and flaw["flaw_code"] == "TRUNCATED" and header_ms is not None:
        # A unit that begins behind the end cannot know where the end was; all units together do.
        return "TRUNCATED", f"Only {end_ms / 1000:.2f} s of {header_ms / 1000:.2f} s came out."
    return flaw["flaw_code"], flaw["flaw_message"]


def _time(microseconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(microseconds / 1_000_000, datetime.UTC)


def has_passing_failure(staged: pa.Table) -> bool:
    """Whether a staged part holds a unit that failed for a reason which may have passed."""
    return any(code in RETRIED_CODES for code in staged.column("error_code").to_pylist())
