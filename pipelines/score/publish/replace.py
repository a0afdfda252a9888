"""From folded rows to the published tables: each file replaced whole, segments before recordings, twice the same."""

import contextlib
import datetime
import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from emosphere.store import ABSENT, Location
from emosphere.tables.schema import arrow_schema, columns_from, sort_keys
from pipelines.output.columns import NEW_OUT, check_columns
from pipelines.output.ledger import Ledger, RunHeader, parquet_bytes, read_parquet
from pipelines.output.snapshot import commit_snapshot, replace_published
from pipelines.score.publish.fold import FOLDED_TABLES, Folded

FILE_BYTES = 128 << 20
"""Size a published file is meant to reach; the number of files of a partition follows from it once, and stays."""


def publish(ledger: Ledger, header: RunHeader, folded: Folded) -> None:
    """Put the run's rows in place of what the tables held of its recordings; all else stays as it was.

    A recording already published under some dt is replaced there. Doing it twice, or again after dying anywhere
    within, leaves the same rows: what is written depends on the staged rows and the other recordings' rows alone.
    Memory: one file of the tables.
    """
    partitions: dict[str, tuple[int, list[int]]] = {}
    for dt in folded.place(ledger.published_columns(header.model_partition, ["recording_id"]), header.dt):
        num_files, is_new = _num_files(ledger, header, dt, folded.segment_bytes)
        partitions[dt] = num_files, list(range(num_files)) if is_new else folded.file_numbers(dt, num_files)
    parts = [(dt, number, num_files) for dt, (num_files, numbers) in partitions.items() for number in numbers]
    ledger.mark_publishing(
        header.run_id, {_path(table, header, *part[:2]) for part in parts for table in FOLDED_TABLES}
    )
    replaced: dict[str, str] = {}
    for dt, number, num_files in parts:
        rows = {table: folded.rows(table, dt, number, num_files) for table in FOLDED_TABLES}
        ids = rows["recordings"].column("recording_id")
        for table, new in rows.items():
            path = _path(table, header, dt, number)
            replaced[path] = _replace(ledger, path, table, new, ids, header)
    # Files that another began to write for this run, and that hold nothing of it any more: a write of that one's may
    # still be on its way, and finds a file it did not read.
    for path in set(ledger.state().files) - replaced.keys():
        table = path.partition("/")[0]
        none = arrow_schema(table).empty_table()
        replaced[path] = _replace(ledger, path, table, none, pa.chunked_array([[]], pa.string()), header)
    commit_snapshot(ledger, header.run_id, replaced)


def _path(table: str, header: RunHeader, dt: str, number: int) -> str:
    """A published file, below OUT."""
    return f"{table}/dt={dt}/model={header.model_partition}/part-{number:02d}.parquet"


def write_run_row(ledger: Ledger, header: RunHeader, result: dict[str, Any], host: dict[str, Any]) -> None:
    """The run's row in ``runs``."""
    row = {
        "run_id": header.run_id,
        "dt": header.dt,
        "config": json.dumps(header.config, sort_keys=True),
        "settings_digest": header.settings_digest,
        "schema_version": int(arrow_schema("runs").metadata[b"schema_version"]),
        "code_version": host["emosphere"],
        "model_name": header.model_name,
        "model_digest": header.model_digest,
        "model_licence": header.model_licence,
        "archives": json.dumps(header.archives),
        "purpose": header.purpose,
        "roles": json.dumps(header.roles) if header.roles else None,
        "exception": header.exception,
        "started_at": datetime.datetime.fromisoformat(header.started_at),
        "ended_at": datetime.datetime.now(datetime.UTC),
        "host": json.dumps(host, sort_keys=True),
    }
    row |= {name: result[name] for name in columns_from("runs", "count")}
    table = pa.Table.from_pylist([row], schema=arrow_schema("runs"))
    ledger.writing.write(ledger.out.child("runs", f"{header.run_id}.parquet"), parquet_bytes(table))


def _replace(
    ledger: Ledger,
    path: str,
    table: str,
    new: pa.Table,
    replaced_ids: pa.ChunkedArray,
    header: RunHeader,
) -> str:
    """Write one published file anew and return the key of the version kept for snapshots, below OUT."""
    schema = arrow_schema(table, header.file_metadata)

    def make(public: Location) -> pa.Table:
        kept = new
        with contextlib.suppress(*ABSENT):
            old = read_parquet(public)
            check_columns(public, old.schema, schema, NEW_OUT)
            others = old.filter(
                pc.invert(pc.is_in(old.column("recording_id"), value_set=replaced_ids.combine_chunks()))
            )
            kept = pa.concat_tables([others.select(new.column_names).cast(new.schema), new])
        kept = kept.sort_by([(key, "ascending") for key in sort_keys(table)])
        return kept.replace_schema_metadata(schema.metadata).cast(schema)

    version = replace_published(ledger, path, header.run_id, make)
    assert version is not None
    return version


def _num_files(ledger: Ledger, header: RunHeader, dt: str, run_bytes: int) -> tuple[int, bool]:
    """Number of files of a partition, and whether some are still missing (then all are written, empty ones too).

    Chosen by expected size when the partition is first written, then kept, so that a recording's rows are always found
    in the same file.
    """
    note = ledger.home.child("partitions", f"dt={dt}", f"model={header.model_partition}.json")
    expected = max(1, -(-run_bytes // 4 // FILE_BYTES))  # in memory; compressed rows take about a quarter
    ledger.writing.create(note, json.dumps({"num_files": expected}).encode())
    num_files = int(json.loads(note.read_bytes())["num_files"])
    num_there = [
        sum(file_dt == dt for file_dt, _ in ledger.published(table, header.model_partition)) for table in FOLDED_TABLES
    ]
    return num_files, min(num_there) < num_files
