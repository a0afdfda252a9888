"""Take recordings out of everything below OUT, for good."""

import contextlib
import json
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emosphere.errors import UsageError, Verdict
from emosphere.store import Location, explained, locate
from pipelines.cluster.scratch import sweep_scratch
from pipelines.erase.proof import remains
from pipelines.erase.target import Matches, Target, find_recordings
from pipelines.output.forgotten import FILE, remember
from pipelines.output.lease import Lease
from pipelines.output.ledger import HOME, Ledger, json_bytes, parquet_bytes, parquet_files, read_parquet
from pipelines.output.snapshot import VERSIONS, read_snapshot, replace_published, version_path

MARKER = "erasing.json"
"""Ids that are being erased: whoever comes next, with whatever command, first brings that to its end."""
ERASED = "erased"
"""What stands in place of a name in what is kept of a run."""


class Remains(Verdict):
    """Something of what was erased is still there; ``result`` says where."""


def erase(out: str, target: Target, *, verify: bool = False, dry_run: bool = False) -> dict[str, Any]:
    """Remove every row of the target's recordings from every table and file below OUT; see docs/privacy-and-law.md.

    Erased recordings are remembered by id and not scored again. Raises Held while a run is at work there, Remains if
    ``verify`` finds anything.
    """
    location = locate(out)
    ledger = Ledger(location)
    if not any(location.child(folder).files() for folder in ("recordings", HOME)):
        raise UsageError(f"{location.uri}: no tables there, so nothing to erase.")
    lease = Lease(ledger.lease, "emosphere erase")
    with contextlib.nullcontext() if dry_run else lease:
        if not dry_run:
            sweep_scratch()
            lease.acquire()
            finish_erasure(ledger, lease.check)
        matches = find_recordings(location, target)
        result: dict[str, Any] = {
            "recordings": len(matches.ids_with_rows),
            "segments": matches.num_segments,
            "dry_run": dry_run,
            "out": location.path if location.is_local else location.uri,
        }
        if dry_run:
            return result
        # Remembered first: from here on no run would bring them back.
        remember(ledger.home, matches.forgotten, lease.check)
        # Then what is named in words, as long as the rows still tell the names.
        _remove_names(ledger, matches, lease.check)
        if matches.ids:
            lease.check()
            ledger.home.child(MARKER).write_bytes(json.dumps(sorted(matches.ids)).encode())
            finish_erasure(ledger, lease.check)
        result["verified"] = None
        if verify:
            left = list(remains(location, matches, target.speaker))
            result |= {"verified": not left, "remains": left}
            if left:
                raise Remains(f"{len(left)} files still hold something of it: {', '.join(left[:5])}.", result)
    return result


def is_erasing(ledger: Ledger) -> bool:
    """Whether an erasure died before its end."""
    return ledger.home.child(MARKER).exists()


def finish_erasure(ledger: Ledger, still_ours: Callable[[], None]) -> None:
    """Do, or do again, the erasure that the marker names; nothing where there is none. Asks ``still_ours`` before each
    write. Published ``recordings`` go before ``segments``: no reader finds a scored recording without its segments.
    """
    marker = ledger.home.child(MARKER)
    if not is_erasing(ledger):
        return
    ids = pa.array(json.loads(marker.read_bytes()), pa.string())
    replaced: dict[str, str] = {}
    for table in ("recordings", "segments"):
        for location in parquet_files(ledger.out.child(table)):
            path = location.path.removeprefix(ledger.out.path.rstrip("/") + "/")
            version = replace_published(ledger, path, _version_label(), partial(_rows_without, ids=ids), still_ours)
            if version is not None:
                replaced[path] = version
    if read_snapshot(ledger.out) is not None:
        ledger.snapshot.rewrite(lambda: _snapshot_without(ledger, ids, replaced, still_ours), still_ours)
    snapshot = read_snapshot(ledger.out) or {"files": {}}
    pointed = {ledger.out.child(kept).path for kept in snapshot["files"].values()}
    for path in ledger.out.files():
        if _is_below(ledger.lease, path):  # names nobody, and our own heartbeat writes there
            continue
        location = Location(ledger.out.fs, path)
        name = path.rpartition("/")[2]
        is_version = _is_below(ledger.out.child(VERSIONS), path)
        # A version that nobody points to; what a writer left that was killed.
        if (is_version and path not in pointed) or (name.startswith(".") and name.endswith(".tmp")):
            still_ours()
            location.remove()
        elif _is_below(ledger.home, path) and not is_version and name.endswith(".parquet"):
            _blank(location, ids, still_ours)
    still_ours()
    marker.remove()


def _version_label() -> str:
    return f"erased-{uuid.uuid4().hex[:12]}"


def _snapshot_without(ledger: Ledger, ids: pa.Array, replaced: dict[str, str], still_ours: Callable[[], None]) -> bytes:
    """The snapshot with versions that are all free of ``ids``: those just ``replaced``, and copies of published files
    where one is not. Nobody may go back to what was before.
    """
    snapshot: dict[str, Any] = read_snapshot(ledger.out) or {"files": {}}
    files = snapshot["files"] | replaced
    for path, version in snapshot["files"].items():
        # Died after the last file and before this: the versions that are pointed to may hold what the files do not.
        if path not in replaced and _rows_without(ledger.out.child(version), ids) is not None:
            files[path] = version_path(path, _version_label())
            still_ours()
            ledger.out.child(files[path]).write_bytes(ledger.out.child(path).read_bytes())
    return json_bytes(snapshot | {"files": files, "previous": {}})


def _rows_without(location: Location, ids: pa.Array) -> pa.Table | None:
    """The table without the rows of ``ids``; None if it has none of them.

    Columns, schema and file metadata stay as they are: what another version of emosphere wrote can be erased too.
    """
    there = read_parquet(location, columns=["recording_id"])
    if not there.num_columns or not pc.any(pc.is_in(there.column("recording_id"), value_set=ids)).as_py():
        return None
    table = read_parquet(location)
    return table.filter(pc.invert(pc.is_in(table.column("recording_id"), value_set=ids)))


def _blank(location: Location, ids: pa.Array, still_ours: Callable[[], None]) -> None:
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
    still_ours()
    location.write_bytes(parquet_bytes(kept))


def _is_below(folder: Location, path: str) -> bool:
    return path.startswith(folder.path + "/")


def _remove_names(ledger: Ledger, matches: Matches, still_ours: Callable[[], None]) -> None:
    """Take the names out of what is kept of runs: what was scored (``archives``), and errors."""
    others = {ledger.snapshot.path, ledger.home.child(FILE).path}
    for path in ledger.home.files():
        if path.endswith(".json") and path not in others and not _is_below(ledger.lease, path):
            location = Location(ledger.home.fs, path)
            before = json.loads(location.read_bytes())
            after = _nameless(before, matches)
            if after != before:
                still_ours()
                location.write_bytes(json_bytes(after))
    for location in parquet_files(ledger.out.child("runs")):
        table = read_parquet(location)
        before = table.to_pylist()
        after = [{name: _nameless_text(value, matches) for name, value in row.items()} for row in before]
        if after != before:
            still_ours()
            location.write_bytes(parquet_bytes(pa.Table.from_pylist(after, schema=table.schema)))


def _nameless(value: Any, matches: Matches) -> Any:
    if isinstance(value, dict):
        return {name: _nameless(inner, matches) for name, inner in value.items()}
    if isinstance(value, list):
        return [_nameless(inner, matches) for inner in value]
    return ERASED if isinstance(value, str) and matches.are_named_in(value) else value


def _nameless_text(value: Any, matches: Matches) -> Any:
    if not isinstance(value, str) or not matches.are_named_in(value):
        return value
    with contextlib.suppress(ValueError):
        return json.dumps(_nameless(json.loads(value), matches))
    return ERASED
