"""Any CSV or Parquet table of labelled clips, on a scale its user declares."""

import difflib
import json
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from emosphere.clips.acted_table import acted_rows
from emosphere.clips.manifest import MANIFEST, absolute_uri
from emosphere.clips.rows import CENTRED, Corpus, Row, Scale, read_csv, transcript_of, uri_for
from emosphere.errors import UsageError
from emosphere.store import Location
from emosphere.vad import VAD_DIMS

LABEL_ROLES: Final = (*VAD_DIMS, "category", "categories")
"""Roles of which a table must have one."""
ROLES: Final = tuple(column.name for column in MANIFEST if column.name != "duration_ms")
"""Columns of the manifest that a table may give; the length is read from the audio."""


def read_table(
    source: Location,
    *,
    scale: Scale | None = None,
    columns: Mapping[str, str] | None = None,
    corpus: str | None = None,
    split: str | None = None,
    audio: Location | None = None,
) -> Corpus:
    """Rows of a table whose ratings lie on ``scale``; its kind follows from its ending, ``.csv`` or ``.parquet``.

    A table without ratings, of categories or label sets (JSON lists, or lists in Parquet) alone, has no scale.
    Columns are known by the manifest's names (``path`` does for ``uri``) or by ``columns``, role -> name in the table.
    ``corpus`` and ``split`` hold for every row where no column gives them. Paths count from ``audio``, else from the
    table's folder or the one above. A speaker's key gets the corpus in front, unless it is there already. Raises
    UsageError for an undeclared scale, one without ratings, and for columns that are missing or unknown.
    """
    table = _parquet(source) if source.path.endswith(".parquet") else read_csv(source)
    existing = list(table[0])
    name_of = _names(existing, dict(columns or {}), source)
    _check_labels(source, existing, name_of, scale)
    for role, value in (("corpus", corpus), ("split", split)):
        if role in name_of and value:
            raise UsageError(
                f"{source.uri}: has a column for {role} ({name_of[role]}), and --{role} {value} was given."
            )
        if role not in name_of and not value:
            raise UsageError(f"{source.uri}: no column says the {role}; name it by --columns {role}=NAME or --{role}.")
    for role in ("uri", "speaker"):
        if role not in name_of:
            raise UsageError(f"{source.uri}: no column says the {role}; name it by --columns {role}=NAME.")
    rows = []
    for number, given in enumerate(table):
        row = {role: given[name] for role, name in name_of.items()}
        row = {"corpus": corpus, "split": split} | row
        rows.append(_row(row, f"{source.uri} row {number}", source, audio))
    unused = [name for name in existing if name not in name_of.values()]
    notes = [f"{source.uri}: columns not used: {', '.join(unused)}."] if unused else []
    return Corpus(rows=rows, scales=dict.fromkeys(VAD_DIMS, scale) if scale else {}, notes=notes)


def read_words(source: Location) -> Corpus:
    """Rows of a CSV table of acted emotion words, see :func:`emosphere.clips.acted_table.acted_rows`."""
    try:
        content = source.read_bytes()
    except OSError as error:
        raise UsageError(f"{source.uri}: cannot be read as a CSV table ({error}).") from error
    rows = [
        row | {"uri": absolute_uri(row["uri"], source), "where": f"{source.uri} row {number} ({row['uri']})"}
        for number, row in enumerate(acted_rows(content, source.uri))
    ]
    return Corpus(rows=rows, scales=dict.fromkeys(VAD_DIMS, CENTRED))


def parse_columns(text: str | None, roles: tuple[str, ...] = ROLES) -> dict[str, str]:
    """Mapping of a ``ROLE=NAME,ROLE=NAME`` text. Raises UsageError with the nearest role that exists.

    >>> parse_columns("valence=EmoVal,uri=FileName")
    {'valence': 'EmoVal', 'uri': 'FileName'}
    """
    columns: dict[str, str] = {}
    for part in text.split(",") if text else []:
        role, equals, name = (word.strip() for word in part.partition("="))
        if not equals or not name or role in columns:
            raise UsageError(f"--columns {text!r}: {part!r} is not ROLE=NAME, each role once, as in valence=EmoVal.")
        if role not in roles:
            near = difflib.get_close_matches(role, roles, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(roles)}."
            raise UsageError(f"--columns: {role!r} is not a column of the manifest; {hint}")
        columns[role] = name
    return columns


def _names(existing: list[str], columns: dict[str, str], source: Location) -> dict[str, str]:
    absent = [f"{role}={name}" for role, name in columns.items() if name not in existing]
    if absent:
        raise UsageError(f"{source.uri}: --columns names {', '.join(absent)}; the table has {', '.join(existing)}.")
    names = {role: role for role in ROLES if role in existing} | columns
    if "path" in existing and "path" not in names.values():
        if "uri" in names and "uri" not in columns:
            raise UsageError(f"{source.uri}: has both a uri and a path; say which by --columns uri=NAME.")
        names.setdefault("uri", "path")
    return names


def _check_labels(source: Location, existing: list[str], name_of: Mapping[str, str], scale: Scale | None) -> None:
    """Raise UsageError unless there are ratings on a scale, or categories and no scale."""
    found = "Found " + ", ".join(existing) + "."
    if not any(role in name_of for role in LABEL_ROLES):
        raise UsageError(
            f"{source.uri}: has none of the columns {', '.join(LABEL_ROLES)}; name them by --columns valence=NAME,..., "
            f"or say --words if only emotion words were acted. {found}"
        )
    rated = any(dim in name_of for dim in VAD_DIMS)
    if rated and scale is None:
        raise UsageError(
            f"{source.uri}: on which scale are its labels? Declare it by --scale LOW..HIGH, as in 1..7 or -1..1."
        )
    if scale is not None and not rated:
        raise UsageError(
            f"{source.uri}: --scale {scale} was given, but it has none of the columns {', '.join(VAD_DIMS)}; name them "
            f"by --columns valence=NAME,..., or leave out --scale if it has categories only. {found}"
        )


def _parquet(source: Location) -> list[dict[str, Any]]:
    try:
        table = pq.read_table(pa.BufferReader(source.read_bytes()))
    except (OSError, pa.ArrowInvalid) as error:
        raise UsageError(f"{source.uri}: cannot be read as a Parquet table ({error}).") from error
    if not table.num_rows:
        raise UsageError(f"{source.uri}: holds no row.")
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _row(row: Row, place: str, source: Location, audio: Location | None) -> Row:
    uri, place = str(row["uri"] or ""), f"{place} ({row['uri']})"
    for role in ("uri", "speaker", "split", "corpus"):
        if row[role] is None or not str(row[role]).strip():
            raise UsageError(f"{place}: {role} is empty.")
    corpus, speaker = str(row["corpus"]), str(row["speaker"])
    try:
        transcript = transcript_of(row.get("transcript"))
    except ValueError as error:
        raise UsageError(f"{place}: transcript is {error}.") from None
    if audio is not None and "://" not in uri and not uri.startswith("/"):
        uri = uri_for(audio.child(uri))
    return row | {
        "uri": absolute_uri(uri, source),
        "start_ms": _whole_number(row.get("start_ms"), "start_ms", place) or 0,
        "end_ms": _whole_number(row.get("end_ms"), "end_ms", place),
        "channel": _whole_number(row.get("channel"), "channel", place),
        "weak": _boolean(row.get("weak"), place),
        "speaker": speaker if speaker.startswith(f"{corpus}_") else f"{corpus}_{speaker}",
        "split": str(row["split"]),
        "corpus": corpus,
        **{role: _text(row.get(role)) for role in ("category", "intensity", "gender", "ratings")},
        "transcript": transcript,
        "categories": _json_list(row.get("categories")),
        "where": place,
    }


def _text(value: Any) -> str | None:
    return str(value).strip() or None if value is not None else None


def _json_list(value: Any) -> str | None:
    """Of a CSV cell as it is, of a list in Parquet as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else _text(value)


def _whole_number(value: Any, role: str, place: str) -> int | None:
    if value is None or not str(value).strip():
        return None
    try:
        number = float(value)
        if not number.is_integer() or number < 0:
            raise ValueError
    except (TypeError, ValueError):
        raise UsageError(f"{place}: {role} is {value!r}, wanted a whole number from 0 on.") from None
    return int(number)


def _boolean(value: Any, place: str) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False, "": False, "none": False}
    try:
        return words[str(value).strip().lower()]
    except KeyError:
        raise UsageError(f"{place}: weak is {value!r}, wanted true or false.") from None
