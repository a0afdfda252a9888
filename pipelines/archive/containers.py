"""Archive files and tables, kept open while one recording after another comes out of them."""

import io
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from emosphere.errors import BadRecording
from emosphere.store import Location
from pipelines.archive.members import SMALL_BOMB, Tar, tar_version, text_of, zip_version
from pipelines.archive.recording import Changed, Recording, check_version, content_version
from pipelines.archive.tables import PAGES_BYTES

RANGE_BYTES = 8 << 20
"""Most bytes of a member that are asked for at once: a store answers late, not slowly."""
ZIP_BLOCK_BYTES = 4 << 20
"""Bytes read ahead in a zip, of which members are usually read one after the other."""
LARGEST_VALUE = 1 << 30
"""Bytes; a larger value of a table, which has to lie in memory, is REFUSED."""
VALUES_AT_ONCE, VALUES_BYTES = 16, 64 << 20
"""Values of a table in memory at once, and about their bytes."""


class Readable(Protocol):
    """What is left of a recording's bytes."""

    def read(self, size: int, /) -> bytes: ...


class PlainTar:
    """A tar of which every member is asked for by its byte range."""

    num_entries = 1

    def __init__(self, location: Location) -> None:
        # Nothing is read ahead: the usual 50 MB, for each of a hundred thousand members, would be terabytes.
        self._file = location.fs.open(location.path, "rb", cache_type="none")

    def open(self, recording: Recording, max_unpack_ratio: float) -> AbstractContextManager[Readable]:
        """The member's data. Raises KeyError if another member lies there, Changed for another version of it."""
        offset, num_bytes = recording.offset or 0, recording.num_bytes or 0
        self._file.seek(offset - tarfile.BLOCKSIZE)
        begin = self._file.read(tarfile.BLOCKSIZE + min(num_bytes, RANGE_BYTES))
        _check_header(begin[: tarfile.BLOCKSIZE], recording)
        return nullcontext(_Stretch(self._file, begin[tarfile.BLOCKSIZE :], num_bytes))

    def close(self) -> None:
        self._file.close()


class Zip:
    """A zip whose directory is read once, not once for each of a hundred thousand members."""

    def __init__(self, location: Location) -> None:
        self._file = location.fs.open(location.path, "rb", block_size=ZIP_BLOCK_BYTES)
        try:
            self._archive = zipfile.ZipFile(self._file)
        except BaseException:
            self._file.close()
            raise
        self.num_entries = len(self._archive.filelist)

    @contextmanager
    def open(self, recording: Recording, max_unpack_ratio: float) -> Iterator[Readable]:
        """The member's data. Raises KeyError if it is not there, BadRecording for a bomb."""
        member = self._archive.getinfo(recording.member or "")
        check_version(recording, zip_version(member))
        _refuse_bomb(member.file_size, member.compress_size, max_unpack_ratio, "a zip bomb")
        with self._archive.open(member) as source:
            yield source

    def close(self) -> None:
        self._archive.close()
        self._file.close()


class CompressedTar:
    """A compressed tar read front to back: members asked for in the order of the archive cost one pass in all."""

    num_entries = 1

    def __init__(self, location: Location) -> None:
        self._location = location
        self._file: Any = None
        self._rewind()

    def open(self, recording: Recording, max_unpack_ratio: float) -> AbstractContextManager[Readable]:
        """The member's data, valid until the next call. Raises KeyError if it is not there."""
        member = recording.member
        for rewound in (False, True):
            for info in self._members:
                self._archive.members.clear()
                if text_of(info.name) == member:
                    check_version(recording, tar_version(info))
                    data: IO[bytes] | None = self._archive.extractfile(info)
                    if data is not None:
                        return nullcontext(data)
            if not rewound:
                self._rewind()
        raise KeyError(member)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _rewind(self) -> None:
        self.close()
        self._file = self._location.fs.open(self._location.path, "rb")
        self._archive = Tar.open(fileobj=self._file, mode="r|gz")
        self._members = iter(self._archive)


class AudioTable:
    """A Parquet table with audio. Rows in order read each row group once; in memory are a few values and one page,
    which its writer chose (Parquet allows 2 GiB).
    """

    num_entries = 1

    def __init__(self, location: Location) -> None:
        self._version = content_version(location.fs.info(location.path))
        self._file = location.fs.open(location.path, "rb", block_size=PAGES_BYTES)
        self._table = pq.ParquetFile(self._file, buffer_size=PAGES_BYTES, pre_buffer=False)
        self._where: tuple[int, str] | None = None
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._values: list[Any] = []
        self._first = self._stop = 0

    def open(self, recording: Recording, max_unpack_ratio: float) -> AbstractContextManager[Readable]:
        """Bytes of one value. Raises KeyError if the table has no such row, BadRecording for an empty or huge one."""
        check_version(recording, self._version)
        column, row = recording.member or "", recording.offset or 0
        for group in range(self._table.num_row_groups):
            num_rows = self._table.metadata.row_group(group).num_rows
            if row < num_rows:
                return nullcontext(io.BytesIO(self._value(group, column, row, max_unpack_ratio)))
            row -= num_rows
        raise KeyError(row)

    def close(self) -> None:
        self._file.close()

    def _value(self, group: int, column: str, row: int, max_unpack_ratio: float) -> bytes:
        if self._where != (group, column) or row < self._first:
            self._begin(group, column, max_unpack_ratio)
        while row >= self._stop:
            batch = next(self._batches, None)
            if batch is None:
                raise EOFError("the row group ends before its last row")
            self._first, self._stop = self._stop, self._stop + len(batch)
            self._values = batch.column(0)
        value = self._values[row - self._first].as_py()
        data: bytes | None = value.get("bytes") if isinstance(value, dict) else value
        if not data:
            raise BadRecording("EMPTY", "The cell holds no bytes.")
        return data

    def _begin(self, group: int, column: str, max_unpack_ratio: float) -> None:
        self._where = None
        is_struct = pa.types.is_struct(self._table.schema_arrow.field(column).type)
        leaf = f"{column}.bytes" if is_struct else column
        facts = self._table.metadata.row_group(group)
        chunks = [facts.column(number) for number in range(facts.num_columns)]
        chunk = {chunk.path_in_schema: chunk for chunk in chunks}[leaf]
        usual = chunk.total_uncompressed_size // max(facts.num_rows, 1)
        if usual > LARGEST_VALUE:
            raise BadRecording("REFUSED", f"Cells of {usual} bytes are more than the limit of {LARGEST_VALUE}.")
        _refuse_bomb(chunk.total_uncompressed_size, chunk.total_compressed_size, max_unpack_ratio, "a bomb")
        at_once = max(1, min(VALUES_AT_ONCE, VALUES_BYTES // max(usual, 1)))
        self._batches = self._table.iter_batches(at_once, row_groups=[group], columns=[leaf], use_threads=False)
        self._where, self._values, self._first, self._stop = (group, column), [], 0, 0


Container = PlainTar | Zip | CompressedTar | AudioTable


def container_of(recording: Recording) -> type[PlainTar] | type[Zip] | type[CompressedTar] | type[AudioTable]:
    """What has to be opened for a recording that is no object of its own."""
    if recording.kind == "zip":
        return Zip
    if recording.kind == "cell":
        return AudioTable
    return CompressedTar if recording.offset is None else PlainTar


class _Stretch:
    """What is left of ``num_bytes`` from where ``source`` stands, behind the bytes already read."""

    def __init__(self, source: IO[bytes], begin: bytes, num_bytes: int) -> None:
        self._source, self._held, self._left = source, memoryview(begin), num_bytes - len(begin)

    def read(self, size: int, /) -> bytes:
        if not self._held and self._left > 0:
            self._held = memoryview(self._source.read(min(self._left, RANGE_BYTES)))
            self._left -= len(self._held)
        piece, self._held = self._held[:size], self._held[size:]
        return bytes(piece)


def _check_header(block: bytes, recording: Recording) -> None:
    """The name in front of the data tells whether the tar was written anew since it was listed."""
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


def _refuse_bomb(num_bytes: int, packed_bytes: int, max_unpack_ratio: float, what: str) -> None:
    ratio = num_bytes / max(packed_bytes, 1)
    if ratio > max_unpack_ratio and num_bytes > SMALL_BOMB:
        raise BadRecording("REFUSED", f"It unpacks {ratio:.0f}-fold: taken for {what}.")
