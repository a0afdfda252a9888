"""Members of zip and tar files: listed by their directory, without unpacking."""

import calendar
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from emosphere.errors import BadRecording
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
LINK = "The member is a link or a device, no file."
SMALL_BOMB = 64 << 20
"""Bytes that anything may unpack to without being taken for a bomb."""
HEADER_BLOCK_BYTES = 64 << 10
"""Bytes read ahead in a plain tar that is listed: from one header to the next, without the data of larger members."""
EXTENDED = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
"""Headers that say more about the next one."""
LONGEST_HEADER = 1 << 20
"""Bytes of such a header; a tar with a longer one is REFUSED."""
LONGEST_ENTRY = 1 << 10
"""Bytes in a zip's directory beyond which its entries hold something else than names, on average."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListLimits:
    """What an archive file may be, before any of it is unpacked."""

    max_members: int = 1_000_000
    """Most members of a zip or tar, or rows of a table with audio; one with more is REFUSED."""
    max_unpack_ratio: float = 1000.0
    """Most bytes a compressed tar may unpack to per packed byte; beyond it is taken for a bomb and REFUSED."""

    def __post_init__(self) -> None:
        if self.max_members < 1 or not self.max_unpack_ratio > 0:
            raise ValueError(
                f"max_members={self.max_members} and max_unpack_ratio={self.max_unpack_ratio} must both be above 0."
            )


class Header(tarfile.TarInfo):
    """A tar header, looked at before what it announces is read into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """As tarfile calls it for every header. Raises BadRecording."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in EXTENDED and header.size > LONGEST_HEADER:
            raise BadRecording("REFUSED", f"A header of a member claims {header.size} bytes: taken for a bomb.")
        return header


class Tar(tarfile.TarFile):
    """A tar whose headers are looked at first."""

    tarinfo = Header
    members: list[tarfile.TarInfo]
    """What was read of it so far. tarfile would keep them all: clear it while reading."""


LARGEST = 1 << 62
"""A size beyond this in a header is a lie, and would not fit into a column."""


def zip_members(location: Location, *, wanted: Callable[[str], bool], limits: ListLimits) -> Iterator[Recording]:
    """Recordings of a zip by its central directory. Raises one of BROKEN for a damaged one, BadRecording for one that
    claims too many members.
    """
    with location.fs.open(location.path, "rb") as file:
        _refuse_long_directory(file, limits)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    if len(members) > limits.max_members:
        raise too_many(limits)
    for member in members:
        if member.is_dir() or not wanted(member.filename):
            continue
        refusal = _path_trick(member.orig_filename) or _absurd_size(member.file_size)
        if refusal is None and member.flag_bits & 0x1:
            refusal = "The member is encrypted."
        if refusal is None and stat.S_ISLNK(member.external_attr >> 16):
            refusal = LINK
        yield Recording(
            source_uri=f"zip://{text_of(member.filename)}::{location.uri}",
            kind="zip",
            url=url_bytes(location),
            member=member.filename,
            num_bytes=min(member.file_size, LARGEST),
            modified_us=_zip_time(member.date_time),
            # The checksum follows the content: a zip written anew with the same recording leaves it as it was.
            content_version=zip_version(member),
            error_code="REFUSED" if refusal else None,
            error_message=refusal,
        )


def tar_members(
    location: Location, info: dict[str, Any], *, wanted: Callable[[str], bool], limits: ListLimits
) -> Iterator[Recording]:
    """Recordings of a tar; those of a plain tar with their byte range, so that each can be read alone.

    Raises one of BROKEN where it is damaged, BadRecording where it is a bomb or has too many members.
    """
    plain, num_members = _is_plain(location), 0
    most_bytes = limits.max_unpack_ratio * (info.get("size") or 0) + SMALL_BOMB
    with (
        location.fs.open(location.path, "rb", **({"block_size": HEADER_BLOCK_BYTES} if plain else {})) as file,
        Tar.open(fileobj=file, mode="r:" if plain else "r|gz") as archive,
    ):
        for member in archive:
            archive.members.clear()
            num_members += 1
            if num_members > limits.max_members:
                raise too_many(limits)
            if not plain and member.offset_data + member.size > most_bytes:  # told before it is unpacked
                raise BadRecording("REFUSED", "It unpacks to absurdly many bytes: taken for a bomb.")
            if member.isdir() or not wanted(member.name):
                continue
            refusal = _path_trick(member.name) or _absurd_size(member.size) or (None if member.isfile() else LINK)
            modified_us = _tar_time(member.mtime)
            yield Recording(
                source_uri=f"tar://{text_of(member.name)}::{location.uri}",
                kind="tar",
                url=url_bytes(location),
                member=text_of(member.name),
                offset=member.offset_data if plain else None,
                num_bytes=min(member.size, LARGEST),
                modified_us=modified_us,
                content_version=tar_version(member),
                error_code="REFUSED" if refusal else None,
                error_message=refusal,
            )


def zip_version(member: zipfile.ZipInfo) -> str:
    return f"{member.CRC:08x}-{member.file_size}"


def tar_version(member: tarfile.TarInfo) -> str:
    return f"{member.size}-{_tar_time(member.mtime)}"


def _refuse_long_directory(file: Any, limits: ListLimits) -> None:
    """Refuse a zip by its last record, before the directory is read into memory. Source: APPNOTE.TXT 4.3.16, 4.3.14."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - (1 << 16) - 22 - 20))
    tail = file.read()
    file.seek(0)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + 22:
        return  # no zip; zipfile says so
    count, directory_bytes = struct.unpack("<HI", tail[at + 10 : at + 16])
    if tail[at - 20 : at - 16] == b"PK\6\7":
        (where,) = struct.unpack("<Q", tail[at - 12 : at - 4])
        file.seek(min(where, end))
        record = file.read(56)
        file.seek(0)
        if len(record) == 56:
            count, directory_bytes = struct.unpack("<QQ", record[32:48])
    if count > limits.max_members or directory_bytes > limits.max_members * LONGEST_ENTRY:
        raise too_many(limits)


def too_many(limits: ListLimits) -> BadRecording:
    return BadRecording("REFUSED", f"It has more than {limits.max_members} members (max_members in [archive]).")


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
