"""S3 Inventory manifests: the same recordings as listing the bucket, without asking the bucket."""

import csv
import datetime
import gzip
import io
import json
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import orc

from emosphere.errors import UsageError
from emosphere.store import locate
from pipelines.archive.listing import list_archives

SCHEMA = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag"
ROWS = [
    ("calls/a b+ü.wav", True, False, 1000, "aaaa"),
    ("calls/deep/er/b.mp3", True, False, 2000, "bbbb-2"),
    ("calls/deep/er/b.mp3", False, False, 1999, "old"),
    ("calls/gone.wav", True, True, None, ""),
    ("calls/", True, False, 0, "folder"),
    ("calls/notes.txt", True, False, 10, "text"),
    ("calls/.hidden/c.wav", True, False, 10, "hidden"),
    ("tables/segments/d.xyz", True, False, 10, "below out"),
    ('calls/"quoted", and\nbroken.wav', True, False, 0, "empty"),
]


def write_inventory(root: Path, kind: str, rows=ROWS, schema: str = SCHEMA) -> Path:
    """As S3 lays it out, copied to a disk: prefix/bucket/config/date/manifest.json beside prefix/bucket/config/data."""
    base = "inventory/audio/nightly"
    (root / base / "data").mkdir(parents=True)
    files = []
    for number in range(2):
        part = rows[number::2]
        key = f"{base}/data/{number}.{'csv.gz' if kind == 'CSV' else kind.lower()}"
        if kind == "CSV":
            text = io.StringIO()
            writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
            for name, latest, marker, size, etag in part:
                facts = ["" if size is None else size, "2026-11-20T01:02:03.000Z", etag]
                writer.writerow(["audio", quote(name), "v", str(latest).lower(), str(marker).lower(), *facts])
            (root / key).write_bytes(gzip.compress(text.getvalue().encode()))
        else:
            when = datetime.datetime(2026, 11, 20, 1, 2, 3)
            table = {
                "bucket": ["audio"] * len(part), "key": [row[0] for row in part], "version_id": ["v"] * len(part),
                "is_latest": [row[1] for row in part], "is_delete_marker": [row[2] for row in part],
                "size": [row[3] for row in part],
                "last_modified_date": pa.array([when] * len(part), pa.timestamp("ms")),
                "e_tag": [row[4] for row in part],
            }  # fmt: skip
            write = pq.write_table if kind == "Parquet" else orc.write_table
            write(pa.table(table), root / key)
        files.append({"key": key, "size": (root / key).stat().st_size, "MD5checksum": "0"})
    manifest = root / base / "2026-11-21T01-00Z" / "manifest.json"
    manifest.parent.mkdir()
    manifest.write_text(
        json.dumps({"sourceBucket": "audio", "destinationBucket": "arn:aws:s3:::inv", "version": "2016-11-30",
                    "creationTimestamp": "1763686800000", "fileFormat": kind,
                    "fileSchema": schema if kind == "CSV" else "message s3.inventory { }", "files": files})
    )  # fmt: skip
    return manifest


@pytest.mark.parametrize("kind", ["CSV", "ORC", "Parquet"])
def test_every_format_names_the_latest_recordings(tmp_path, kind):
    manifest = write_inventory(tmp_path, kind)
    found = {one.source_uri: one for one in list_archives([str(manifest)], out=locate("s3://audio/tables"))}
    assert set(found) == {
        "s3://audio/calls/a b+ü.wav",
        "s3://audio/calls/deep/er/b.mp3",
        's3://audio/calls/"quoted", and\nbroken.wav',
    }
    one = found["s3://audio/calls/deep/er/b.mp3"]
    assert (one.num_bytes, one.content_version, one.kind) == (2000, "bbbb-2", "object")
    assert one.modified_us == int(datetime.datetime(2026, 11, 20, 1, 2, 3, tzinfo=datetime.UTC).timestamp() * 1e6)
    assert one.url == b"s3://audio/calls/deep/er/b.mp3"


def test_an_inventory_gives_what_listing_the_bucket_gives(s3, tmp_path):
    names = ["same/a+b c.wav", "same/ü/b.wav", "same/100%.wav"]
    for number, name in enumerate(names):
        s3.pipe_file(f"audio/{name}", b"sound" * (number + 1))
    listed = list(list_archives(["s3://audio/same"], out=locate("/nowhere")))
    facts = [s3.info(f"audio/{name}") for name in names]
    rows = [(name, True, False, info["size"], info["ETag"].strip('"')) for name, info in zip(names, facts, strict=True)]
    local = write_inventory(tmp_path, "CSV", rows)
    s3.put(str(tmp_path / "inventory"), "tables/inventory", recursive=True)
    there = f"s3://tables/{local.relative_to(tmp_path)}"
    for manifest in (str(local), there):
        found = list(list_archives([manifest], out=locate("/nowhere")))
        identity = [(one.source_uri, one.content_version, one.num_bytes, one.url) for one in found]
        assert sorted(identity) == sorted(
            (one.source_uri, one.content_version, one.num_bytes, one.url) for one in listed
        )


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda manifest, data: data.write_bytes(data.read_bytes()[:-9]), "not whole yet"),
        (lambda manifest, data: data.unlink(), "in no folder above"),
        (lambda manifest, data: manifest.write_text("[]"), "no manifest of an S3 Inventory"),
        (lambda manifest, data: manifest.write_text(manifest.read_text().replace("CSV", "Avro")), "ORC or Parquet"),
        (lambda manifest, data: manifest.write_text(manifest.read_text().replace("ETag", "X").replace(
            "LastModifiedDate", "Y")), "lacks etag or lastmodifieddate"),
    ],
)  # fmt: skip
def test_an_inventory_that_is_not_whole_is_refused_with_a_reason(tmp_path, harm, words):
    manifest = write_inventory(tmp_path, "CSV")
    harm(manifest, tmp_path / "inventory/audio/nightly/data/0.csv.gz")
    with pytest.raises(UsageError, match=words):
        list(list_archives([str(manifest)], out=locate("/nowhere")))
