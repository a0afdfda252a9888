"""Which of all recordings listed are still to be scored, on scratch disk: memory does not grow with the archive."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Set
from itertools import islice
from typing import Any

import pyarrow as pa

from emosphere.errors import RETRIED_CODES
from emosphere.tables.identity import recording_id
from pipelines.archive.dates import Window
from pipelines.archive.recording import RECORDING_SCHEMA, Recording
from pipelines.cluster.scratch import scratch_database
from pipelines.score.plan.order import likely_seconds, rank

BATCH = 10_000
"""Recordings in memory at once."""
SLICE = 50_000
"""Recordings put in order at once; each slice reads through the list."""
DATABASE_MEMORY = "128MB"
"""What the database may hold before it spills to the scratch disk."""
FINISHED_COLUMNS = ["recording_id", "content_version", "settings_digest", "status", "error_code", "attempts"]
"""What the published table must say of a recording to tell whether it is finished."""

_SQL_TYPES = {pa.binary(): "BLOB", pa.int64(): "BIGINT", pa.string(): "VARCHAR"}


class Choice:
    """What a command would score now. A context manager: the scratch goes with it."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as opened:
            self._base = opened.enter_context(scratch_database("plan", DATABASE_MEMORY))
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
        """Take in what an archive holds, in place of what was taken before; stops looking once ``limit`` different
        recordings are in the window.

        ``cover`` gives the recording as it may be stored, ``identify`` the id for its URI, and ``forgets`` tells of
        both whether it was erased. The ids ``retried`` are in every window.
        """
        self.listed = 0
        fields = ", ".join(f'"{field.name}" {_SQL_TYPES[field.type]}' for field in RECORDING_SCHEMA)
        # One row per mention: a recording that lies in two archives has two.
        self._base.execute(f"""
            CREATE OR REPLACE TABLE listed (
                ordinal BIGINT, recording_id VARCHAR, rank INTEGER, seconds DOUBLE, is_forgotten BOOLEAN, {fields}
            )
        """)
        wanted = self._wanted(recordings, window, limit, identify, retried)
        ordinal = 0
        while batch := list(islice(wanted, BATCH)):
            columns: dict[str, Any] = {
                "ordinal": range(ordinal, ordinal + len(batch)),
                "recording_id": [identity for identity, _ in batch],
                "rank": [rank(one) for _, one in batch],
                "seconds": [likely_seconds(one) for _, one in batch],
                "is_forgotten": [forgets(one, identity) for identity, one in batch],
            }
            covered = [cover(one) for _, one in batch]
            for field in RECORDING_SCHEMA:
                columns[field.name] = pa.array([getattr(one, field.name) for one in covered], field.type)
            self._insert("listed", pa.table(columns))
            ordinal += len(batch)

    def leave_out_finished(
        self,
        published: Iterable[tuple[str, pa.RecordBatchReader]],
        settings_digest: str,
        planned: Iterable[pa.Table] = (),
    ) -> None:
        """Leave out what is finished by the published tables (``dt`` and FINISHED_COLUMNS of each file), what the same
        command has in its unfinished plan already, and what was erased.
        """
        self._load_published(published)
        self._load_planned(planned)
        self._compare(settings_digest)
        self._count()

    def batches(self, *, by_size: bool = False) -> Iterator[pa.Table]:
        """The chosen ones, longest first: recording_id, attempts and the fields of a Recording.

        With ``by_size`` those of the same size are neighbours.
        """
        self._number(by_size=by_size)
        for first in range(0, self.chosen, SLICE):
            rows = self._numbered(first, first + SLICE)
            yield from (rows.slice(start, BATCH) for start in range(0, len(rows), BATCH))

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

    def _load_published(self, published: Iterable[tuple[str, pa.RecordBatchReader]]) -> None:
        self._base.execute("""
            CREATE OR REPLACE TABLE published (
                dt VARCHAR, recording_id VARCHAR, content_version VARCHAR, settings_digest VARCHAR, status VARCHAR,
                error_code VARCHAR, attempts INTEGER
            )
        """)
        for dt, reader in published:
            self._base.register("incoming", reader)
            # The tables may hold years of recordings that these archives no longer do.
            self._base.execute(
                f"""
                INSERT INTO published SELECT $dt, {", ".join(FINISHED_COLUMNS)} FROM incoming
                WHERE recording_id IN (SELECT recording_id FROM listed)
                """,
                {"dt": dt},
            )
            self._base.unregister("incoming")

    def _load_planned(self, planned: Iterable[pa.Table]) -> None:
        self._base.execute("CREATE OR REPLACE TABLE planned (recording_id VARCHAR, content_version VARCHAR)")
        for table in planned:
            self._insert("planned", table.select(["recording_id", "content_version"]))

    def _compare(self, settings_digest: str) -> None:
        """Make the table ``compared``: of each recording the ``ordinal`` of its first mention, the number of this
        attempt, and its ``state``, one of planned, finished, forgotten and chosen.
        """
        # The row that stands for a recording in the tables: of the last dt, there the last one.
        self._base.execute("""
            CREATE OR REPLACE VIEW last_published AS
            SELECT published.* FROM published SEMI JOIN (
                SELECT max(published.rowid) AS last FROM published
                JOIN (SELECT recording_id, max(dt) AS dt FROM published GROUP BY recording_id) USING (recording_id, dt)
                GROUP BY recording_id
            ) ON published.rowid = last
        """)
        self._base.execute("""
            CREATE OR REPLACE VIEW first_mentions AS
            SELECT recording_id, min(ordinal) AS ordinal FROM listed GROUP BY recording_id
        """)
        retried = ", ".join(f"'{code}'" for code in sorted(RETRIED_CODES))
        # Finished: the same content by the same settings, but for a failure that may pass. What listing could not
        # reach has no version to compare; its scores stay until it can be reached again.
        self._base.execute(
            f"""
            CREATE OR REPLACE TABLE compared AS
            SELECT first_mentions.ordinal,
                   coalesce(if(before.content_version = listed.content_version, before.attempts, 0), 0) + 1 AS attempts,
                   CASE
                       WHEN EXISTS (
                           SELECT 1 FROM planned
                           WHERE planned.recording_id = listed.recording_id
                           AND planned.content_version = listed.content_version
                       ) THEN 'planned'
                       WHEN listed.error_code IN ({retried}) AND before.status <> 'failed' THEN 'finished'
                       WHEN before.content_version = listed.content_version
                            AND before.settings_digest = $settings_digest
                            AND NOT (before.status = 'failed' AND coalesce(before.error_code IN ({retried}), false))
                            THEN 'finished'
                       WHEN listed.is_forgotten THEN 'forgotten'
                       ELSE 'chosen'
                   END AS state
            FROM first_mentions JOIN listed USING (ordinal)
            LEFT JOIN last_published AS before ON before.recording_id = first_mentions.recording_id
            """,
            {"settings_digest": settings_digest},
        )

    def _count(self) -> None:
        counts = self._base.execute("""
            SELECT state, count(*), coalesce(sum(num_bytes), 0)::BIGINT FROM compared JOIN listed USING (ordinal)
            GROUP BY state
        """).fetchall()
        num_recordings = {state: number for state, number, _ in counts}
        num_bytes = {state: number for state, _, number in counts}
        self.selected = sum(num_recordings.values())
        self.skipped = num_recordings.get("finished", 0)
        self.forgotten = num_recordings.get("forgotten", 0)
        self.chosen = num_recordings.get("chosen", 0)
        self.num_bytes = num_bytes.get("chosen", 0)

    def _number(self, *, by_size: bool) -> None:
        """Make the table ``places``: the chosen ones, numbered from 0 in the order in which they are planned."""
        if by_size:
            # What can only be read in the order of its container stays in it.
            is_alone = """(listed.kind IN ('object', 'zip') OR listed.kind = 'tar' AND listed."offset" IS NOT NULL)"""
            size = f"CASE WHEN {is_alone} THEN listed.num_bytes END"
            order = f"listed.rank = 2, {is_alone}, {size} DESC NULLS FIRST, listed.ordinal"
        else:
            order = "listed.rank, listed.seconds DESC, listed.ordinal"
        # By number only: the database can sort far more narrow rows within its memory than whole ones (of those,
        # 3 million were too many for 128 MB).
        self._base.execute(f"""
            CREATE OR REPLACE TABLE places AS
            SELECT row_number() OVER () - 1 AS place, * FROM (
                SELECT listed.ordinal, compared.attempts::INTEGER AS attempts
                FROM listed JOIN compared USING (ordinal)
                WHERE compared.state = 'chosen' ORDER BY {order}
            )
        """)

    def _numbered(self, first: int, stop: int) -> pa.Table:
        """The chosen ones whose place is in [first, stop), in order."""
        fields = ", ".join(f'listed."{name}"' for name in RECORDING_SCHEMA.names)
        rows = self._base.sql(
            f"""
            SELECT listed.recording_id, places.attempts, {fields} FROM places JOIN listed USING (ordinal)
            WHERE places.place >= $first AND places.place < $stop ORDER BY places.place
            """,
            params={"first": first, "stop": stop},
        )
        return rows.to_arrow_table()

    def _insert(self, name: str, table: pa.Table) -> None:
        self._base.register("incoming", table)
        self._base.execute(f"INSERT INTO {name} SELECT * FROM incoming")
        self._base.unregister("incoming")
