"""Databases in audEERING's audformat: db.yaml with its tables; scales come from the database's own schemes."""

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from emosphere.clips.rows import Corpus, Row, Scale, transcript_of, uri_for
from emosphere.errors import UsageError
from emosphere.store import Location
from emosphere.vad import VAD_DIMS

NAMES: Final = {
    **{dim: (dim,) for dim in VAD_DIMS},
    "category": ("category", "emotion"),
    "intensity": ("intensity",),
    "speaker": ("speaker",),
    "gender": ("gender", "sex"),
    "split": ("split",),
    "transcript": ("transcription", "transcript", "text"),
}
"""Names by which a column is known when ``--columns`` does not name it."""

ROLES: Final = tuple(NAMES)

Key = tuple[str, int, int | None]
"""File, first millisecond, first millisecond after; None: to the end."""


def read_audformat(
    source: Location,
    *,
    scale: Scale | None = None,
    columns: Mapping[str, str] | None = None,
    tables: Sequence[str] = (),
    split: str | None = None,
) -> Corpus:
    """Rows of the database in folder ``source``: every clip that a table with valence, arousal or dominance names.

    Where no table has any of these, every clip that a table with categories names, and there is no scale.
    ``tables`` are the tables to look into, by default all. Category, speaker, gender and split may stand in another
    table, for the clip or for its whole file; the split may also be a table's own. What is said must stand there for
    the very clip, in a column ``transcription``, ``transcript`` or ``text``; where its scheme has texts for its labels,
    these are taken. The scale of a dimension is its scheme's minimum and maximum, or else ``scale``. Raises UsageError
    for an unknown scale, one without ratings, for tables that contradict each other, for what is missing, and when the
    package audformat is.
    """
    database = _load(source)
    unknown = [name for name in tables if name not in database.tables]
    if unknown:
        raise UsageError(f"{source.uri}: --tables names {', '.join(unknown)}; it has {', '.join(database.tables)}.")
    chosen = {name: database.tables[name] for name in (tables or database.tables)}
    name_of = _names(chosen, columns or {}, source)
    scales: dict[str, Scale] = {
        dim: _scale(database, chosen, name_of[dim], scale, source) for dim in VAD_DIMS if dim in name_of
    }
    if not scales and "category" not in name_of:
        raise UsageError(
            f"{source.uri}: no table has a column {', '.join(VAD_DIMS)} or category; name them by --columns "
            "valence=NAME,..."
        )
    if not scales and scale:
        raise UsageError(
            f"{source.uri}: --scale {scale} was given, but no table has a column {', '.join(VAD_DIMS)}; name them by "
            "--columns valence=NAME,..., or leave out --scale if it has categories only."
        )
    label_roles = VAD_DIMS if scales else ("category",)
    facts = _facts(database, chosen, name_of, label_roles, source)
    labelled = sorted({key for (role, key) in facts if role in label_roles}, key=_order)
    rows = [_row(key, facts, database.name, split, source) for key in labelled]
    return Corpus(rows=rows, scales=scales)


def _load(source: Location) -> Any:
    try:
        import audformat
    except ImportError as error:
        raise UsageError("audformat databases need an extra package: pip install 'emosphere[corpora]'.") from error
    with tempfile.TemporaryDirectory(prefix="emosphere-") as folder:
        # A copy of header and tables only: the audio stays where it is, and no pickled table is ever opened.
        if not _copy(source, "db.yaml", folder):
            raise UsageError(f"{source.uri}: holds no db.yaml; SOURCE is the folder of an audformat database.")
        for table in list(_parsed(audformat, folder, source, load_data=False)):
            if not (_copy(source, f"db.{table}.parquet", folder) or _copy(source, f"db.{table}.csv", folder)):
                raise UsageError(f"{source.uri}: db.yaml names the table {table}, but there is no db.{table}.csv.")
        return _parsed(audformat, folder, source, load_data=True)


def _parsed(audformat: Any, folder: str, source: Location, *, load_data: bool) -> Any:
    """The database in ``folder``, a copy of what ``source`` holds."""
    import yaml

    try:
        return audformat.Database.load(folder, load_data=load_data)
    # What yaml, pandas, pyarrow and audformat make of a broken file.
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RuntimeError) as error:
        raise UsageError(f"{source.uri}: cannot be read as an audformat database ({error}).") from error


def _copy(source: Location, name: str, folder: str) -> bool:
    try:
        Path(folder, name).write_bytes(source.child(name).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _names(tables: Mapping[str, Any], columns: Mapping[str, str], source: Location) -> dict[str, str]:
    existing = list(dict.fromkeys(name for table in tables.values() for name in table.columns))
    absent = [f"{role}={name}" for role, name in columns.items() if name not in existing]
    if absent:
        raise UsageError(f"{source.uri}: --columns names {', '.join(absent)}; the tables have {', '.join(existing)}.")
    names = dict(columns)
    for role, usual in NAMES.items():
        here = [name for name in usual if name in existing]
        if role not in names and len(here) > 1:
            raise UsageError(f"{source.uri}: {role} may be {' or '.join(here)}; say which by --columns {role}=NAME.")
        if role not in names and here:
            names[role] = here[0]
    return names


def _scale(database: Any, tables: Mapping[str, Any], name: str, declared: Scale | None, source: Location) -> Scale:
    scales = set()
    for table in tables.values():
        scheme = database.schemes.get(table.columns[name].scheme_id) if name in table.columns else None
        if scheme is not None and scheme.minimum is not None and scheme.maximum is not None:
            scales.add(Scale(float(scheme.minimum), float(scheme.maximum)))
    if declared is not None and scales - {declared}:
        raise UsageError(
            f"{source.uri}: --scale {declared}, but the database says {', '.join(map(str, scales))} ({name})."
        )
    if len(scales) > 1:
        raise UsageError(f"{source.uri}: the scales of {name} differ: {', '.join(map(str, scales))}; choose --tables.")
    if not scales and declared is None:
        raise UsageError(
            f"{source.uri}: the scheme of {name} has no minimum and maximum; declare its scale by --scale LOW..HIGH."
        )
    return declared or scales.pop()


def _facts(
    database: Any, tables: Mapping[str, Any], name_of: Mapping[str, str], label_roles: Sequence[str], source: Location
) -> dict[tuple[str, Key], Any]:
    """What the tables say of each clip, by (role, clip). Raises UsageError where two contradict each other."""
    facts: dict[tuple[str, Key], Any] = {}
    first_table: dict[tuple[str, Key], str] = {}
    for table_id, table in tables.items():
        for role, key, value in _facts_of_table(database, table, name_of, label_roles):
            if value is None or value != value:  # NaN, NaT, NA: not given
                continue
            known = facts.setdefault((role, key), value)
            first = first_table.setdefault((role, key), table_id)
            if known != value:
                raise UsageError(
                    f"{source.uri}: {key[0]} at {key[1]} ms: {role} is {known!r} in table {first} and {value!r} in "
                    f"table {table_id}; choose by --tables."
                )
    return facts


def _facts_of_table(
    database: Any, table: Any, name_of: Mapping[str, str], label_roles: Sequence[str]
) -> Iterator[tuple[str, Key, Any]]:
    """Role, clip and value of everything that one table says."""
    keys = [_key(entry) for entry in table.index]
    for role, name in name_of.items():
        if name in table.columns:
            values = table[name].get().astype(object)
            texts = _label_texts(database, table.columns[name]) if role == "transcript" else {}
            for key, value in zip(keys, values.where(values.notna(), None), strict=True):
                yield role, key, texts.get(value, value)
    if table.split_id and any(name_of.get(role) in table.columns for role in label_roles):
        split = database.splits[table.split_id].type
        for key in keys:
            yield "split", key, split
    if "gender" not in name_of and name_of.get("speaker") in table.columns:
        yield from _genders(database, table, keys, name_of["speaker"])


def _genders(database: Any, table: Any, keys: list[Key], speaker_column: str) -> Iterator[tuple[str, Key, Any]]:
    """Gender as a property of the speaker's scheme, where there is no column of its own."""
    people = _scheme_labels(database, table.columns[speaker_column])
    for key, speaker in zip(keys, table[speaker_column].get(), strict=True):
        person = people.get(speaker)
        if isinstance(person, dict):
            yield "gender", key, person.get("gender", person.get("sex"))


def _scheme_labels(database: Any, column: Any) -> dict[Any, Any]:
    """What the column's scheme says of each of its labels; empty where it only lists them, or has none."""
    labels = getattr(database.schemes.get(column.scheme_id), "labels", None)
    if isinstance(labels, str):  # the name of a table of its own
        entries = database[labels].get()
        labels = {label: dict(entries.loc[label]) for label in entries.index}
    return labels if isinstance(labels, dict) else {}


def _label_texts(database: Any, column: Any) -> dict[Any, Any]:
    """Text of each label of the column's scheme, as "a01" may stand for a sentence; None where it says no text."""
    texts = {}
    for label, meaning in _scheme_labels(database, column).items():
        fields = meaning if isinstance(meaning, dict) else {"text": meaning}
        texts[label] = next((fields[name] for name in NAMES["transcript"] if name in fields), None)
    return texts


def _key(entry: Any) -> Key:
    if isinstance(entry, str):
        return entry, 0, None
    file, start, end = entry
    end_ms = None if end != end else round(end.total_seconds() * 1000)
    return file, round(start.total_seconds() * 1000), end_ms


def _order(key: Key) -> tuple[str, int, float]:
    """By file, start and end; what lasts to the end of the file comes last."""
    file, start_ms, end_ms = key
    return file, start_ms, math.inf if end_ms is None else end_ms


def _row(key: Key, facts: Mapping[tuple[str, Key], Any], name: str, split: str | None, source: Location) -> Row:
    file, start_ms, end_ms = key
    where = f"{source.uri}: {file}" + (f" at {start_ms} ms" if start_ms or end_ms is not None else "")

    def fact(role: str) -> Any:
        """Of the clip, or else of its whole file."""
        return facts.get((role, key), facts.get((role, (file, 0, None))))

    own_split = fact("split")
    if own_split and split and own_split != split:
        raise UsageError(f"{where}: is in split {own_split}, and --split {split} was given.")
    for role, value, remedy in (
        ("speaker", fact("speaker"), "--columns speaker=NAME"),
        ("split", own_split or split, "--columns split=NAME, or --split for all"),
    ):
        if value is None:
            raise UsageError(f"{where}: no table says the {role}; name it by {remedy}.")
    try:
        # Of the very clip: what is said in all of a file is not what is said in a part of it.
        transcript = transcript_of(facts.get(("transcript", key)))
    except ValueError as error:
        raise UsageError(f"{where}: transcript is {error}.") from None
    return {
        "uri": file if file.startswith("/") or "://" in file else uri_for(source.child(file)),
        "start_ms": start_ms,
        "end_ms": end_ms,
        **{dim: facts.get((dim, key)) for dim in VAD_DIMS},
        "weak": False,
        "category": _text(fact("category")),
        "intensity": _text(fact("intensity")),
        "speaker": f"{name}_{fact('speaker')}",
        "gender": _text(fact("gender")),
        "split": str(own_split or split),
        "corpus": name,
        "transcript": transcript,
        "where": where,
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
