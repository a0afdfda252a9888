"""Which of all recordings listed are still to be scored, on scratch disk: memory does not grow with the archive."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Set
from itertools import islice
from typing import Any

import pyarrow as pa

from emosphere.errors import RETRIED_CODES
from emosphere.tables.identity import recording_id
from pipelines.archive.dates import Window
from pipelines.archive.recording import RECORDING_SCHEMA, Recording
from pipelines.cluster.scratch import scratch_database

BATCH = 10_000
"""Recordings in memory at once."""
SLICE = 50_000
"""Recordings put in order at once; each slice reads through the list."""
DATABASE_MEMORY = "128MB"
"""What the database may hold before it spills to the scratch disk."""
BYTES_PER_S = {
    ".amr": 1_600,
    ".opus": 4_000,
    ".webm": 4_000,
    ".ogg": 8_000,
    ".m4a": 12_000,
    ".aac": 12_000,
    ".mp3": 12_000,
    ".mp4": 24_000,
    ".flac": 24_000,
}
"""Usual bytes per second of encodings that take less than 16 kHz PCM: what is long is told by size and ending."""
PCM_BYTES_PER_S = 32_000

FINISHED_COLUMNS = ["recording_id", "content_version", "settings_digest", "status", "error_code", "attempts"]
"""What the published table must say of a recording to tell whether it is finished."""

_RETRIED = ", ".join(f"'{code}'" for code in sorted(RETRIED_CODES))
_COLUMNS = ", ".join(f'listed."{name}"' for name in RECORDING_SCHEMA.names)
_JUDGE = f"""
CREATE OR REPLACE TABLE judged AS
WITH once AS (SELECT recording_id, min(ordinal) AS ordinal FROM listed GROUP BY recording_id),
     before AS (
        SELECT finished.* FROM finished SEMI JOIN (
            SELECT max(finished.rowid) AS last FROM finished
            JOIN (SELECT recording_id, max(dt) AS dt FROM finished GROUP BY recording_id) USING (recording_id, dt)
            GROUP BY recording_id
        ) ON finished.rowid = last
     )
SELECT once.ordinal,
       coalesce(if(before.content_version = listed.content_version, before.attempts, 0), 0) + 1 AS attempts,
       coalesce(
            -- What listing could not reach has no version to compare; its scores stay until it can be reached again.
            (listed.error_code IN ({_RETRIED}) AND before.status <> 'failed')
            OR (before.content_version = listed.content_version AND before.settings_digest = $settings_digest
                AND NOT (before.status = 'failed' AND coalesce(before.error_code IN ({_RETRIED}), false))),
            false
       ) AS is_finished,
       EXISTS (
            SELECT 1 FROM planned
            WHERE planned.recording_id = listed.recording_id AND planned.content_version = listed.content_version
       ) AS is_planned
FROM once JOIN listed USING (ordinal) LEFT JOIN before ON before.recording_id = once.recording_id
"""
_PLACES = """
CREATE OR REPLACE TABLE places AS
SELECT row_number() OVER () - 1 AS place, * FROM (
    SELECT listed.ordinal, judged.attempts::INTEGER AS attempts FROM listed JOIN judged USING (ordinal)
    WHERE NOT judged.is_finished AND NOT judged.is_planned AND NOT listed.is_forgotten {order}
)
"""
"""The chosen ones in order, by number only: the database can sort far more narrow rows within its memory than whole
ones (of those, 3 million were too many for 128 MB)."""
_CHOSEN = f"""
SELECT listed.recording_id, places.attempts, {_COLUMNS} FROM places JOIN listed USING (ordinal)
WHERE places.place >= $first AND places.place < $stop ORDER BY places.place
"""
_LONGEST_FIRST = "ORDER BY listed.rank, listed.seconds DESC, listed.ordinal"
_BY_ITSELF = """(listed.kind IN ('object', 'zip') OR listed.kind = 'tar' AND listed."offset" IS NOT NULL)"""
_LARGEST_FIRST = f"""
ORDER BY listed.rank = 2, {_BY_ITSELF}, CASE WHEN {_BY_ITSELF} THEN listed.num_bytes END DESC NULLS FIRST,
         listed.ordinal
"""
"""Recordings of the same size side by side, but for what can only be read in the order of its container."""
_SQL_TYPES = {pa.binary(): "BLOB", pa.int64(): "BIGINT", pa.string(): "VARCHAR"}


class Choice:
    """What a command would score now. A context manager: the scratch goes with it."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as opened:
            self._base = opened.enter_context(scratch_database("plan", DATABASE_MEMORY))
            columns = ", ".join(f'"{field.name}" {_SQL_TYPES[field.type]}' for field in RECORDING_SCHEMA)
            self._base.execute(
                "CREATE TABLE listed (ordinal BIGINT, recording_id VARCHAR, rank INTEGER, seconds DOUBLE, "
                f"is_forgotten BOOLEAN, {columns})"
            )
            self._base.execute(
                "CREATE TABLE finished (dt VARCHAR, recording_id VARCHAR, content_version VARCHAR, "
                "settings_digest VARCHAR, status VARCHAR, error_code VARCHAR, attempts INTEGER)"
            )
            self._base.execute("CREATE TABLE planned (recording_id VARCHAR, content_version VARCHAR)")
            self._opened = opened.pop_all()
        self.listed = 0
        """All that was found, within the window or not, each as often as it was found."""
        self.selected = 0
        """Different recordings in the window, up to the limit."""
        self.skipped = 0
        """Of these, the finished ones."""
        self.forgotten = 0
        """Of these, the erased ones."""
        self.chosen = 0
        """Of these, the ones to score."""
        self.num_bytes = 0
        """Encoded bytes of the chosen ones."""

    def __enter__(self) -> "Choice":
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)

    def take(
        self,
        recordings: Iterable[Recording],
        *,
        window: Window,
        limit: int | None = None,
        identify: Callable[[str], str] = recording_id,
        cover: Callable[[Recording], Recording] = lambda recording: recording,
        forgets: Callable[[Recording, str], bool] = lambda recording, identity: False,
        retried: Set[str] = frozenset(),
    ) -> None:
        """Take in what an archive holds; stops looking once ``limit`` different recordings are in the window.

        ``cover`` gives the recording as it may be stored, ``identify`` the id for its URI, and ``forgets`` tells of
        both whether it was erased. The ids ``retried`` are in every window.
        """
        wanted = self._wanted(recordings, window, limit, identify, retried)
        ordinal = 0
        while batch := list(islice(wanted, BATCH)):
            columns: dict[str, Any] = {
                "ordinal": range(ordinal, ordinal + len(batch)),
                "recording_id": [identity for identity, _ in batch],
                "rank": [_rank(one) for _, one in batch],
                "seconds": [_seconds(one) for _, one in batch],
                "is_forgotten": [forgets(one, identity) for identity, one in batch],
            }
            covered = [cover(one) for _, one in batch]
            for field in RECORDING_SCHEMA:
                columns[field.name] = pa.array([getattr(one, field.name) for one in covered], field.type)
            self._insert("listed", pa.table(columns))
            ordinal += len(batch)

    def judge(
        self,
        finished: Iterable[tuple[str, pa.RecordBatchReader]],
        settings_digest: str,
        planned: Iterable[pa.Table] = (),
    ) -> None:
        """Leave out what is finished by the published tables (``dt`` and FINISHED_COLUMNS of each file), and what the
        same command has in its unfinished plan already.
        """
        self._base.execute("DELETE FROM finished; DELETE FROM planned")
        for dt, reader in finished:
            self._base.register("incoming", reader)
            self._base.execute(
                f"INSERT INTO finished SELECT $dt, {', '.join(FINISHED_COLUMNS)} FROM incoming "
                "WHERE recording_id IN (SELECT recording_id FROM listed)",
                {"dt": dt},
            )
            self._base.unregister("incoming")
        for table in planned:
            self._insert("planned", table.select(["recording_id", "content_version"]))
        self._base.execute(_JUDGE, {"settings_digest": settings_digest})
        self.selected, self.skipped, self.forgotten, self.chosen, self.num_bytes = self._row(
            "SELECT count(*), count_if(is_finished AND NOT is_planned), "
            "count_if(is_forgotten AND NOT is_finished AND NOT is_planned), "
            "count_if(NOT is_finished AND NOT is_planned AND NOT is_forgotten), "
            "coalesce(sum(num_bytes) FILTER (NOT is_finished AND NOT is_planned AND NOT is_forgotten), 0) "
            "FROM judged JOIN listed USING (ordinal)"
        )

    def batches(self, *, by_size: bool = False) -> Iterator[pa.Table]:
        """The chosen ones, longest first: recording_id, attempts and the fields of a Recording.

        With ``by_size`` those of the same size are neighbours.
        """
        self._base.execute(_PLACES.format(order=_LARGEST_FIRST if by_size else _LONGEST_FIRST))
        for first in range(0, self.chosen, SLICE):
            found = self._base.sql(_CHOSEN, params={"first": first, "stop": first + SLICE}).to_arrow_table()
            yield from (found.slice(start, BATCH) for start in range(0, len(found), BATCH))

    def recordings(self) -> Iterator[Recording]:
        """The chosen ones one by one, longest first."""
        for table in self.batches():
            for row in table.drop_columns(["recording_id", "attempts"]).to_pylist():
                yield Recording(**row)

    def _wanted(
        self,
        recordings: Iterable[Recording],
        window: Window,
        limit: int | None,
        identify: Callable[[str], str],
        retried: Set[str],
    ) -> Iterator[tuple[str, Recording]]:
        seen: set[str] = set()
        for recording in recordings:
            self.listed += 1
            is_inside = window.holds(recording)
            if not is_inside and not retried:
                continue
            identity = identify(recording.source_uri)
            if not is_inside and identity not in retried:
                continue
            if limit is not None:
                seen.add(identity)
                if len(seen) > limit:
                    return
            yield identity, recording

    def _insert(self, name: str, table: pa.Table) -> None:
        self._base.register("incoming", table)
        self._base.execute(f"INSERT INTO {name} SELECT * FROM incoming")
        self._base.unregister("incoming")

    def _row(self, query: str) -> tuple[int, ...]:
        row = self._base.execute(query).fetchall()[0]
        # A sum over nothing is null.
        return tuple(int(value or 0) for value in row)


def _rank(recording: Recording) -> int:
    """Members first, in the order of their container, which is then read once. Then objects, of which the longest are
    known; last what cannot be scored and takes no time.
    """
    return 2 if recording.error_code is not None else 1 if recording.kind == "object" else 0


def _seconds(recording: Recording) -> float | None:
    """About how long an object plays, so that what is left at the end is short; an unknown size may be a long one."""
    if recording.kind != "object":
        return None
    if recording.num_bytes is None:
        return float("inf")
    ending = os.path.splitext(recording.source_uri)[1].lower()
    return recording.num_bytes / BYTES_PER_S.get(ending, PCM_BYTES_PER_S)
