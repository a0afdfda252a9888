"""One writer at a time in an OUT: who holds it, whether they live, and whether one's own turn is over."""

import contextlib
import datetime
import json
import logging
import os
import socket
import threading
import time
import uuid
import zlib
from typing import Any, NamedTuple

from emosphere.errors import EmosphereError
from emosphere.store import ABSENT, Location, tries
from pipelines.output.fence import SILENCE_S, Fence, Held, locked, out_uri, record_numbers

BEAT_S = 5.0
"""Seconds between two signs of life."""
POLL_S = 1.0
"""Seconds between two looks at somebody else's record."""

log = logging.getLogger("emosphere")


class Holder(NamedTuple):
    """One holder's record. ``beat`` is a counter and no time: clocks of two machines need not agree."""

    token: str
    work: str
    host: str
    machine: str
    pid: int
    born: str
    since: str
    beat: int = 0
    released: bool = False
    clean: bool = True
    """Whether every write that it began was answered; one that was not may still arrive."""

    def __str__(self) -> str:
        return f"{self.work} (host {self.host}, process {self.pid}, since {self.since})"

    @property
    def is_dead_here(self) -> bool:
        """Whether it ran on this very machine and its process is gone, another one of that number included."""
        return bool(self.machine) and self.machine == _machine() and self.born != _born(self.pid)


class Record(NamedTuple):
    """A holder's record, and its number, which is its name."""

    number: int
    holder: Holder


class Lease:
    """The right to write below OUT, until released, or until others had reason to take us for dead.

    Each holder has a number, one above the last: a record ``NUMBER.json`` that only one process can create (a
    conditional PUT, or a hard link on a disk) and that only its holder rewrites. The highest number is the holder's;
    its :class:`Fence` asks before every write. Numbers go up for ever, so the last record stays when it is released.
    """

    def __init__(self, home: Location, work: str) -> None:
        """``home``: folder of the records, two below what is written. ``work``: for whoever meets it."""
        self._home = home
        self.work = work
        self._me = Holder(
            token=uuid.uuid4().hex,
            work=work,
            host=socket.gethostname(),
            machine=_machine(),
            pid=os.getpid(),
            born=_born(os.getpid()),
            since=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}",
        )
        self.fence: Fence | None = None
        """Once acquired."""
        self.predecessor: Holder | None = None
        """Who held it before, if anyone."""
        self.is_lost = False
        """Whether a heartbeat found another in our place: then the fence will say so."""
        self._ended = threading.Event()
        self._heartbeat: threading.Thread | None = None

    def acquire(self) -> Fence:
        """Become the holder; no matter if it is held already by this object.

        Raises Held if another holder shows a sign of life, which it does within seconds.
        """
        for _ in tries(f"take the lease of {out_uri(self._home)}"):
            if self.fence is not None:
                break
            latest = current(self._home)
            number = 1
            if latest is not None:
                number = latest.number + 1
                if not latest.holder.released and not self._is_dead(*latest):
                    continue
            # A store that answers late may call our own record somebody else's.
            self._me = self._me._replace(work=self.work)
            with locked(self._home):  # on a disk: nobody is in the middle of a write
                is_first = self._record(number).create_bytes(_json(self._me))
            if is_first or self._has_written(number):
                self.predecessor = latest and latest.holder
                self._begin(number)
                break
        assert self.fence is not None
        return self.fence

    def release(self, *, clean: bool = True) -> None:
        """Let others begin at once; fine if it is not held. Not ``clean``: they must expect that a write of ours, of
        which nobody knows whether it was done, is done later.
        """
        if self.fence is None:
            return
        self._ended.set()
        if self._heartbeat is not None:
            self._heartbeat.join()
        # Whoever comes next finds out by our silence.
        with contextlib.suppress(EmosphereError):
            self.fence.check()
            self._record(self.fence.number).write_bytes(_json(self._me._replace(released=True, clean=clean)))
        self.fence = None

    def _begin(self, number: int) -> None:
        fence = Fence(self._home, number)
        fence.check()
        for old, location in record_numbers(self._home).items():
            if old < number:
                location.remove()
        self.fence = fence
        self._ended.clear()
        self._heartbeat = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._heartbeat.start()

    def _beat(self) -> None:
        assert self.fence is not None
        number = self.fence.number
        while not self._ended.wait(BEAT_S):
            self._me = self._me._replace(work=self.work, beat=self._me.beat + 1)
            try:
                records = record_numbers(self._home)
                # Who was overtaken, or whose OUT was removed, is silent from here on.
                self.is_lost = number not in records or max(records) > number
                if self.is_lost:
                    return
                self._record(number).write_bytes(_json(self._me))
            except EmosphereError as error:  # the store may answer again before anybody gives us up
                log.warning("no sign of life could be given: %s", error)

    def _is_dead(self, number: int, holder: Holder) -> bool:
        """Watch a holder until it moves (Held), another takes its place (False), or it is silent for too long."""
        if holder.is_dead_here:
            return True
        log.info("%s holds the lease; waiting up to %g s for a sign of life", holder, SILENCE_S)
        began = time.monotonic()
        while time.monotonic() - began < SILENCE_S:
            time.sleep(POLL_S)
            latest = current(self._home)
            if latest is None or latest.number != number or latest.holder.released:
                return False
            if latest.holder.beat != holder.beat:
                raise Held(
                    f"{out_uri(self._home)} is being written by {holder}, which is alive. "
                    "Two at once would undo each other's files, so this one did nothing. Wait until that one ends, or "
                    "end it; then run the same command again."
                )
        log.info("%s has been silent for %g s and is taken over", holder, SILENCE_S)
        return True

    def _has_written(self, number: int) -> bool:
        latest = current(self._home)
        return latest is not None and latest.number == number and latest.holder.token == self._me.token

    def _record(self, number: int) -> Location:
        return self._home.child(f"{number:08d}.json")


def current(home: Location) -> Record | None:
    """The record of the latest holder; None where nobody ever was."""
    for _ in tries(f"read who holds the lease of {out_uri(home)}"):
        records = record_numbers(home)
        if not records:
            return None
        number = max(records)
        with contextlib.suppress(*ABSENT):  # its successor may have tidied it away meanwhile
            return Record(number, _holder(records[number].read_bytes()))
    raise AssertionError("tries() ends with an error")


def describe(home: Location) -> str:
    """Who holds it, if anyone, and whether they live, for a report; takes up to two heartbeats."""
    latest = current(home)
    if latest is None or latest.holder.released:
        return "free"
    holder = latest.holder
    if holder.is_dead_here:
        return f"left by {holder}, whose process is gone; the next run takes over at once"
    began = time.monotonic()
    while time.monotonic() - began < 2 * BEAT_S:
        if current(home) != latest:
            return f"held by {holder}, which is alive"
        time.sleep(min(POLL_S, BEAT_S))
    return f"held by {holder}, silent for {2 * BEAT_S:g} s; the next run takes over after {SILENCE_S:g} s"


def _machine() -> str:
    """One kernel, and one world of process numbers on it; empty where that cannot be known."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _born(pid: int) -> str:
    """When a process of this machine began, in ticks since it was started; empty if it is gone or a mere zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            state, *others = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state == "Z" else others[18]


def _holder(record: bytes) -> Holder:
    """A record that cannot be read is somebody's who lives only if it changes: a broken one is taken over in time."""
    try:
        return Holder(**json.loads(record))
    except (ValueError, TypeError):
        work, unknown = "a holder whose record cannot be read", "unknown"
        return Holder("", work, host=unknown, machine="", pid=0, born="", since=unknown, beat=zlib.crc32(record))


def _json(holder: Holder) -> bytes:
    record: dict[str, Any] = holder._asdict()
    return (json.dumps(record, indent=1) + "\n").encode()
