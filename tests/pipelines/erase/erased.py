"""What tests of erasing look at: names, bytes and rows below an OUT."""

from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from pipelines.sql.command import connect_tables


def uri(made: Path, name: str) -> str:
    return f"file://{made}/archive/{name}"


def names(out: Path, table: str = "recordings") -> set[str]:
    found = duckdb.read_parquet(f"{out}/{table}/*/*/*.parquet").project("source_uri").fetchall()
    return {uri.partition("/archive/")[2] for (uri,) in found}


def all_text(out: Path) -> str:
    """Every byte below OUT and every value of its tables, without the list of what was erased."""
    text = []
    for path in sorted(out.rglob("*")):
        if path.is_file() and path.name != "erased.json":
            text += [str(path.relative_to(out)), path.read_bytes().decode("latin-1")]
            if path.suffix == ".parquet":
                text.append(str(pq.ParquetFile(path).read().to_pylist()))
    return "\n".join(text)


def assert_whole(out: Path) -> None:
    """Every scored recording has all its segments, by glob and by the snapshot; both readers can read."""
    for reader in (
        lambda table: duckdb.read_parquet(f"{out}/{table}/*/*/*.parquet").df(),
        lambda table: connect_tables(str(out)).sql(f"FROM {table}").df(),
    ):
        recordings, segments = reader("recordings"), reader("segments")
        there = segments.groupby("recording_id").size()
        scored = recordings[recordings["status"] == "scored"].set_index("recording_id")["num_segments"]
        assert (there.reindex(scored.index).fillna(0) == scored).all()
