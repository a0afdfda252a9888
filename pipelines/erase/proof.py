"""The proof of an erasure: a search of every byte and every value below OUT."""

import io
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from emosphere.store import ABSENT, Location
from pipelines.erase.target import Matches, labelled_speaker
from pipelines.output.forgotten import FILE
from pipelines.output.ledger import HOME


def remains(out: Location, matches: Matches, speaker: str | None) -> Iterator[str]:
    """Files below OUT that hold an id, a URI or a name of the target: in their bytes, or in any value of a table."""
    for path in out.files():
        if path == out.child(HOME, FILE).path:  # the memory itself; it names nobody
            continue
        try:
            data = Location(out.fs, path).read_bytes()
        except ABSENT:  # another command's probe, say
            continue
        words = (path, data.decode("latin-1"), data.decode("utf-8", "ignore"))
        if any(map(matches.are_named_in, words)) or (path.endswith(".parquet") and _holds(data, matches, speaker)):
            yield path


def _holds(data: bytes, matches: Matches, speaker: str | None) -> bool:
    table = pq.ParquetFile(io.BytesIO(data))
    for group in range(table.num_row_groups):
        for name, column in zip(table.schema_arrow.names, table.read_row_group(group).columns, strict=True):
            for text in _texts(column.to_pylist() if pa.types.is_nested(column.type) else column.unique().to_pylist()):
                if matches.are_named_in(text):
                    return True
                if speaker and ((name == "speaker" and text == speaker) or _speaker_of(name, text) == speaker):
                    return True
    return False


def _speaker_of(column: str, text: str) -> str | None:
    return labelled_speaker(text) if column == "attributes" else None


def _texts(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, bytes):
            yield value.decode("utf-8", "replace")
        elif isinstance(value, dict):
            yield from _texts(value.values())
        elif isinstance(value, Collection):
            yield from _texts(value)
