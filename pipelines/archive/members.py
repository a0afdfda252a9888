"""Members of zip and tar files: listed by their directory, without unpacking."""

import calendar
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from emosphere.errors import ErrorCode
from emosphere.store import Location
from pipelines.archive.recording import Recording, content_version, modified, url_bytes

BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, ValueError, NotImplementedError)
"""What the standard library raises for a damaged zip or tar."""


def zip_members(location: Location, info: dict[str, Any], *, wanted: Callable[[str], bool]) -> Iterator[Recording]:
    """Recordings of a zip by its central directory. A zip that cannot be read is itself a row."""
    try:
        with location.fs.open(location.path, "rb") as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except BROKEN as error:
        yield _unreadable(location, info, f"Not a readable zip file: {error}")
        return
    for member in members:
        if member.is_dir() or not wanted(member.filename):
            continue
        refusal = _path_trick(member.filename)
        if refusal is None and member.flag_bits & 0x1:
            refusal = "The member is encrypted."
        yield Recording(
            source_uri=f"zip://{text_of(member.filename)}::{location.uri}",
            kind="zip",
            url=url_bytes(location),
            member=member.filename,
            num_bytes=member.file_size,
            modified_us=_zip_time(member.date_time),
            # The checksum follows the content: a zip written anew with the same recording leaves it as it was.
            content_version=f"{member.CRC:08x}-{member.file_size}",
            error_code="REFUSED" if refusal else None,
            error_message=refusal,
        )


def tar_members(location: Location, info: dict[str, Any], *, wanted: Callable[[str], bool]) -> Iterator[Recording]:
    """Recordings of a tar; those of a plain tar with their byte range, so that each can be read alone."""
    plain = location.path.lower().endswith(".tar")
    try:
        with (
            location.fs.open(location.path, "rb") as file,
            tarfile.open(fileobj=file, mode="r:" if plain else "r|gz") as archive,
        ):
            for member in archive:
                if not member.isfile() or not wanted(member.name):
                    continue
                refusal = _path_trick(member.name)
                yield Recording(
                    source_uri=f"tar://{text_of(member.name)}::{location.uri}",
                    kind="tar",
                    url=url_bytes(location),
                    member=text_of(member.name),
                    offset=member.offset_data if plain else None,
                    num_bytes=member.size,
                    modified_us=int(member.mtime * 1_000_000),
                    content_version=f"{member.size}-{int(member.mtime * 1_000_000)}",
                    error_code="REFUSED" if refusal else None,
                    error_message=refusal,
                )
    except BROKEN as error:
        yield _unreadable(location, info, f"Not a readable tar file: {error}")


def _unreadable(location: Location, info: dict[str, Any], message: str) -> Recording:
    code: ErrorCode = "CORRUPT" if info.get("size") else "EMPTY"
    return Recording(
        source_uri=location.uri,
        kind="object",
        url=url_bytes(location),
        num_bytes=info.get("size"),
        modified_us=modified(info),
        content_version=content_version(info),
        error_code=code,
        error_message=message,
    )


def _path_trick(name: str) -> str | None:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name:
        return "The member's name points outside the archive."
    return None


def text_of(name: str) -> str:
    """A member's name as valid text: undecodable bytes as %XX."""
    return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in name)


def _zip_time(date_time: tuple[int, int, int, int, int, int]) -> int | None:
    try:
        return calendar.timegm((*date_time, 0, 0, 0)) * 1_000_000
    except (ValueError, OverflowError):
        return None
