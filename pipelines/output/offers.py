"""What an OUT rests on, tried there before anything is written: create once, replace what was read, list, lock."""

import contextlib
import fcntl
import uuid
from collections.abc import Callable
from typing import NamedTuple

from emosphere.errors import EmosphereError, MachineError
from emosphere.store import Location, explained

NEEDED = (
    "Without it two commands can undo each other's files, and an erased recording can come back, so nothing was "
    "written. docs/storage.md says what storage must offer."
)
PROBE = "probe-"
"""How the name of a folder begins in which a command tries what it rests on."""
_HOME = "_emosphere"  # the ledger's HOME, which stands on the lease, which stands on this


class Offer(NamedTuple):
    """One thing that was tried."""

    name: str
    holds: bool
    details: str
    """What the storage did; where that is not enough, what is needed and what to do."""


def check_offers(out: Location) -> None:
    """Raise MachineError, in words, if the storage of OUT cannot keep two writers apart, or cannot be written."""
    for offer in offers(out):
        if not offer.holds:
            raise MachineError(f"{out.uri}: {offer.details} {NEEDED}")


def offers(out: Location) -> list[Offer]:
    """What the storage of OUT does with an object of our own, ``_emosphere/probe-ID``, which is removed again.

    Raises MachineError where it cannot even be written, read, listed or deleted.
    """
    if out.is_local:
        tried: tuple[Callable[[Location], Offer], ...] = (_creates_once, _replaces_files, _lists, _locks)
    elif out.is_s3:
        tried = (_creates_once, _replaces_what_was_read, _lists)
    else:
        scheme = out.uri.partition("://")[0]
        return [
            Offer(
                "conditional writes",
                False,
                f"{scheme}:// has no conditional writes that emosphere knows. Let OUT be a local or NFS disk, or a "
                "bucket of an S3 store, and copy the finished tables from there; the archive may stay where it is.",
            )
        ]
    folder = out.child(_HOME, f"{PROBE}{uuid.uuid4().hex}")
    try:
        found = [attempt(folder.child("object")) for attempt in tried]
    except BaseException:
        with contextlib.suppress(EmosphereError):
            folder.remove()
        raise
    folder.remove()
    return found


def _creates_once(probe: Location) -> Offer:
    name = "create only if absent"
    # Of a create that was sent again because its answer was lost, the store says that somebody else was first.
    if not probe.create_bytes(b"1") and not (probe.exists() and probe.read_bytes() == b"1"):
        return Offer(name, False, "it refused to create an object of a new name, as if there were one.")
    if probe.create_bytes(b"22"):
        return Offer(
            name,
            False,
            "it overwrote an object that it was told to create only if absent (on S3: If-None-Match: *). Some stores "
            "do so only where versioning is on, Ceph's radosgw among them: take a bucket without versioning, or a "
            "store that honours conditional writes.",
        )
    return Offer(name, True, "a second creator is refused")


def _replaces_what_was_read(probe: Location) -> Offer:
    name = "replace what was read"
    probe.write_bytes(b"333")
    before = probe.etag()
    try:
        replaced = probe.replace_bytes(b"4444", before)
    except MachineError as error:
        return Offer(name, False, str(error))
    if not replaced or probe.read_bytes() != b"4444":
        return Offer(
            name,
            False,
            "it did not replace an object whose ETag was named rightly (If-Match). Take a store that honours "
            "conditional writes.",
        )
    if probe.replace_bytes(b"55555", before) or probe.read_bytes() != b"4444":
        return Offer(
            name,
            False,
            "it overwrote an object though the ETag that was named (If-Match) was that of an older version. Take a "
            "store that honours conditional writes.",
        )
    return Offer(name, True, "the right ETag is taken, a stale one is refused")


def _replaces_files(probe: Location) -> Offer:
    probe.write_bytes(b"333")
    holds = probe.read_bytes() == b"333"
    details = "a rename is seen at once" if holds else "a file that was replaced by rename still shows its old content."
    return Offer("replace at once", holds, details)


def _lists(probe: Location) -> Offer:
    folder, _, _ = probe.path.rpartition("/")
    holds = Location(probe.fs, folder).files() == [probe.path]
    details = "what was written is listed at once" if holds else (
        "an object that was just written is not in the listing of its folder. Take a store whose listings are "
        "consistent; a cache or a mirror in front of one is not."
    )  # fmt: skip
    return Offer("list after write", holds, details)


def _locks(probe: Location) -> Offer:
    name = "file locks"
    # For writing, since NFS gives an exclusive lock to nobody else.
    with explained(f"open {probe.uri}"), open(probe.path, "r+b") as first, open(probe.path, "r+b") as second:
        try:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return Offer(
                name,
                False,
                f"its file system has no file locks (flock: {error}). Mount it with them (NFS without 'nolock', Lustre "
                "with 'flock'), or take another disk.",
            )
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Offer(name, True, "a second holder is kept out")
    return Offer(
        name, False, "its file system lets two hold one exclusive lock (flock) at a time. Take another disk or mount."
    )
