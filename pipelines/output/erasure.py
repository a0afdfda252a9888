"""Take recordings out of every table and file below OUT: a marker names them, so that it can be done again."""

import json
import uuid
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emosphere.store import Location, explained
from pipelines.output.ledger import ERASING, Ledger, json_bytes, parquet_bytes, parquet_files, read_parquet
from pipelines.output.offers import PROBE
from pipelines.output.snapshot import VERSIONS, change_snapshot, read_snapshot, replace_published, version_of
from pipelines.output.writer import Writer


def begin_erasing(ledger: Ledger, ids: frozenset[str]) -> None:
    """Note what is to go: whoever comes next, with whatever command, first brings that to its end."""
    name = f"{ERASING}/{ledger.writing.number}.json"
    ledger.writing.create(ledger.home.child(name), json_bytes(sorted(ids)))
    ledger.change(lambda state: replace(state, erasing=name))


def finish_erasing(writer: Writer) -> None:
    """Do, or do again, the erasure that the state names; nothing where there is none.

    Published ``recordings`` go before ``segments``: no reader finds a scored recording without its segments.
    """
    if writer.ledger.state().erasing is None:
        return
    ledger = writer.open()
    name = ledger.state().erasing
    if name is None:
        return
    ids = json.loads(ledger.home.child(name).read_bytes())
    # Before all files are listed: a part that a sleeper stages only now is not among those that were looked through.
    staged = {run_id: ledger.staged_parts(run_id) for run_id in ledger.state().run_ids}
    if ids:
        _erase(ledger, pa.array(ids, pa.string()))
    for run_id, files in staged.items():
        ledger.note_seen(run_id, files.values())
    ledger.change(lambda state: replace(state, erasing=None, erased=ledger.writing.number))
    ledger.writing.remove(ledger.home.child(name))


def _erase(ledger: Ledger, ids: pa.Array) -> None:
    """Take recordings out of the tables, the snapshot, and all that is kept of runs."""
    replaced: dict[str, str] = {}
    for table in ("recordings", "segments"):
        for location in parquet_files(ledger.out.child(table)):
            path = location.path.removeprefix(ledger.out.path.rstrip("/") + "/")
            version = replace_published(ledger, path, _version_label(), partial(_rows_without, ids=ids))
            if version is not None:
                replaced[path] = version
    if read_snapshot(ledger.out) is not None:
        change_snapshot(ledger, lambda snapshot: _snapshot_without(ledger, snapshot, ids, replaced))
    snapshot = read_snapshot(ledger.out) or {"files": {}}
    pointed = {ledger.out.child(kept).path for kept in snapshot["files"].values()}
    for path in ledger.out.files():
        if is_below(ledger.lease, path):  # names nobody, and our own heartbeat writes there
            continue
        location = Location(ledger.out.fs, path)
        file_name = path.rpartition("/")[2]
        is_version = is_below(ledger.out.child(VERSIONS), path)
        # A version that nobody points to; what a writer left that was killed, unless another is just probing.
        is_left = file_name.startswith(".") and file_name.endswith(".tmp") and f"/{PROBE}" not in path
        if (is_version and path not in pointed) or is_left:
            ledger.writing.remove(location)
        elif is_below(ledger.home, path) and not is_version and file_name.endswith(".parquet"):
            _blank(ledger, location, ids)


def _version_label() -> str:
    return f"erased-{uuid.uuid4().hex[:12]}"


def _snapshot_without(
    ledger: Ledger, snapshot: dict[str, Any], ids: pa.Array, replaced: dict[str, str]
) -> dict[str, Any]:
    """The snapshot with versions that are all free of ``ids``: those just ``replaced``, and copies of published files
    where one is not. Nobody may go back to what was before.
    """
    files = snapshot["files"] | replaced
    for path, version in snapshot["files"].items():
        # Died after the last file and before this: the versions that are pointed to may hold what the files do not.
        if path not in replaced and _rows_without(ledger.out.child(version), ids) is not None:
            files[path] = version_of(ledger, path, _version_label())
            ledger.writing.create(ledger.out.child(files[path]), ledger.out.child(path).read_bytes())
    return snapshot | {"files": files, "previous": {}}


def _rows_without(location: Location, ids: pa.Array) -> pa.Table | None:
    """The table without the rows of ``ids``; None if it has none of them.

    Columns, schema and file metadata stay as they are: what another version of emosphere wrote can be erased too.
    """
    there = read_parquet(location, columns=["recording_id"])
    if not there.num_columns or not pc.any(pc.is_in(there.column("recording_id"), value_set=ids)).as_py():
        return None
    table = read_parquet(location)
    return table.filter(pc.invert(pc.is_in(table.column("recording_id"), value_set=ids)))


def _blank(ledger: Ledger, location: Location, ids: pa.Array) -> None:
    """Take recordings out of a part of a plan or of its staged results.

    Their units stay, empty: a run counts its units, and finds each of them once.
    """
    with explained(f"read {location.uri}"), location.fs.open(location.path, "rb") as file:
        names = pq.read_schema(file).names
    if "recording_id" not in names:
        return
    kept = _rows_without(location, ids)
    if kept is None:
        return
    if "unit_id" in names:
        table = read_parquet(location)
        gone = table.filter(pc.is_in(table.column("recording_id"), value_set=ids))
        kept_names = [name for name in ("unit_id", "unit_index", "num_units", "attempts") if name in names]
        numbers = gone.select(kept_names).to_pylist()
        empty = {"recording_id": "", "source_uri": "", "content_version": "", "kind": "object", "url": b""}
        empty |= {"error_code": "REFUSED", "error_message": "Erased."}
        blanks = [row | {name: value for name, value in empty.items() if name in names} for row in numbers]
        kept = pa.concat_tables([kept, pa.Table.from_pylist(blanks, schema=kept.schema)]).sort_by("unit_id")
    ledger.writing.write(location, parquet_bytes(kept))


def is_below(folder: Location, path: str) -> bool:
    """Whether a key lies in a folder."""
    return path.startswith(folder.path + "/")
