"""Clips on their way through Ray Data: rows to decode, and what was decoded of them, as Arrow tables."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from emosphere.clips.manifest import Clip
from emosphere.config import from_mapping, to_mapping

CLIPS_PER_TASK: Final = 16
DECODED: Final = pa.schema(
    {
        "row": pa.int64(),
        "version": pa.int64(),
        "stream": pa.string(),
        "shape": pa.list_(pa.int64()),
        "values": pa.large_binary(),
        "error": pa.string(),
    }
)
"""One version of one clip: its waveform, or the features of one stream, as ``values`` with their ``shape``; or the
``error`` that says why there are none."""


def clip_tables(rows: Sequence[dict[str, Any]]) -> list[pa.Table]:
    """``rows``, each with its ``clip``, as tables of one task each.

    Transcripts and raters' own answers stay behind: they are long, and no task asks for them.
    """
    plain = [
        {**row, "clip": json.dumps(to_mapping(dataclasses.replace(row["clip"], transcript=None, ratings=None)))}
        for row in rows
    ]
    return [pa.Table.from_pylist(plain[at : at + CLIPS_PER_TASK]) for at in range(0, len(plain), CLIPS_PER_TASK)]


def clips_of(table: pa.Table) -> list[tuple[int, Clip]]:
    """Row number and clip of each row of what :func:`clip_tables` made."""
    clips = []
    for row, text in zip(table["row"].to_pylist(), table["clip"].to_pylist(), strict=True):
        clips.append((row, from_mapping(Clip, json.loads(text), source=f"clip {row}")))
    return clips


def decoded_row(row: int, version: int, values: np.ndarray[Any, Any], *, stream: str | None = None) -> dict[str, Any]:
    """A row of DECODED for what could be read; ``stream`` is None for a waveform."""
    return {
        "row": row,
        "version": version,
        "stream": stream,
        "shape": list(values.shape),
        "values": values.tobytes(),
        "error": None,
    }


def unreadable_row(row: int, version: int, error: Exception) -> dict[str, Any]:
    """A row of DECODED for what could not."""
    return {"row": row, "version": version, "stream": None, "shape": [], "values": None, "error": str(error)}
