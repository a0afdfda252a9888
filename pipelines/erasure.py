"""Take recordings out of everything below OUT, for good, and prove it."""

import contextlib
import datetime
import io
import json
import re
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emosphere.data.identity import IdKey, id_key, recording_id
from emosphere.data.schema import SCHEMA_VERSION, arrow_schema
from emosphere.errors import EmosphereError, MachineError, UsageError
from emosphere.store import Location, explained, locate, unsigned
from pipelines.archive.listing import list_archives
from pipelines.forgotten import FILE, Forgotten, lineage, read_forgotten, write_forgotten
from pipelines.lease import Lease
from pipelines.ledger import HOME, Ledger, parquet_bytes, read_parquet
from pipelines.publish import read_snapshot

MARKER = "erasing.json"
"""Ids that are being erased: whoever comes next, with whatever command, first brings that to its end."""
ERASED = "erased"
"""What stands in place of a name in what is kept of a run."""
MANY_URIS = 50
"""Beyond so many names a text is searched word by word."""
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_WORD = re.compile(r"[^\s'\",;()\[\]{}\x00-\x1f]+")
_MEMBER = re.compile(r"(zip|tar|parquet)://")
_ROW_COLUMNS = ["recording_id", "source_uri", "speaker", "attributes", "scored_at", "modified_at"]


class Remains(MachineError):
    """Something of what was erased is still there; ``result`` says where."""

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What is to go: exactly one of these."""

    recording: str | None = None
    """A recording id."""
    uri: str | None = None
    """URI or path of a recording, or of a folder or archive file with all below it."""
    speaker: str | None = None
    """Label in ``segments.speaker`` or in the attribute ``speaker`` of a recording; its recordings go whole."""
    older_than: str | None = None
    """Age of the scores, such as ``90d``."""

    def __post_init__(self) -> None:
        if sum(bool(word) for word in (self.recording, self.uri, self.speaker, self.older_than)) != 1:
            raise UsageError("Say what to erase by exactly one of --recording, --uri, --speaker and --older-than.")
        if self.recording is not None and not _ID.fullmatch(self.recording):
            raise UsageError(f"--recording {self.recording!r} is not a recording_id: 32 hex digits, in lower case.")
        if self.older_than is not None and not re.fullmatch(r"[1-9]\d{0,4}d", self.older_than):
            raise UsageError(f"--older-than {self.older_than!r} is not a number of days such as 90d.")


@dataclass(kw_only=True, slots=True)
class _Found:
    """Recordings that a target means, and how each is named."""

    ids: set[str] = field(default_factory=set)
    there: set[str] = field(default_factory=set)
    """Those of ``ids`` that have rows anywhere."""
    uris: set[str] = field(default_factory=set)
    folder: str | None = None
    """URI of the target itself, with all below it."""
    forgotten: Forgotten = field(default_factory=Forgotten)
    segments: int = 0

    def names(self, text: str) -> bool:
        """Whether a text holds one of the URIs or ids."""
        if any(found in self.ids for found in _ID.findall(text)):
            return True
        if self.folder is not None:
            return self.folder in text and _is_within(self.folder, text)
        if len(self.uris) > MANY_URIS:  # one by one would take the square of the archive
            return text in self.uris or not self.uris.isdisjoint(_WORD.findall(text))
        return any(uri in text and _is_within(uri, text) for uri in self.uris)


def erase(out: str, target: Target, *, verify: bool = False, dry_run: bool = False) -> dict[str, Any]:
    """Remove every row of the target's recordings from every table and file below OUT; see docs/privacy-and-law.md.

    Erased recordings are remembered by id and not scored again. Raises Held while a run is at work there, Remains if
    ``verify`` finds anything.
    """
    location = locate(out)
    ledger = Ledger(location)
    if not any(location.child(folder).files() for folder in ("recordings", HOME)):
        raise UsageError(f"{location.uri}: no tables there, so nothing to erase.")
    lease = Lease(ledger.home.child("lease"), "emosphere erase")
    with contextlib.nullcontext() if dry_run else lease:
        if not dry_run:
            lease.acquire()
            finish_erasure(ledger, lease.check)
        found = _find(location, target)
        result: dict[str, Any] = {"recordings": len(found.there), "segments": found.segments, "dry_run": dry_run}
        result["out"] = location.path if location.is_local else location.uri
        if dry_run:
            return result
        # Remembered first: from here on no run would bring them back.
        write_forgotten(ledger.home, read_forgotten(ledger.home).joined(found.forgotten))
        # Then what is named in words, as long as the rows still tell the names.
        _scrub(location, found)
        if found.ids:
            ledger.home.child(MARKER).write_bytes(json.dumps(sorted(found.ids)).encode())
            finish_erasure(ledger, lease.check)
        result["verified"] = None
        if verify:
            remains = list(_remains(location, found, target.speaker))
            result |= {"verified": not remains, "remains": remains}
            if remains:
                raise Remains(f"{len(remains)} files still hold something of it: {', '.join(remains[:5])}.", result)
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
        for location in _parquet_files(ledger.out.child(table)):
            kept = _without(location, ids)
            if kept is None:
                continue
            still_ours()
            path = location.path.removeprefix(ledger.out.path.rstrip("/") + "/")
            version = f"{HOME}/tables/{path.removesuffix('.parquet')}.erased-{uuid.uuid4().hex[:12]}.parquet"
            ledger.out.child(version).write_bytes(_as_published(table, kept))
            ledger.out.child(version).publish_to(location)
            replaced[path] = version
    still_ours()
    snapshot = read_snapshot(ledger.out)
    # Died after the last file and before this: the versions that are pointed to may hold what the files do not.
    stale = {
        path: kept
        for path, kept in (snapshot or {"files": {}})["files"].items()
        if path not in replaced and _without(ledger.out.child(kept), ids) is not None
    }
    for path in stale:
        version = f"{HOME}/tables/{path.removesuffix('.parquet')}.erased-{uuid.uuid4().hex[:12]}.parquet"
        ledger.out.child(version).write_bytes(ledger.out.child(path).read_bytes())
        replaced[path] = version
    if snapshot is not None:
        # Nobody may go back to what was before.
        snapshot |= {"files": snapshot["files"] | replaced, "previous": {}}
        ledger.home.child("snapshot.json").write_bytes(json.dumps(snapshot, sort_keys=True, indent=1).encode())
    pointed = set() if snapshot is None else {ledger.out.child(kept).path for kept in snapshot["files"].values()}
    for path in ledger.out.files():
        location = Location(ledger.out.fs, path)
        inside = path[len(ledger.home.path) + 1 :] if path.startswith(ledger.home.path + "/") else ""
        name = path.rpartition("/")[2]
        # A version that nobody points to; what a writer left that was killed.
        if (inside.startswith("tables/") and path not in pointed) or (name.startswith(".") and name.endswith(".tmp")):
            still_ours()
            location.remove()
        elif inside and not inside.startswith("tables/") and name.endswith(".parquet"):
            _blank(location, ids, still_ours)
    still_ours()
    marker.remove()


def _find(out: Location, target: Target) -> _Found:
    found = _Found()
    if target.recording:
        found.ids.add(target.recording)
    key = id_key() if target.uri else None
    if target.uri:
        Ledger(out).check_id_key(key.fingerprint if key else None)
        found.folder = absolute_uri(target.uri)
        found.ids.add(recording_id(found.folder, key))
        if key is not None:
            found.ids |= _listed(target.uri, out, key)
    cutoff = None
    if target.older_than:
        cutoff = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=int(target.older_than[:-1]))
    may_be_meant = _mask(target, found.folder, cutoff)
    for location in _parquet_files(out):
        rows = _rows(location, may_be_meant)
        found.ids |= {row["recording_id"] for row in rows if _is_meant(row, target, found.folder, cutoff)}
    past, ids = set(), pa.array(sorted(found.ids), pa.string())
    for location in _parquet_files(out):
        is_published = location.path.startswith((out.child("segments").path + "/", out.child("recordings").path + "/"))
        for row in _rows(location, lambda rows: pc.is_in(rows.column("recording_id"), value_set=ids)):
            found.there.add(row["recording_id"])
            found.uris.add(row["source_uri"])
            found.segments += is_published and "start_ms" in row
            if cutoff is not None and _is_past(row, cutoff):
                past.add(row["recording_id"])
    end = None if cutoff is None else round(cutoff.timestamp() * 1_000_000)
    folders = () if found.folder is None else (recording_id(found.folder, key),)
    found.forgotten = Forgotten(
        recordings=frozenset(found.ids - past), folders=frozenset(folders), modified_before_us=end
    )
    return found


def _is_meant(row: dict[str, Any], target: Target, folder: str | None, cutoff: datetime.datetime | None) -> bool:
    if not row["recording_id"]:
        return False
    if target.recording:
        return bool(row["recording_id"] == target.recording)
    if folder is not None:
        return folder in lineage(row.get("source_uri") or "")
    if cutoff is not None:
        return row.get("scored_at") is not None and row["scored_at"] < cutoff
    return row.get("speaker") == target.speaker or _speaker(row.get("attributes")) == target.speaker


def _speaker(attributes: str | None) -> str | None:
    named = json.loads(attributes) if attributes and "speaker" in attributes else {}
    return None if named.get("speaker") is None else str(named["speaker"])


def _is_past(row: dict[str, Any], cutoff: datetime.datetime) -> bool:
    """Whether the end of retention alone keeps a row's recording from being scored again: a plain file, changed before
    it. The time of a member or a table's cell is whatever its packer wrote; under a key nobody can tell.
    """
    uri, modified = row.get("source_uri") or "", row.get("modified_at")
    return "://" in uri and not _MEMBER.match(uri) and modified is not None and modified < cutoff


def absolute_uri(text: str) -> str:
    """The URI under which a recording or folder stands in the tables."""
    uri = text if _MEMBER.match(text) else unsigned(locate(text).uri)
    uri = uri.rstrip("/")
    if uri.endswith(":"):
        raise UsageError(f"--uri {text}: that is everything. Remove OUT itself instead.")
    return uri


def _listed(uri: str, out: Location, key: IdKey) -> set[str]:
    """Ids of what lies below a folder now: with a key, no id tells where it came from."""
    if _MEMBER.match(uri):
        return set()
    try:
        return {recording_id(recording.source_uri, key) for recording in list_archives([uri], out=out)}
    except EmosphereError:  # gone; its own id is still known
        return set()


def _parquet_files(folder: Location) -> Iterator[Location]:
    for path in folder.files():
        if path.endswith(".parquet"):
            yield Location(folder.fs, path)


def _rows(location: Location, mask: Callable[[pa.RecordBatch], Any]) -> Iterator[dict[str, Any]]:
    """What tells recordings apart, for rows of the mask; nothing for a file without a recording_id."""
    with explained(f"read {location.uri}"), location.fs.open(location.path, "rb") as file:
        table = pq.ParquetFile(file)
        names = set(table.schema_arrow.names)
        if "recording_id" not in names:
            return
        columns = [name for name in (*_ROW_COLUMNS, "start_ms") if name in names]
        for batch in table.iter_batches(65_536, columns=columns):
            yield from batch.filter(mask(batch)).to_pylist()


def _mask(target: Target, folder: str | None, cutoff: datetime.datetime | None) -> Callable[[pa.RecordBatch], Any]:
    """Rows that the target may mean, told without looking at each: :func:`_is_meant` decides."""

    def mask(rows: pa.RecordBatch) -> Any:
        names = rows.schema.names
        nothing = pa.array([False] * len(rows))
        if target.recording:
            return pc.equal(rows.column("recording_id"), target.recording)
        if folder is not None:
            return pc.match_substring(rows.column("source_uri"), folder) if "source_uri" in names else nothing
        if cutoff is not None:
            return pc.less(rows.column("scored_at"), pa.scalar(cutoff)) if "scored_at" in names else nothing
        labelled = pc.is_valid(rows.column("speaker")) if "speaker" in names else nothing
        if "attributes" not in names:
            return labelled
        return pc.or_(labelled, pc.fill_null(pc.match_substring(rows.column("attributes"), '"speaker"'), False))

    return mask


def _without(location: Location, ids: pa.Array) -> pa.Table | None:
    """The table without the rows of ``ids``; None if it has none of them."""
    there = read_parquet(location, columns=["recording_id"]).column("recording_id")
    if not pc.any(pc.is_in(there, value_set=ids)).as_py():
        return None
    table = read_parquet(location)
    return table.filter(pc.invert(pc.is_in(table.column("recording_id"), value_set=ids)))


def _as_published(name: str, table: pa.Table) -> bytes:
    """A published file anew, schema and file metadata as they were."""
    own = {"schema_version": str(SCHEMA_VERSION), "table": name}
    metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items() if not k.startswith(b"ARROW")}
    schema = arrow_schema(name, metadata | own)
    return parquet_bytes(table.select(schema.names).replace_schema_metadata(schema.metadata).cast(schema))


def _blank(location: Location, ids: pa.Array, still_ours: Callable[[], None]) -> None:
    """Take recordings out of a part of a plan or of its staged results.

    Their units stay, empty: a run counts its units, and finds each of them once.
    """
    with explained(f"read {location.uri}"), location.fs.open(location.path, "rb") as file:
        names = pq.read_schema(file).names
    if "recording_id" not in names:
        return
    kept = _without(location, ids)
    if kept is None:
        return
    if "unit_id" in names:
        table = read_parquet(location)
        gone = table.filter(pc.is_in(table.column("recording_id"), value_set=ids))
        numbers = gone.select(["unit_id", "unit_index", "num_units", "attempts"]).to_pylist()
        empty = {"recording_id": "", "source_uri": "", "content_version": "", "kind": "object", "url": b""}
        empty |= {"error_code": "REFUSED", "error_message": "Erased."}
        blanks = [row | {name: value for name, value in empty.items() if name in names} for row in numbers]
        kept = pa.concat_tables([kept, pa.Table.from_pylist(blanks, schema=kept.schema)]).sort_by("unit_id")
    still_ours()
    location.write_bytes(parquet_bytes(kept))


def _scrub(out: Location, found: _Found) -> None:
    """Take the names out of what is kept of runs: what was scored (``archives``), and errors."""
    for path in out.child(HOME).files():
        if path.endswith(".json") and not path.endswith((f"/{FILE}", "/snapshot.json")) and "/lease/" not in path:
            location = Location(out.fs, path)
            before = json.loads(location.read_bytes())
            if (after := _nameless(before, found)) != before:
                location.write_bytes((json.dumps(after, indent=1, sort_keys=True) + "\n").encode())
    for location in _parquet_files(out.child("runs")):
        before = read_parquet(location).to_pylist()
        after = [{name: _nameless_text(value, found) for name, value in row.items()} for row in before]
        if after != before:
            location.write_bytes(parquet_bytes(pa.Table.from_pylist(after, schema=arrow_schema("runs"))))


def _nameless(value: Any, found: _Found) -> Any:
    if isinstance(value, dict):
        return {name: _nameless(inner, found) for name, inner in value.items()}
    if isinstance(value, list):
        return [_nameless(inner, found) for inner in value]
    return ERASED if isinstance(value, str) and found.names(value) else value


def _nameless_text(value: Any, found: _Found) -> Any:
    if not isinstance(value, str) or not found.names(value):
        return value
    with contextlib.suppress(ValueError):
        return json.dumps(_nameless(json.loads(value), found))
    return ERASED


def _is_within(uri: str, text: str) -> bool:
    """Whether a text holds the URI, or one below it; ``s3://b/a`` is not within ``s3://b/ab``."""
    return re.search(re.escape(uri) + r"(?![^/\s'\",;:)\]}\x00-\x1f\x7f-\xff])", text) is not None


def _remains(out: Location, found: _Found, speaker: str | None) -> Iterator[str]:
    """Files below OUT that hold an id, a URI or a name of the target: in their bytes, or in any value of a table."""
    for path in out.files():
        if path == out.child(HOME, FILE).path:  # the memory itself; it names nobody
            continue
        data = Location(out.fs, path).read_bytes()
        words = (path, data.decode("latin-1"), data.decode("utf-8", "ignore"))
        if any(map(found.names, words)) or (path.endswith(".parquet") and _holds(data, found, speaker)):
            yield path


def _holds(data: bytes, found: _Found, speaker: str | None) -> bool:
    table = pq.ParquetFile(io.BytesIO(data))
    for group in range(table.num_row_groups):
        for name, column in zip(table.schema_arrow.names, table.read_row_group(group).columns, strict=True):
            for text in _texts(column.to_pylist() if pa.types.is_nested(column.type) else column.unique().to_pylist()):
                if found.names(text):
                    return True
                if speaker and ((name == "speaker" and text == speaker) or _speaker_of(name, text) == speaker):
                    return True
    return False


def _speaker_of(column: str, text: str) -> str | None:
    return _speaker(text) if column == "attributes" else None


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
