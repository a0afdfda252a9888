"""A unit's row in staging: what scoring found, or why there is nothing."""

import datetime
from typing import Any

import pyarrow as pa

from emosphere.errors import RETRIED_CODES
from emosphere.tables.schema import SEGMENTS
from pipelines.archive.recording import RECORDING_SCHEMA, recording_of
from pipelines.archive.seal import Seal

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


def staged_row(units: list[dict[str, Any]], results: list[dict[str, Any]], row: int, seal: Seal) -> dict[str, Any]:
    """The row of ``units[row]``, by what became of all units of its part. One that failed keeps no scores."""
    unit, result = units[row], results[row]
    told_of = unit
    # What befell this one itself (it changed while it was read) is told of it, whatever became of the first one.
    if "same_as" in result and not {"error_code", "flaw_code"} & result.keys():
        told_of, found = units[result["same_as"]], results[result["same_as"]]
        result = found | {"content_digest": result["content_digest"]}
        if result.get("error_code") in RETRIED_CODES:
            result["error_message"] = FIRST_FAILED
    staged: dict[str, Any] = {name: unit.get(name) for name in STAGED_SCHEMA.names}
    staged |= {
        "audio_ms": 0,
        "distinct_channels": [],
        "withheld": False,
        "scored_at": datetime.datetime.now(datetime.UTC),
        **result,
    }
    for name in ("error_message", "flaw_message"):
        staged[name] = staged[name] and seal.say(staged[name], recording_of(told_of))
    if staged["error_code"] is not None:
        staged |= {"segments": [], "distinct_channels": []}
    staged["segments"] = [
        {name: segment.get(name) for name in SPEECH_COLUMNS} for segment in staged.get("segments") or []
    ]
    return staged
