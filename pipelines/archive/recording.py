"""One recording of an archive: enough to find it again, nothing about what it sounds like."""

import datetime
import email.utils
import os
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from emosphere.errors import BadRecording, ErrorCode
from emosphere.store import Location, locate

Kind = Literal["object", "zip", "tar", "cell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A file, a member of an archive file, or a value of a Parquet table."""

    source_uri: str
    """Identity: absolute, unsigned."""
    kind: Kind
    url: bytes
    """How to open the object or the container, as the file system spells it (a name may not be valid text)."""
    member: str | None = None
    """Name inside a zip or tar; column of a table."""
    offset: int | None = None
    """First byte of a tar member's data (None in a compressed tar); row of a table."""
    num_bytes: int | None = None
    modified_us: int | None = None
    """Time of the last change, microseconds since 1970, UTC."""
    content_version: str = ""
    attributes: str | None = None
    """JSON object of the other columns of the manifest or table it came from."""
    error_code: ErrorCode | None = None
    """Set where listing already shows that it cannot be scored."""
    error_message: str | None = None


ADDRESS_SCHEMA = pa.schema(
    [("kind", pa.string()), ("url", pa.binary()), ("member", pa.string()), ("offset", pa.int64())]
)
"""The fields of a :class:`Recording` that say how to fetch it: of no use to anybody once that is done."""
RECORDING_SCHEMA = pa.schema(
    [
        ("source_uri", pa.string()),
        *ADDRESS_SCHEMA,
        ("num_bytes", pa.int64()),
        ("modified_us", pa.int64()),
        ("content_version", pa.string()),
        ("attributes", pa.string()),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
    ]
)
"""The fields of a :class:`Recording`, as plans hold them."""


def recording_of(row: dict[str, Any]) -> Recording:
    """The recording of a row that has :data:`RECORDING_SCHEMA`'s columns, among others."""
    return Recording(**{name: row[name] for name in RECORDING_SCHEMA.names})


class Changed(BadRecording):
    """Another version lies there than was listed. Asking again would not help; the next run lists it anew."""

    def __init__(self, code: ErrorCode = "FETCH_FAILED", message: str = "") -> None:
        super().__init__(code, message or "It changed after it was listed; the next run takes it as it is then.")


def url_bytes(location: Location) -> bytes:
    """The location as bytes that :func:`reopen` understands."""
    if location.is_local:
        return b"file://" + os.fsencode(location.path)
    path: str = location.path
    protocol = location.fs.protocol if isinstance(location.fs.protocol, str) else location.fs.protocol[0]
    return path.encode() if path.startswith(("http://", "https://")) else f"{protocol}://{path}".encode()


def reopen(url: bytes, store_options: dict[str, Any]) -> Location:
    """Inverse of :func:`url_bytes`."""
    return locate(os.fsdecode(url), **options_for(os.fsdecode(url), store_options))


def options_for(url: str, store_options: dict[str, Any]) -> dict[str, Any]:
    """Options of the settings' ``[store]`` table: they concern S3 only."""
    return dict(store_options) if url.lower().startswith(("s3://", "s3a://")) else {}


def content_version(info: dict[str, Any]) -> str:
    """ETag of an object, else its size and time."""
    etag = info.get("ETag") or info.get("etag")
    return str(etag).strip('"') if etag else f"{info.get('size')}-{modified(info)}"


def modified(info: dict[str, Any]) -> int | None:
    """Microseconds since 1970 (UTC) of the last change, where the store tells."""
    when = info.get("LastModified") or info.get("mtime") or info.get("last_modified") or info.get("created")
    if isinstance(web := info.get("Last-Modified"), str):
        when = email.utils.parsedate_to_datetime(web)
    if isinstance(when, datetime.datetime):
        return int(when.timestamp() * 1_000_000)
    return int(when * 1_000_000) if isinstance(when, int | float) else None


def check_version(recording: Recording, version: str) -> None:
    """Raise Changed unless ``version`` is what was listed."""
    if recording.content_version and recording.content_version != version:
        raise Changed
