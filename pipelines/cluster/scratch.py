"""Folders on a machine's own disk for work in progress: wiped by who made them, or, after a kill, by who comes next.

They hold audio, URIs and scores. Who works in a folder keeps it locked, and the system lets go of the lock when the
process dies, however it died. A process number in the name would say less: another container on the same disk has
numbers of its own, and the same container has none of the old ones once it is started again.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import Literal

import duckdb

from emosphere.errors import MachineError

Kind = Literal["plan", "fold", "fetch"]
_NAME = re.compile(r"emosphere-(?:plan|fold|fetch)-\d+-\w+")


class Scratch:
    """A folder of this process alone, in the machine's temporary folder. Making one sweeps what the dead left there."""

    def __init__(self, kind: Kind) -> None:
        """Raises MachineError where no folder can be made."""
        sweep_scratch()
        try:
            self.path, self._lock = _make(kind)
        except OSError as error:
            raise MachineError(
                f"No scratch folder could be made: {error}. Free room on that disk, or set TMPDIR to a folder on "
                "another; the same command resumes."
            ) from error

    def close(self) -> None:
        """Wipe the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


@contextlib.contextmanager
def scratch_database(kind: Kind, memory: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database that spills to scratch beyond ``memory``, such as ``128MB``; gone with the context.

    What goes wrong with its disk while the context lasts is a MachineError.
    """
    with contextlib.closing(Scratch(kind)) as scratch:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory,
            "threads": 2,
            "temp_directory": os.path.join(scratch.path, "spilt"),
        }
        try:
            with contextlib.closing(duckdb.connect(os.path.join(scratch.path, "base.duckdb"), config=config)) as base:
                base.execute("SET enable_progress_bar = false")  # it would draw one on standard output
                yield base
        except (duckdb.OperationalError, duckdb.FatalException) as error:
            [why, *_] = str(error).splitlines()
            raise MachineError(
                f"The scratch database in {scratch.path} failed: {why.rstrip('.')}. If its disk is full, "
                "free room there, or set TMPDIR to a folder on another; the same command resumes."
            ) from error


def sweep_scratch() -> None:
    """Remove the folders of processes that were killed. Those of other users stay, and are those users' to sweep."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(tempfile.gettempdir())):
            if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):  # somebody is at work in it, or it is not ours
                    lock = _locked(entry.path, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(entry.path, ignore_errors=True)
                    os.close(lock)


def _make(kind: Kind) -> tuple[str, int]:
    while True:
        # The number is for people who look at the disk.
        path = tempfile.mkdtemp(prefix=f"emosphere-{kind}-{os.getpid()}-")
        with contextlib.suppress(FileNotFoundError):  # swept by another before it was locked
            lock = _locked(path, fcntl.LOCK_EX)
            if os.path.isdir(path):
                return path, lock
            os.close(lock)


def _locked(path: str, how: int) -> int:
    """Descriptor that holds the lock. Raises OSError where another has it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
