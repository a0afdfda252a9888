"""What an erasure means: a recording, a URI with all below it, a speaker, or an age; and how each is named."""

import datetime
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emosphere.errors import EmosphereError, UsageError
from emosphere.store import Location, explained, locate, unsigned
from emosphere.tables.identity import IdKey, id_key, recording_id
from pipelines.archive.listing import list_archives
from pipelines.output.forgotten import Forgotten, lineage
from pipelines.output.ledger import Ledger, parquet_files

MANY_URIS = 50
"""Beyond so many names a text is searched word by word."""
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_WORD = re.compile(r"[^\s'\",;()\[\]{}\x00-\x1f]+")
_MEMBER = re.compile(r"(zip|tar|parquet)://")
_ROW_COLUMNS = ["recording_id", "source_uri", "speaker", "attributes", "scored_at", "modified_at"]


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Matches:
    """Recordings that a target means, and how each is named."""

    ids: frozenset[str] = frozenset()
    ids_with_rows: frozenset[str] = frozenset()
    """Those of ``ids`` that have rows anywhere."""
    uris: frozenset[str] = frozenset()
    folder: str | None = None
    """URI of the target itself, with all below it."""
    forgotten: Forgotten = field(default_factory=Forgotten)
    """What is remembered of them, so that they are not scored again."""
    num_segments: int = 0

    def are_named_in(self, text: str) -> bool:
        """Whether a text holds one of the URIs or ids."""
        if any(identity in self.ids for identity in _ID.findall(text)):
            return True
        if self.folder is not None:
            return self.folder in text and _is_within(self.folder, text)
        if len(self.uris) > MANY_URIS:  # one by one would take the square of the archive
            return text in self.uris or not self.uris.isdisjoint(_WORD.findall(text))
        return any(uri in text and _is_within(uri, text) for uri in self.uris)


def find_recordings(out: Location, target: Target) -> Matches:
    """The recordings that a target means, in whatever file below OUT they stand."""
    key = id_key() if target.uri else None
    folder, cutoff, ids = None, None, set[str]()
    if target.recording:
        ids.add(target.recording)
    if target.uri:
        Ledger(out).check_id_key(key.fingerprint if key else None)
        folder = absolute_uri(target.uri)
        ids.add(recording_id(folder, key))
        if key is not None:
            ids |= _listed_ids(target.uri, out, key)
    if target.older_than:
        cutoff = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=int(target.older_than[:-1]))
    may_be_meant = _mask(target, folder, cutoff)
    for location in parquet_files(out):
        rows = _rows(location, may_be_meant)
        ids |= {row["recording_id"] for row in rows if _is_meant(row, target, folder, cutoff)}
    all_ids = pa.array(sorted(ids), pa.string())
    ids_with_rows, uris, past, num_segments = set[str](), set[str](), set[str](), 0
    for location in parquet_files(out):
        is_published = location.path.startswith((out.child("segments").path + "/", out.child("recordings").path + "/"))
        for row in _rows(location, lambda rows: pc.is_in(rows.column("recording_id"), value_set=all_ids)):
            ids_with_rows.add(row["recording_id"])
            if row.get("source_uri"):
                uris.add(row["source_uri"])
            num_segments += is_published and "start_ms" in row
            if cutoff is not None and _is_past(row, cutoff):
                past.add(row["recording_id"])
    forgotten = Forgotten(
        recordings=frozenset(ids - past),
        folders=frozenset() if folder is None else frozenset([recording_id(folder, key)]),
        modified_before_us=None if cutoff is None else round(cutoff.timestamp() * 1_000_000),
    )
    return Matches(
        ids=frozenset(ids),
        ids_with_rows=frozenset(ids_with_rows),
        uris=frozenset(uris),
        folder=folder,
        forgotten=forgotten,
        num_segments=num_segments,
    )


def _is_meant(row: dict[str, Any], target: Target, folder: str | None, cutoff: datetime.datetime | None) -> bool:
    if not row["recording_id"]:
        return False
    if target.recording:
        return bool(row["recording_id"] == target.recording)
    if folder is not None:
        return folder in lineage(row.get("source_uri") or "")
    if cutoff is not None:
        return row.get("scored_at") is not None and row["scored_at"] < cutoff
    return row.get("speaker") == target.speaker or labelled_speaker(row.get("attributes")) == target.speaker


def labelled_speaker(attributes: str | None) -> str | None:
    """The attribute ``speaker`` of a recording."""
    named = json.loads(attributes) if attributes and "speaker" in attributes else {}
    return None if named.get("speaker") is None else str(named["speaker"])


def _is_past(row: dict[str, Any], cutoff: datetime.datetime) -> bool:
    """Whether the end of retention alone keeps a row's recording from being scored again: a plain file, changed before
    it. The time of a member or a table's value is whatever its packer wrote; under a key nobody can tell.
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


def _listed_ids(uri: str, out: Location, key: IdKey) -> set[str]:
    """Ids of what lies below a folder now: with a key, no id tells where it came from."""
    if _MEMBER.match(uri):
        return set()
    try:
        return {recording_id(recording.source_uri, key) for recording in list_archives([uri], out=out)}
    except EmosphereError:  # gone; its own id is still known
        return set()


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
    """Rows that the target may mean, without a look at each: :func:`_is_meant` decides."""

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


def _is_within(uri: str, text: str) -> bool:
    """Whether a text holds the URI, or one below it; ``s3://b/a`` is not within ``s3://b/ab``."""
    return re.search(re.escape(uri) + r"(?![^/\s'\",;:)\]}\x00-\x1f\x7f-\xff])", text) is not None
