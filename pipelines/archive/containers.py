"""Archive files and tables as one recording after another comes out of them."""

import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import pyarrow.parquet as pq

from emosphere.errors import BadRecording
from emosphere.store import Location
from pipelines.archive.members import tar_version, text_of
from pipelines.archive.recording import Changed, Recording, check_version, content_version, url_bytes


@contextmanager
def plain_tar_member(recording: Recording, location: Location) -> Iterator[IO[bytes]]:
    with location.fs.open(location.path, "rb") as source:
        # The name in front of the data tells whether the tar was written anew since it was listed.
        source.seek(recording.offset - tarfile.BLOCKSIZE)
        block = source.read(tarfile.BLOCKSIZE)
        raw, member = block[:100].rstrip(b"\0"), recording.member or ""
        # This header holds the name's end, or its beginning, or ? for what is not ASCII; the whole stands further in
        # front.
        spellings = {member.encode(), member.encode("ascii", "replace")}
        if not any(raw in one for one in spellings) and text_of(raw.decode("utf-8", "surrogateescape")) not in member:
            raise KeyError(member)
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        # Extended headers, further in front, may hold larger sizes and finer times than this one.
        if recording.content_version and abs(header.mtime - (recording.modified_us or header.mtime * 1e6) / 1e6) >= 1:
            raise Changed
        yield _Bounded(source, recording.num_bytes or 0)  # type: ignore[misc]


class Zip:
    """A zip kept open."""

    def __init__(self, location: Location) -> None:
        self.url = url_bytes(location)
        self._file = location.fs.open(location.path, "rb")
        try:
            self.archive = zipfile.ZipFile(self._file)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self.archive.close()
        self._file.close()


class CompressedTar:
    """A compressed tar read front to back: members asked for in the order of the archive cost one pass in all."""

    def __init__(self, location: Location) -> None:
        self.url = url_bytes(location)
        self._location = location
        self._file: Any = None
        self._rewind()

    def extract(self, recording: Recording) -> IO[bytes]:
        """The member's data, valid until the next call. Raises KeyError if it is not there."""
        member = recording.member
        for rewound in (False, True):
            for info in self._members:
                self._archive.members.clear()  # tarfile would keep them all
                if text_of(info.name) == member:
                    check_version(recording, tar_version(info))
                    found: IO[bytes] | None = self._archive.extractfile(info)
                    if found is not None:
                        return found
            if not rewound:
                self._rewind()
        raise KeyError(member)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _rewind(self) -> None:
        self.close()
        self._file = self._location.fs.open(self._location.path, "rb")
        self._archive = tarfile.open(fileobj=self._file, mode="r|gz")  # noqa: SIM115 - kept open over many members
        self._members = iter(self._archive)


class AudioTable:
    """A Parquet table with audio, of which the row group read last is kept: rows in order read each group once."""

    def __init__(self, location: Location) -> None:
        self.url = url_bytes(location)
        self.version = content_version(location.fs.info(location.path))
        self._file = location.fs.open(location.path, "rb")
        self._table = pq.ParquetFile(self._file)
        self._group: tuple[int, str, Any] | None = None

    def cell(self, column: str, row: int) -> bytes:
        """Bytes of one cell. Raises KeyError if the table has no such row, BadRecording if the cell is empty."""
        for group in range(self._table.num_row_groups):
            num_rows = self._table.metadata.row_group(group).num_rows
            if row < num_rows:
                if self._group is None or self._group[:2] != (group, column):
                    self._group = (group, column, self._table.read_row_group(group, columns=[column]).column(column))
                value = self._group[2][row].as_py()
                data: bytes | None = value.get("bytes") if isinstance(value, dict) else value
                if not data:
                    raise BadRecording("EMPTY", "The cell holds no bytes.")
                return data
            row -= num_rows
        raise KeyError(row)

    def close(self) -> None:
        self._file.close()


class _Bounded:
    """A stretch of a file as a file."""

    def __init__(self, source: IO[bytes], num_bytes: int) -> None:
        self._source, self._left = source, num_bytes

    def read(self, size: int) -> bytes:
        data = self._source.read(min(size, self._left))
        self._left -= len(data)
        return data
