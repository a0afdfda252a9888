"""Parquet tables with an audio column, and manifests: lists of recordings that lie elsewhere."""

import json
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from emosphere.errors import UsageError
from emosphere.store import Location
from pipelines.archive.members import ListLimits, too_many
from pipelines.archive.recording import Recording, content_version, modified, url_bytes

AUDIO_COLUMNS = ("audio", "bytes", "content", "wav", "flac", "mp3", "data")
"""Names under which a column of plain bytes counts as audio."""
BATCH_ROWS = 10_000
ROWS_AT_ONCE, PAGES_BYTES = 256, 1 << 20
"""Rows of a table with audio, and bytes of one of its columns, in memory at once."""


def has_audio(location: Location) -> bool:
    """Whether a Parquet file has a column of encoded audio. Raises ArrowInvalid for what is no Parquet file."""
    with _open_without_cache(location) as file:
        return audio_column(pq.read_schema(file)) is not None


def audio_column(schema: pa.Schema) -> str | None:
    """Column of encoded audio: a struct with ``bytes`` (as Hugging Face writes it), or bytes under a usual name."""
    for field in schema:
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return str(field.name)
    for name in AUDIO_COLUMNS:
        if name in schema.names and _is_bytes(schema.field(name).type):
            return name
    return None


def audio_values(location: Location, info: dict[str, Any], limits: ListLimits) -> Iterator[Recording]:
    """One recording per row; the other columns become its attributes. Reads no audio, and a few rows at a time.

    Raises BadRecording for a table of too many rows.
    """
    with _open_without_cache(location) as file:
        table = pq.ParquetFile(file, buffer_size=PAGES_BYTES, pre_buffer=False)
        groups = (table.metadata.row_group(number) for number in range(table.num_row_groups))
        num_rows = sum(group.num_rows for group in groups)
        if num_rows > limits.max_members:
            raise too_many(limits)
        column = audio_column(table.schema_arrow)
        others = [f.name for f in table.schema_arrow if f.name != column and not _holds_bytes(f.type)]
        version, modified_us = content_version(info), modified(info)
        for row_number, row in enumerate(_rows(table, others) if others else repeat({}, num_rows)):
            yield Recording(
                source_uri=f"parquet://{column}/{row_number}::{location.uri}",
                kind="cell",
                url=url_bytes(location),
                member=column,
                offset=row_number,
                modified_us=modified_us,
                content_version=version,
                attributes=_as_json(row),
            )


def join_attributes(outer: str | None, inner: str | None) -> str | None:
    """Attributes of a container and of what is in it; of two with one name the inner one."""
    return _as_json(json.loads(outer or "{}") | json.loads(inner or "{}"))


def _rows(table: pq.ParquetFile, columns: list[str]) -> Iterator[dict[str, Any]]:
    for batch in table.iter_batches(ROWS_AT_ONCE, columns=columns, use_threads=False):
        yield from batch.to_pylist()


def _open_without_cache(location: Location) -> Any:
    """Opened to read what is asked for and nothing ahead: beside it lies the audio."""
    return location.fs.open(location.path, "rb", cache_type="none")


def manifest_entries(location: Location) -> Iterator[tuple[str, str | None]]:
    """``uri`` and the other columns (JSON) of each row of a .csv or .parquet manifest; a batch in memory at a time."""
    with location.fs.open(location.path, "rb") as file:
        try:
            for batch in _batches(location, file):
                for row in batch.to_pylist():
                    uri = row.pop("uri")
                    if uri:
                        yield str(uri), _as_json(row)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise UsageError(f"{location.uri}: cannot be read as a manifest ({error}).") from error


def _batches(location: Location, file: Any) -> Iterator[pa.RecordBatch]:
    if location.path.lower().endswith(".csv"):
        # Everything as text: a call id such as 00123 must come out as it went in.
        header = file.readline().decode("utf-8-sig").strip()
        names = [name.strip().strip('"') for name in header.split(",")]
        file.seek(0)
        _check_columns(names, location)
        types = dict.fromkeys(names, pa.string())
        yield from pa_csv.open_csv(file, convert_options=pa_csv.ConvertOptions(column_types=types))
        return
    table = pq.ParquetFile(file)
    _check_columns(table.schema_arrow.names, location)
    yield from table.iter_batches(BATCH_ROWS)


def _check_columns(names: list[str], location: Location) -> None:
    if "uri" not in names:
        raise UsageError(
            f"{location.uri}: a manifest needs a column 'uri'; found {', '.join(names) or 'no columns'}. "
            "A Parquet table with audio in it needs a column of bytes, or of structs with 'bytes'."
        )


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column is of sound or pictures, as such or inside structs and lists."""
    return _is_bytes(kind) or any(_holds_bytes(kind.field(number).type) for number in range(kind.num_fields))


def _as_json(row: dict[str, Any]) -> str | None:
    present = {key: value for key, value in row.items() if value is not None}
    return json.dumps(present, default=str, ensure_ascii=False, sort_keys=True) if present else None
