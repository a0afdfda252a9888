"""S3 Inventory: the list of a bucket that S3 writes every night, read instead of asking for a million keys."""

import datetime
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from pyarrow import orc

from emosphere.errors import UsageError
from emosphere.store import ABSENT, Location, explained, locate
from pipelines.archive.recording import options_for

NEEDED = ("bucket", "key", "size")
READ = (*NEEDED, "islatest", "isdeletemarker", "lastmodifieddate", "etag")
"""Columns that matter as :func:`_plain` spells them: CSV says ``LastModifiedDate``, else ``last_modified_date``."""
BLOCK_BYTES = 1 << 20
BATCH_ROWS = 20_000


def is_inventory(location: Location) -> bool:
    """By its name, which S3 always gives it."""
    return location.path.rpartition("/")[2] == "manifest.json"


def inventory_objects(location: Location, store_options: dict[str, Any]) -> Iterator[tuple[Location, dict[str, Any]]]:
    """Place and facts of every object, in the order of the data files; without delete markers and old versions.

    The objects are those in S3, wherever the inventory itself lies. Raises UsageError for what is no inventory, or not
    a whole one. Source: docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html.
    """
    manifest = _manifest(location)
    stores: dict[str, Any] = {}
    for entry in manifest["files"]:
        for row in _rows(_data_file(location, entry), manifest):
            if row.get("islatest", "true") in ("false", False) or row.get("isdeletemarker") in ("true", True):
                continue
            bucket = row["bucket"]
            if bucket not in stores:
                url = f"s3://{bucket}"
                stores[bucket] = locate(url, **options_for(url, store_options)).fs
            if not row["key"].endswith("/"):
                yield Location(stores[bucket], f"{bucket}/{row['key']}"), _facts(row)


def _manifest(location: Location) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(location.read_bytes())
        kind = manifest["fileFormat"].lower()
        whole = [{"key": file["key"], "size": int(file["size"])} for file in manifest["files"]]
        schema = manifest.get("fileSchema", "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{location.uri}: no manifest of an S3 Inventory ({type(error).__name__}: {error}); it needs "
            "fileFormat and files with key and size. Other lists are a .csv or .parquet with a column 'uri'."
        ) from error
    if kind not in ("csv", "orc", "parquet"):
        raise UsageError(f"{location.uri}: the inventory is in {kind}; configure it as CSV, ORC or Parquet.")
    return {"kind": kind, "files": whole, "columns": [_plain(name) for name in schema.split(",")]}


def _data_file(manifest: Location, entry: dict[str, Any]) -> Location:
    """A data file: its key counts from the bucket; in a copy of the inventory, from some folder above the manifest."""
    key, folder = entry["key"], manifest.path
    while folder := folder.rpartition("/")[0]:
        file = Location(manifest.fs, f"{folder}/{key}")
        try:
            size = file.fs.info(file.path)["size"]
        except ABSENT:
            continue
        if size != entry["size"]:
            raise UsageError(f"{file.uri}: {size} bytes, the inventory says {entry['size']}: it is not whole yet.")
        return file
    raise UsageError(f"{manifest.uri}: the inventory names {key}, which is in no folder above it.")


def _rows(file: Location, manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of one data file, a batch in memory at a time."""
    with explained(f"read {file.uri}", absence=False), file.fs.open(file.path, "rb") as source:
        try:
            if manifest["kind"] == "csv":
                yield from _csv_rows(source, manifest["columns"], file)
                return
            batches = _orc_batches if manifest["kind"] == "orc" else _parquet_batches
            for batch in batches(source, file):
                yield from batch.to_pylist()
        except pa.ArrowInvalid as error:
            raise UsageError(f"{file.uri}: not a whole data file of an inventory ({error}).") from error


def _parquet_batches(source: Any, file: Location) -> Iterator[pa.RecordBatch]:
    table = pq.ParquetFile(source)
    names = _columns_to_read(table.schema_arrow.names, file)
    for batch in table.iter_batches(BATCH_ROWS, columns=list(names)):
        yield batch.rename_columns([names[name] for name in batch.schema.names])


def _orc_batches(source: Any, file: Location) -> Iterator[pa.RecordBatch]:
    table = orc.ORCFile(source)
    names = _columns_to_read(table.schema.names, file)
    for number in range(table.nstripes):
        stripe = table.read_stripe(number, columns=list(names))
        renamed = stripe.rename_columns([names[name] for name in stripe.schema.names])
        for start in range(0, len(renamed), BATCH_ROWS):  # as Python objects a whole stripe would be ten times as large
            yield renamed.slice(start, BATCH_ROWS)


def _csv_rows(source: Any, columns: list[str], file: Location) -> Iterator[dict[str, Any]]:
    names = _columns_to_read(columns, file)
    packed = pa.PythonFile(source, mode="r")
    reader = pa_csv.open_csv(
        pa.CompressedInputStream(packed, "gzip") if file.path.lower().endswith(".gz") else packed,
        # Threads would read blocks ahead, and Python takes far longer over the rows than reading does.
        read_options=pa_csv.ReadOptions(column_names=columns, block_size=BLOCK_BYTES, use_threads=False),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()), include_columns=list(names)
        ),
    )
    for batch in reader:
        for row in batch.to_pylist():
            # Only here are keys spelt as in a URL.
            yield row | {"key": unquote_plus(row["key"])}


def _columns_to_read(columns: list[str], file: Location) -> dict[str, str]:
    """Name in the file -> plain name. Raises UsageError where one that is needed is not there."""
    names = {name: _plain(name) for name in columns if _plain(name) in READ}
    missing = [name for name in NEEDED if name not in names.values()]
    if not {"etag", "lastmodifieddate"} & set(names.values()):
        missing.append("etag or lastmodifieddate")
    if missing:
        raise UsageError(
            f"{file.uri}: the inventory lacks {', '.join(missing)}; found {', '.join(columns)}. Let it hold Size, "
            "LastModifiedDate and ETag, by which a changed recording is known."
        )
    return names


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    when = row.get("lastmodifieddate")
    if isinstance(when, str):
        when = datetime.datetime.fromisoformat(when) if when else None
    if when is not None and when.tzinfo is None:
        when = when.replace(tzinfo=datetime.UTC)
    size = row["size"]
    return {"size": int(size) if size not in ("", None) else None, "LastModified": when, "ETag": row.get("etag")}


def _plain(name: str) -> str:
    return re.sub(r"[\s_]", "", name).lower()
