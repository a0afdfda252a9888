"""DuckDB over the tables of one OUT: a whole run's snapshot, never half a publishing."""

import json
from decimal import Decimal
from typing import Any, Final, cast

import duckdb

from emosphere.errors import UsageError
from emosphere.store import Location, locate
from emosphere.tables.schema import TABLES
from pipelines.output.snapshot import read_snapshot

FORMATS: Final = ("table", "csv", "json")

VIEWS: Final = {
    "segments_1to7": (
        "SELECT * EXCLUDE (valence, arousal, dominance), 3 * valence + 4 AS valence_1to7, "
        "3 * arousal + 4 AS arousal_1to7, 3 * dominance + 4 AS dominance_1to7 FROM segments"
    ),
    "segments_0to1": (
        "SELECT * EXCLUDE (valence, arousal, dominance), (valence + 1) / 2 AS valence_0to1, "
        "(arousal + 1) / 2 AS arousal_0to1, (dominance + 1) / 2 AS dominance_0to1 FROM segments"
    ),
    "recording_summary": """
        SELECT recording_id, source_uri, model, channel, any_value(role) AS role, count(*) AS num_segments,
               sum(speech_ms) AS speech_ms,
               sum(valence * speech_ms) / sum(speech_ms) AS valence_mean,
               sum(arousal * speech_ms) / sum(speech_ms) AS arousal_mean,
               sum(dominance * speech_ms) / sum(speech_ms) AS dominance_mean,
               min(valence) AS valence_min, max(arousal) AS arousal_max,
               60000 * regr_slope(valence, start_ms) AS valence_slope_per_min,
               60000 * regr_slope(arousal, start_ms) AS arousal_slope_per_min,
               arg_max(start_ms, arousal - valence) AS worst_start_ms,
               avg((confidence = 'low')::INT) AS low_confidence_share
        FROM segments GROUP BY recording_id, source_uri, model, channel
    """,
}
"""Derived from ``segments`` by SQL alone, so that anyone can reproduce them."""


def connect_tables(out: str) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with the tables and views of OUT. Raises UsageError where there are none."""
    location = locate(out)
    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")  # standard output is for the answer
    if not location.is_local:
        connection.register_filesystem(location.fs)
    for table in TABLES:
        files = _files(location, table)
        if not files:
            raise UsageError(
                f"{location.uri}: no table '{table}' there. 'emosphere score ARCHIVE --out {out}' makes it."
            )
        # A prepared statement cannot define a view: the list of files goes in as text, quoted.
        listed = ", ".join("'" + path.replace("'", "''") + "'" for path in files)
        hive = "true, hive_types_autocast = false" if table != "runs" else "false, union_by_name = true"
        connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet([{listed}], hive_partitioning = {hive})")
    for name, query in VIEWS.items():
        connection.execute(f"CREATE VIEW {name} AS {query}")
    return connection


def sql(out: str, query: str, format: str = "table") -> str:
    """Answer of one query as text. Raises UsageError with DuckDB's own words for a wrong one, or for no such format."""
    if format not in FORMATS:
        raise UsageError(f"--format {format!r} is not one of {', '.join(FORMATS)}.")
    connection = connect_tables(out)
    try:
        # None for a statement without rows, of which DuckDB's types know nothing.
        relation = cast("duckdb.DuckDBPyRelation | None", connection.sql(query))
        if relation is None:
            return ""
        if format == "csv":
            return str(relation.df().to_csv(index=False)).rstrip("\n")
        if format == "json":
            # By Arrow: DuckDB's own rows want a package for the zones of its timestamps.
            return json.dumps(relation.to_arrow_table().to_pylist(), default=_plain, ensure_ascii=False)
        return _as_table(relation)
    except duckdb.Error as error:
        raise UsageError(f"{error}") from error


def _plain(value: Any) -> int | str:
    """What JSON has no word for; Arrow hands over sums of whole numbers, which are wider than 64 bits, as decimals."""
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else str(value)


def _as_table(relation: Any) -> str:
    frame = relation.df()
    text = frame.to_string(index=False, max_rows=200, na_rep="", float_format=lambda value: f"{value:.3f}")
    return f"{text}\n({len(frame)} row{'s' if len(frame) != 1 else ''})"


def _files(out: Location, table: str) -> list[str]:
    snapshot = read_snapshot(out) if table != "runs" else None
    if snapshot is not None:
        keys = [out.child(kept).path for path, kept in snapshot["files"].items() if path.startswith(f"{table}/")]
    else:
        keys = [path for path in out.child(table).files() if path.endswith(".parquet") and "/." not in path]
    return sorted(keys if out.is_local else [f"{out.fs.protocol[0]}://{key}" for key in keys])
