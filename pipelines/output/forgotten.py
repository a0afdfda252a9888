"""What was erased and is not scored again: kept as ids, so that the list itself names nobody."""

import datetime
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from emosphere.errors import UsageError
from emosphere.store import ABSENT, Location
from emosphere.tables.identity import IdKey, recording_id
from pipelines.output.ledger import Ledger

FILE = "erased.json"
KEYS = {"recordings", "folders", "modified_before"}
"""Of the object in it."""
HOLDER = "holder"
"""Beside them: number of the holder that wrote it last."""
_MEMBER = re.compile(r"(?:zip|tar|parquet)://.*?::(.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgotten:
    """Ids of recordings, ids of folders, and the end of retention."""

    recordings: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    """The same hash over the URI of a folder, or of an archive file, whatever lies below it now or later."""
    modified_before_us: int | None = None
    """Files last changed before this time (microseconds since 1970) are past retention."""

    def holds(self, identity: str, uri: str, modified_us: int | None, key: IdKey | None = None) -> bool:
        """Whether the recording of this id, URI and time must not be scored. The URI is its own one; a hash of it, as
        tables have it under a key, lies in no folder and has no age.
        """
        if identity in self.recordings:
            return True
        end, is_object = self.modified_before_us, "://" in uri and not _MEMBER.fullmatch(uri)
        if end is not None and modified_us is not None and is_object and modified_us < end:
            return True
        return bool(self.folders) and any(recording_id(above, key) in self.folders for above in lineage(uri))

    def joined(self, other: "Forgotten") -> "Forgotten":
        """Both; of two ends of retention the later."""
        ends = [end for end in (self.modified_before_us, other.modified_before_us) if end is not None]
        return replace(
            self,
            recordings=self.recordings | other.recordings,
            folders=self.folders | other.folders,
            modified_before_us=max(ends, default=None),
        )


def read_forgotten(home: Location) -> Forgotten:
    """The list below ``home`` (OUT/_emosphere); empty where there is none. Raises UsageError for another version's: to
    read it in part would be to score again, and for good to lose, what it alone remembers.
    """
    file = home.child(FILE)
    try:
        stored = json.loads(file.read_bytes())
    except ABSENT:
        return Forgotten()
    if stored.keys() - {HOLDER} != KEYS:
        raise UsageError(
            f"{file.uri}: another version of emosphere wrote it, with {', '.join(sorted(stored))} and not "
            f"{', '.join(sorted(KEYS))}. Use that version."
        )
    end = stored["modified_before"]
    return Forgotten(
        recordings=frozenset(stored["recordings"]),
        folders=frozenset(stored["folders"]),
        modified_before_us=end and round(datetime.datetime.fromisoformat(end).timestamp() * 1_000_000),
    )


def remember(ledger: Ledger, more: Forgotten) -> None:
    """Add to the list, which will bear our number."""

    def make() -> bytes:
        stored = _stored(read_forgotten(ledger.home).joined(more)) | {HOLDER: ledger.writing.number}
        return (json.dumps(stored, indent=0) + "\n").encode()

    ledger.writing.rewrite(ledger.home.child(FILE), make)


def _stored(forgotten: Forgotten) -> dict[str, Any]:
    end = forgotten.modified_before_us
    return {
        "recordings": sorted(forgotten.recordings),
        "folders": sorted(forgotten.folders),
        "modified_before": end and datetime.datetime.fromtimestamp(end / 1_000_000, datetime.UTC).isoformat(),
    }


def lineage(uri: str) -> Iterator[str]:
    """The URI, the archive file it is a member of, and every folder above.

    >>> list(lineage("zip://a/b.wav::s3://calls/x/y.zip"))
    ['zip://a/b.wav::s3://calls/x/y.zip', 's3://calls/x/y.zip', 's3://calls/x', 's3://calls']
    """
    yield uri
    if member := _MEMBER.fullmatch(uri):
        uri = member[1]
        yield uri
    while (uri := uri.rpartition("/")[0]) and not uri.endswith(("/", ":")):
        yield uri
