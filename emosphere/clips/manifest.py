"""Labelled clips: the canonical table that every corpus is prepared into, and the reading of it."""

import io
import json
import math
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from emosphere.clips.acted_table import acted_rows
from emosphere.clips.rows import label_set_of
from emosphere.errors import UsageError
from emosphere.store import Location, locate
from emosphere.tables.schema import Column
from emosphere.vad import VAD_DIMS

_string, _f64, _i64, _i32 = pa.string(), pa.float64(), pa.int64(), pa.int32()

MANIFEST: Final = (
    Column("uri", _string, "Where the audio lies: absolute, any fsspec URL, or relative to the manifest's folder"),
    Column("start_ms", _i64, "First millisecond of the clip within that audio", "ms"),
    Column("end_ms", _i64, "First millisecond after it; null: to the end of the audio", "ms", nullable=True),
    Column("channel", _i32, "Channel of the audio, 0-based; null: their average", nullable=True),
    Column("valence", _f64, "Target, centred; null where nobody rated it", "[-1, 1]", nullable=True),
    Column("arousal", _f64, "Target, centred; null where nobody rated it", "[-1, 1]", nullable=True),
    Column("dominance", _f64, "Target, centred; null where nobody rated it", "[-1, 1]", nullable=True),
    Column("weak", pa.bool_(), "True: the target is the mean of an emotion word, not a rating of this clip"),
    Column("category", _string, "Emotion category, as a plain English word", nullable=True),
    Column("intensity", _string, "How strongly the emotion was acted, in the corpus's own word", nullable=True),
    Column("speaker", _string, "Who speaks; unique over corpora"),
    Column("gender", _string, "Of the speaker: female, male, or the corpus's own word", nullable=True),
    Column("split", _string, "Part of the corpus: train, dev, test, or the corpus's own word"),
    Column("corpus", _string, "Corpus with its release"),
    Column("duration_ms", _i64, "Length of the clip", "ms", nullable=True),
    Column("ratings", _string, "Every rater's own answers, as they were given", "JSON list", nullable=True),
    Column("transcript", _string, "What is said, as the corpus writes it", "UTF-8", nullable=True),
    Column(
        "categories",
        _string,
        "Categories of which the clip has one, where its corpus does not say which; null: `category` alone",
        "JSON list",
        nullable=True,
    ),
)
"""One row per labelled clip."""

ADDED_IN_2: Final = ("transcript", "categories")
"""Columns that manifests of version 1 lack; there they count as null."""

MANIFEST_SCHEMA: Final = pa.schema(
    [column.field for column in MANIFEST],
    {"emosphere": json.dumps({"manifest_version": 2, "scale": "centred", "range": [-1, 1]})},
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One labelled clip."""

    uri: str
    """Absolute path or fsspec URL of the audio."""
    start_ms: int = 0
    end_ms: int | None = None
    """None: to the end."""
    channel: int | None = None
    """None: all, averaged."""
    vad: tuple[float, float, float]
    """Target, centred (V, A, D); NaN where nobody rated it."""
    weak: bool = False
    """Whether the target is the mean of an emotion word rather than a rating."""
    category: str | None = None
    speaker: str
    gender: str | None = None
    corpus: str
    split: str
    duration_ms: int | None = None
    intensity: str | None = None
    """How strongly the emotion was acted, in the corpus's own word."""
    transcript: str | None = None
    ratings: str | None = None
    """Every rater's own answers: a JSON list, as the manifest has it."""
    categories: tuple[str, ...] = ()
    """Label set: categories of which the clip has one, where its corpus does not say which; empty: none."""

    @property
    def place(self) -> tuple[str, int, int | None, int | None]:
        """What makes it this clip and no other: audio, start, end, channel."""
        return self.uri, self.start_ms, self.end_ms, self.channel

    @property
    def is_rated(self) -> bool:
        """Whether listeners rated this clip itself, in one dimension or more."""
        return not self.weak and not all(math.isnan(value) for value in self.vad)

    @property
    def name(self) -> str:
        """The audio's file name with the clip's place in it: what keys the clip's random changes."""
        name = posixpath.basename(self.uri)
        return f"{name}#{self.start_ms}" if self.start_ms else name


def read_manifest(path: str) -> list[Clip]:
    """Clips of a canonical Parquet table, or of a CSV table of acted emotion words (emosphere.clips.acted_table).

    Raises UsageError for a missing column, a target outside [-1, 1] or NaN, an unknown emotion, a label set that is
    none or lacks the clip's category, or an empty table; it names the row.
    """
    location = locate(str(path))
    try:
        content = location.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read as a manifest ({error}).") from error
    rows = (_parquet_rows if path.endswith(".parquet") else acted_rows)(content, path)
    if not rows:
        raise UsageError(f"{path}: holds no clip.")
    return [_clip(row, location, _checked_vad(row, number, location)) for number, row in enumerate(rows)]


def write_manifest(
    rows: Sequence[Mapping[str, Any]], target: Location, *, about: Mapping[str, Any] | None = None
) -> None:
    """Write canonical rows; columns that a row lacks are null. Raises ArrowInvalid for a wrong type.

    ``about``: further facts for the JSON object ``emosphere`` of the file's metadata.
    """
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=MANIFEST_SCHEMA)
    if about:
        facts = json.loads(MANIFEST_SCHEMA.metadata[b"emosphere"]) | dict(about)
        table = table.replace_schema_metadata({"emosphere": json.dumps(facts)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    target.write_bytes(buffer.getvalue())


def absolute_uri(uri: str, manifest: Location) -> str:
    """Where a manifest's ``uri`` lies: as it is, else from the manifest's folder or, on a disk, the one above."""
    if "://" in uri or uri.startswith("/"):
        return uri
    folder = posixpath.dirname(manifest.path)
    beside = Location(manifest.fs, posixpath.join(folder, uri))
    if not manifest.is_local:
        return beside.uri
    return beside.path if beside.exists() else posixpath.normpath(posixpath.join(posixpath.dirname(folder), uri))


def _parquet_rows(content: bytes, path: str) -> list[dict[str, Any]]:
    try:
        table = pq.read_table(pa.BufferReader(content))
    except pa.ArrowInvalid as error:
        raise UsageError(f"{path}: cannot be read as a Parquet manifest ({error}).") from error
    absent = [column.name for column in MANIFEST if column.name not in table.column_names]
    if missing := [name for name in absent if name not in ADDED_IN_2]:
        raise UsageError(f"{path}: lacks the columns {', '.join(missing)}; make it with `emosphere prepare`.")
    present = [column.name for column in MANIFEST if column.name not in absent]
    rows: list[dict[str, Any]] = table.select(present).to_pylist()
    for number, row in enumerate(rows):
        try:
            row["categories"] = label_set_of(row.get("categories"), row["category"])
        except ValueError as error:
            raise UsageError(f"{path}: row {number} ({row['uri']}): categories is {error}.") from None
    return rows


def _checked_vad(row: dict[str, Any], number: int, manifest: Location) -> list[float]:
    where = f"{manifest.uri}: row {number} ({row['uri']})"
    if not row["uri"] or not row["speaker"] or not row["split"]:
        raise UsageError(f"{where}: uri, speaker and split must not be empty.")
    for dim in VAD_DIMS:
        if row[dim] is not None and not -1 <= row[dim] <= 1:
            raise UsageError(f"{where}: {dim} is {row[dim]}, wanted the centred scale, [-1, 1], or null for unrated.")
    return [math.nan if row[dim] is None else float(row[dim]) for dim in VAD_DIMS]


def _clip(row: dict[str, Any], manifest: Location, vad: list[float]) -> Clip:
    return Clip(
        uri=absolute_uri(row["uri"], manifest),
        start_ms=row["start_ms"] or 0,
        end_ms=row.get("end_ms"),
        channel=row.get("channel"),
        vad=(vad[0], vad[1], vad[2]),
        weak=bool(row["weak"]),
        category=row["category"],
        speaker=row["speaker"],
        gender=row["gender"],
        corpus=row["corpus"],
        split=row["split"],
        duration_ms=row["duration_ms"],
        intensity=row["intensity"] or None,
        transcript=row.get("transcript") or None,
        ratings=row.get("ratings") or None,
        categories=row.get("categories") or (),
    )
