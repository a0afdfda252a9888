"""What every reader hands over: rows on the corpus's own scale, what it left out, and what is worth knowing."""

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from emosphere.errors import UsageError
from emosphere.geometry.scale import centre
from emosphere.store import Location

Row = dict[str, Any]
"""Columns of the manifest, the labels as they were given, and ``where``: the row's place in the source, for messages.
"""


PLACE: Final = ("uri", "start_ms", "end_ms", "channel")
"""What makes a row's clip this one and no other."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The two ends of a rating scale."""

    low: float
    high: float

    def centred(self, rating: float) -> float:
        """Rating -> [-1, 1]. What is centred already is handed back bit for bit."""
        if (self.low, self.high) == (-1, 1):
            return rating
        return centre(float(rating), low=float(self.low), high=float(self.high))

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


CENTRED: Final = Scale(-1, 1)


@dataclass(frozen=True, slots=True)
class DroppedClip:
    """A clip that is not in the manifest, and why."""

    uri: str
    reason: str
    """One word, to count by."""
    detail: str
    where: str


@dataclass(kw_only=True, slots=True)
class Corpus:
    """One or more corpora as read: labels on their own scale, nothing checked."""

    rows: list[Row]
    scales: Mapping[str, Scale]
    """Scale of each rated dimension."""
    dropped: list[DroppedClip] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Sentences about what was found that its user should know."""


def parse_scale(text: str) -> Scale:
    """Scale of a ``LOW..HIGH`` text. Raises UsageError.

    >>> parse_scale("1..7")
    Scale(low=1.0, high=7.0)
    """
    number = r"([+-]?\d+(?:\.\d+)?)"
    match = re.fullmatch(rf"\s*{number}\s*\.\.\s*{number}\s*", text)
    if not match or not float(match[1]) < float(match[2]):
        raise UsageError(f"--scale {text!r} is not LOW..HIGH, the ends of the rating scale, as in 1..7, 0..1 or -1..1.")
    return Scale(float(match[1]), float(match[2]))


def read_csv(location: Location, *, needs: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """All rows of :func:`csv_rows`. Raises UsageError also when there is none."""
    rows = list(csv_rows(location, needs=needs))
    if not rows:
        raise UsageError(f"{location.uri}: holds no row.")
    return rows


def csv_rows(location: Location, *, needs: tuple[str, ...] = ()) -> Iterator[dict[str, str]]:
    """Rows of a CSV file with a header, one by one. Raises UsageError when it is absent, ragged or lacks a column."""
    try:
        content = location.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{location.uri}: there is no such file.") from None
    except OSError as error:
        raise UsageError(f"{location.uri}: cannot be read as a CSV table ({error}).") from error
    yield from parse_csv(content, location.uri, needs=needs)


def parse_csv(
    content: bytes, source: str, *, needs: tuple[str, ...] = (), advice: str = ""
) -> Iterator[dict[str, str]]:
    """Rows of a CSV table with a header, in UTF-8; ``source`` is what a message calls it. See :func:`csv_rows`.

    ``advice`` says what to do where it lacks a column.
    """
    number = -1
    try:
        # Spreadsheets write a byte order mark, which would become part of the first column's name.
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        missing = [name for name in needs if name not in (reader.fieldnames or ())]
        if missing:
            header = ", ".join(reader.fieldnames or ()) or "no header"
            raise UsageError(f"{source}: lacks the columns {', '.join(missing)}; found {header}.{advice}")
        for number, row in enumerate(reader):
            if None in row or None in row.values():
                raise UsageError(f"{source}: row {number} has another number of cells than the header.")
            yield row
    except UnicodeDecodeError as error:
        raise UsageError(f"{source}: cannot be read as a CSV table ({error}).") from error
    except csv.Error as error:
        raise UsageError(f"{source}: row {number + 1} cannot be read as CSV ({error}).") from error


def read_text(location: Location) -> str | None:
    """UTF-8 text of a file, with the line ends of Unix and no byte order mark; None where there is no such file.

    Raises UsageError when it is not UTF-8.
    """
    try:
        content = location.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{location.uri}: is not UTF-8 text ({error}); convert the file, or take it away.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def uri_for(location: Location) -> str:
    """What a manifest calls this file: a plain path on a disk, else its URI."""
    return location.path if location.is_local else location.uri


def label_of(value: Any) -> float | None:
    """A label as a number, None where there is none. Raises ValueError that says what it is instead."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r}, which is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{value}, which is not finite")
    return number


def label_set_of(value: Any, category: str | None = None) -> tuple[str, ...]:
    """Words of a label set, given as a JSON list; none where nothing is given.

    Raises ValueError that says what it is instead, also where ``category``, if any, is not among its words.
    """
    if value is None or value == "":
        return ()
    try:
        words = json.loads(value)
    except (TypeError, ValueError, RecursionError):
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) and _is_word(word) for word in words):
        raise ValueError(f'{value!r:.80}, which is not a JSON list of words, as in ["anger", "fear"]')
    if not words or len(set(words)) < len(words):
        wrong = "names a word twice" if words else "holds no word: give nothing where there is no label set"
        raise ValueError(f"{value!r:.80}, which {wrong}")
    if category and category not in words:
        raise ValueError(
            f"{value!r:.80}, which lacks the clip's own category, {category!r}: add it, or give only one of the two"
        )
    return tuple(words)


def transcript_of(value: Any) -> str | None:
    """What is said, with single spaces for blanks and line ends; None where nothing is given.

    Raises ValueError that says what it is instead: text with control characters, such as UTF-16 read as UTF-8.
    """
    text = re.sub(r"[ \t\n\v\f\r]+", " ", "" if value is None else str(value)).strip(" ")
    if found := re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", text):
        raise ValueError(f"{text[:40]!r}, which holds the control character U+{ord(found[0]):04X}")
    return text or None


def _is_word(text: str) -> bool:
    return bool(text) and text == text.strip() and text.isprintable()
