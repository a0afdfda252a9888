"""Files of a disk, written whole or not at all."""

import contextlib
import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final

from emosphere.store.explain import ABSENT

NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What a disk without hard links answers to one."""


Within = Callable[[], AbstractContextManager[None]]
"""What is entered for the moment in which a file gets its name: its bytes are on the disk by then."""


def replace(path: str, data: bytes, within: Within = contextlib.nullcontext) -> None:
    """Put a file there at once, whatever was there."""
    with _staged(path, data) as staged, within():
        os.replace(staged, path)


def create(path: str, data: bytes, within: Within = contextlib.nullcontext) -> None:
    """Put a file there. Raises FileExistsError if there is one.

    Whole or not at all: an empty file that a full disk or a kill left behind would stand for ever. On a disk without
    hard links it is ``within`` that has to keep others out.
    """
    with _staged(path, data) as staged, within():
        _name(staged, path)


def link(source: str, path: str, within: Within = contextlib.nullcontext) -> bool:
    """Replace ``path`` by a second name of ``source``; False, and nothing done, on a disk without hard links."""
    make_folder(os.path.dirname(path))
    staged = f"{os.path.dirname(path)}/.{uuid.uuid4().hex}.tmp"
    try:
        os.link(source, staged)
    except OSError:
        return False
    try:
        with within():
            os.replace(staged, path)
    finally:
        # rename() between two names of one file does nothing and leaves the staged name behind.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged)
    return True


def files(folder: str) -> list[str]:
    """Paths of all files below, sorted; empty where the folder is missing.

    fsspec's own walk leaves out what it cannot list, which would look like an empty table.
    """
    walk = os.walk(folder, onerror=_unless_absent)
    return sorted(os.path.join(below, name) for below, _, names in walk for name in names)


def make_folder(folder: str) -> None:
    """Make it and those above. Raises NotADirectoryError where a file is in the way."""
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError:  # kept apart from "somebody created the object first"
        raise NotADirectoryError(f"{folder} is a file, not a folder") from None


@contextlib.contextmanager
def _staged(path: str, data: bytes) -> Iterator[str]:
    """The data in a file of another name in the same folder."""
    folder = os.path.dirname(path)
    make_folder(folder)
    staged = f"{folder}/.{uuid.uuid4().hex}.tmp"
    try:
        with open(staged, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield staged
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged)


def _name(staged: str, path: str) -> None:
    """Give a file its name. Raises FileExistsError if there is one of that name."""
    try:
        os.link(staged, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from None
        os.replace(staged, path)


def _unless_absent(error: OSError) -> None:
    if not isinstance(error, ABSENT):
        raise error
