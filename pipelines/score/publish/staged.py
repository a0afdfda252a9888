"""Staging: the result of every unit of a part, failures included, as one row each."""

import datetime
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from emosphere.tables.schema import SEGMENTS, columns_from
from pipelines.archive.recording import ADDRESS_SCHEMA, RECORDING_SCHEMA
from pipelines.score.unit import UnitResult

SEGMENT_COLUMNS = columns_from("segments", "audio", "model", "unfilled")
"""Columns of ``segments`` that are known while scoring; the others are added at publishing."""
RECORDING_COLUMNS = [name for name in RECORDING_SCHEMA.names if name not in ADDRESS_SCHEMA.names]

STAGED_SCHEMA = pa.schema(
    [
        ("unit_id", pa.int64()),
        ("recording_id", pa.string()),
        ("unit_index", pa.int32()),
        ("num_units", pa.int32()),
        ("attempts", pa.int32()),
        *(RECORDING_SCHEMA.field(name) for name in RECORDING_COLUMNS),
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
        ("segments", pa.list_(pa.struct([(c.name, c.type) for c in SEGMENTS if c.name in SEGMENT_COLUMNS]))),
    ]
)
"""One row per unit, failures included: one unit in, one row out."""


def staged_part(results: Iterable[UnitResult], scored_at: datetime.datetime) -> pa.Table:
    """The rows of a part, of :data:`STAGED_SCHEMA`, in the order of its units."""
    return pa.Table.from_pylist([staged_row(result, scored_at) for result in results], schema=STAGED_SCHEMA)


def staged_row(result: UnitResult, scored_at: datetime.datetime) -> dict[str, Any]:
    """The row of one unit; a unit that was never opened has nulls in its place."""
    unit, decoded = result.unit, result.decoded
    header, failure, flaw = decoded.header, decoded.failure, decoded.flaw
    return {
        **{name: getattr(unit.recording, name) for name in RECORDING_COLUMNS},
        "unit_id": unit.unit_id,
        "recording_id": unit.recording_id,
        "unit_index": unit.unit_index,
        "num_units": unit.num_units,
        "attempts": unit.attempts,
        "error_code": failure and failure.code,
        "error_message": failure and failure.message,
        "flaw_code": flaw and flaw.code,
        "flaw_message": flaw and flaw.message,
        "content_digest": decoded.content_digest,
        "codec": header and header.codec,
        "sample_rate_hz": header and header.sample_rate_hz,
        "num_channels": header and header.num_channels,
        "header_ms": header and header.duration_ms,
        "end_ms": decoded.end_ms,
        "audio_ms": decoded.audio_ms,
        "withheld": decoded.is_withheld,
        "distinct_channels": sorted(result.distinct_channels),
        "segments": [{name: segment.get(name) for name in SEGMENT_COLUMNS} for segment in result.segments],
        "scored_at": scored_at,
    }
