"""What another version of emosphere wrote, with other columns, is refused in words: no file and no OUT mixes both."""

from collections.abc import Iterable
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from emosphere.errors import MachineError, UsageError
from emosphere.store import ABSENT, Location, explained
from emosphere.tables.schema import TABLES, arrow_schema

NEW_OUT: Final = "Score into a new OUT."


def check_columns(file: Location, found: pa.Schema, wanted: pa.Schema, advice: str) -> None:
    """Raise UsageError, with ``advice``, unless a file has the columns of ``wanted``: the same names and types.

    Their order may differ, and whether they may be null.
    """
    there, here = _types(found), _types(wanted)
    missing = [name for name in here if name not in there]
    foreign = [name for name in there if name not in here]
    differences = [f"it lacks {', '.join(missing)}"] if missing else []
    differences += [f"it has {', '.join(foreign)}, unknown here"] if foreign else []
    differences += [
        f"its {name} is {there[name]}, here {kind}" for name, kind in here.items() if there.get(name, kind) != kind
    ]
    if differences:
        raise UsageError(f"{file.uri}: another version of emosphere wrote it: {'; '.join(differences)}. {advice}")


def check_files(files: Iterable[Location], wanted: pa.Schema, advice: str) -> None:
    """:func:`check_columns` of Parquet files by their footers. Raises MachineError where one cannot be read."""
    for file in files:
        try:
            with explained(f"read {file.uri}", absence=False), file.fs.open(file.path, "rb") as opened:
                found = pq.read_schema(opened)
        except ABSENT:  # whoever holds the lease has ended its run meanwhile
            continue
        except pa.ArrowInvalid as error:
            raise MachineError(f"{file.uri}: no Parquet file that can be read ({error}).") from error
        check_columns(file, found, wanted, advice)


def check_published(out: Location) -> None:
    """Raise UsageError where tables of OUT have other columns than this version writes; OUT may have no tables yet.

    Looks at the first and the last file of each table and model, by dt; of ``runs``, by start. Every footer of years of
    nights would cost two requests each. Columns change with the version, and nights follow each other: where versions
    took turns, ends differ. What stands between is looked at when it is read, before anything is scored
    (``recordings`` of this model), or at the latest before it is replaced.
    """
    for table in TABLES:
        folders: dict[str, list[str]] = {}
        for path in out.child(table).files():
            folder, name = path.split("/")[-2:]
            is_published = table == "runs" or (folder.startswith("model=") and name.startswith("part-"))
            if is_published and name.endswith(".parquet") and not name.startswith("."):
                folders.setdefault(folder, []).append(path)
        for paths in folders.values():
            ends = dict.fromkeys((paths[0], paths[-1]))
            check_files((Location(out.fs, path) for path in ends), arrow_schema(table), NEW_OUT)


def _types(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Type of each column; of a list of records, of each of their fields, as in ``segments.valence``."""
    types: dict[str, pa.DataType] = {}
    for field in schema:
        record = field.type.value_type if pa.types.is_list(field.type) else None
        if record is not None and pa.types.is_struct(record):
            types |= {f"{field.name}.{inner.name}": inner.type for inner in record}
        else:
            types[field.name] = field.type
    return types
