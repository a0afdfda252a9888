"""Members of zip and tar files: listed by their directory, without unpacking."""

import calendar
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from emosphere.store import Location
from pipelines.archive.recording import Recording, url_bytes

BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    pa.ArrowInvalid,
    EOFError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What the readers raise for a damaged zip, tar or table, found by mutating such files."""
LARGEST = 1 << 62
"""A size beyond this in a header is a lie, and would not fit into a column."""


def zip_members(location: Location, info: dict[str, Any], *, wanted: Callable[[str], bool]) -> Iterator[Recording]:
    """Recordings of a zip by its central directory. Raises one of BROKEN for a damaged one."""
    with location.fs.open(location.path, "rb") as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    for member in members:
        if member.is_dir() or not wanted(member.filename):
            continue
        refusal = _path_trick(member.filename) or _absurd_size(member.file_size)
        if refusal is None and member.flag_bits & 0x1:
            refusal = "The member is encrypted."
        yield Recording(
            source_uri=f"zip://{text_of(member.filename)}::{location.uri}",
            kind="zip",
            url=url_bytes(location),
            member=member.filename,
            num_bytes=min(member.file_size, LARGEST),
            modified_us=_zip_time(member.date_time),
            # The checksum follows the content: a zip written anew with the same recording leaves it as it was.
            content_version=f"{member.CRC:08x}-{member.file_size}",
            error_code="REFUSED" if refusal else None,
            error_message=refusal,
        )


def tar_members(location: Location, info: dict[str, Any], *, wanted: Callable[[str], bool]) -> Iterator[Recording]:
    """Recordings of a tar; those of a plain tar with their byte range, so that each can be read alone."""
    plain = _is_plain(location)
    with (
        location.fs.open(location.path, "rb") as file,
        tarfile.open(fileobj=file, mode="r:" if plain else "r|gz") as archive,
    ):
        for member in archive:
            if not member.isfile() or not wanted(member.name):
                continue
            refusal = _path_trick(member.name) or _absurd_size(member.size)
            modified_us = _tar_time(member.mtime)
            yield Recording(
                source_uri=f"tar://{text_of(member.name)}::{location.uri}",
                kind="tar",
                url=url_bytes(location),
                member=text_of(member.name),
                offset=member.offset_data if plain else None,
                num_bytes=min(member.size, LARGEST),
                modified_us=modified_us,
                content_version=f"{member.size}-{modified_us}",
                error_code="REFUSED" if refusal else None,
                error_message=refusal,
            )


def _is_plain(location: Location) -> bool:
    return location.path.partition("?")[0].lower().endswith(".tar")


def _absurd_size(num_bytes: int) -> str | None:
    return f"The header claims {num_bytes} bytes." if num_bytes > LARGEST else None


def _path_trick(name: str) -> str | None:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name:
        return "The member's name points outside the archive."
    return None


def text_of(name: str) -> str:
    """A member's name as valid text: undecodable bytes as %XX."""
    return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in name)


def _tar_time(mtime: float) -> int | None:
    """Microseconds since 1970; None for a time that no calendar holds."""
    return int(mtime * 1_000_000) if 0 <= mtime < 253_402_300_800 else None


def _zip_time(date_time: tuple[int, int, int, int, int, int]) -> int | None:
    try:
        return calendar.timegm((*date_time, 0, 0, 0)) * 1_000_000
    except (ValueError, OverflowError):
        return None
