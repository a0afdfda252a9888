"""The right to write below OUT under one holder's number: asked before every write, by driver and actors."""

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from emosphere.errors import MachineError
from emosphere.store import ABSENT, Location, explained

SILENCE_S: Final = 20.0
"""Who has given no sign of life for so long, by the watcher's own clock, is taken for dead."""
LOCK_PAUSE_S: Final = 0.005
"""Between two tries to get the lock of a disk."""
_RECORD: Final = re.compile(r"(\d{8,})\.json")


class Held(MachineError):
    """Somebody else is at work in this OUT, and alive."""


class Overtaken(MachineError):
    """Another took this process's place because it was silent: it must write nothing more."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Lets writes through as long as nobody has a higher number. Small: it travels to the actors inside a ledger.

    On a disk the question and giving a file its name are one step, under a lock which a new holder must have too:
    nothing of an older number comes later. A store has no locks. There the question is followed by a write that the
    store itself refuses if the object is there (:meth:`create`) or is not the one that was read (:meth:`rewrite`), and
    a name carries the number wherever nobody else rewrites the object.
    """

    home: Location
    """Folder of the holders' records."""
    number: int
    """Ours; numbers go up from holder to holder, for ever."""

    def check(self) -> None:
        """Raise Overtaken if there is a later holder."""
        records = record_numbers(self.home)
        latest = max(records, default=0)
        if latest == self.number:
            return
        by = _work(records[latest]) if latest else "somebody who left no record"
        wrote = (
            "Nothing more was written."
            if self.home.is_local
            else f"What it may still have written as holder {self.number} is read by nobody."
        )
        raise Overtaken(
            f"This command, holder {self.number} of {out_uri(self.home)}, stood still for more than {SILENCE_S:g} s "
            f"and was taken over by {by}. {wrote} If the tables are not complete once that one ends, "
            "the same command goes on."
        )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Raises Overtaken if there is a later holder; on a disk none comes before the context ends."""
        with locked(self.home):
            self.check()
            yield

    def create(self, target: Location, data: bytes) -> None:
        """Write unless something is there. Under a name that carries our number that is ours: a retried request's, or
        another actor's that was given the same part.
        """
        target.create_bytes(data, self.held)

    def rewrite(self, target: Location, make: Callable[[], bytes]) -> None:
        """Replace an object by what ``make`` makes of it, having read it; anew where a sleeper's write came between."""
        if not target.is_local:
            target.rewrite(make, self.check)
            return
        target.write_bytes(make(), self.held)

    def write(self, target: Location, data: bytes) -> None:
        """Replace an object whatever it holds."""
        self.rewrite(target, lambda: data)

    def remove(self, target: Location) -> None:
        """Delete a file or folder to which no later holder can give a meaning again."""
        with self.held():
            target.remove()

    def remove_files(self, folder: Location, paths: Iterable[str]) -> None:
        """Delete such files, all below a folder."""
        with self.held():
            folder.remove_files(paths)


@contextlib.contextmanager
def locked(home: Location) -> Iterator[None]:
    """On a disk, nobody else is within this context at the same time; elsewhere it does nothing.

    Raises Held where somebody stands still within it, MachineError where the disk knows no locks.
    """
    if not home.is_local:
        yield
        return
    path = f"{home.path}/lock"
    with explained(f"lock {path}"):
        os.makedirs(home.path, exist_ok=True)
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # NFS locks nothing that is open for reading only
        except PermissionError:
            lock = os.open(path, os.O_RDONLY)  # another user's
    try:
        with explained(f"lock {path} (OUT needs a disk with file locks, see docs/storage.md)"):
            _wait_for(lock, home)
        try:
            yield
        finally:
            # Not by closing alone: a child process that was begun meanwhile may have a copy of the descriptor.
            fcntl.flock(lock, fcntl.LOCK_UN)
    finally:
        os.close(lock)


def _wait_for(lock: int, home: Location) -> None:
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() - began > SILENCE_S:
                raise Held(
                    f"A process stands still in the middle of writing to {out_uri(home)} and holds {home.path}/lock. "
                    "Let it go on, or end it; then run the same command again."
                ) from None
            time.sleep(LOCK_PAUSE_S)


def _work(record: Location) -> str:
    """Who wrote a record, as far as it tells."""
    with contextlib.suppress(*ABSENT, ValueError, TypeError, KeyError):
        holder = json.loads(record.read_bytes())
        return f"{holder['work']} (host {holder['host']}, process {holder['pid']})"
    return "somebody else"


def record_numbers(home: Location) -> dict[int, Location]:
    """The holders' records, by their numbers."""
    named = [(_RECORD.fullmatch(path.rpartition("/")[2]), path) for path in home.files()]
    return {int(name[1]): Location(home.fs, path) for name, path in named if name}


def out_uri(home: Location) -> str:
    """URI of the OUT whose holders' records are in ``home``."""
    return home.uri.rsplit("/", 2)[0]
