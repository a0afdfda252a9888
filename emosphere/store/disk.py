"""Files of a disk, written whole or not at all."""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from typing import Final

from emosphere.store.explain import ABSENT

NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What a disk without hard links answers to one."""


def replace(path: str, data: bytes) -> None:
    """Put a file there at once, whatever was there."""
    with _staged(path, data) as staged:
        os.replace(staged, path)


def create(path: str, data: bytes) -> None:
    """Put a file there. Raises FileExistsError if there is one.

    Whole or not at all: an empty file that a full disk or a kill left behind would stand for ever.
    """
    with _staged(path, data) as staged:
        _link_or_copy(staged, path)


def link(source: str, path: str) -> bool:
    """Replace ``path`` by a second name of ``source``; False on a disk without hard links."""
    make_folder(os.path.dirname(path))
    staged = f"{os.path.dirname(path)}/.{uuid.uuid4().hex}.tmp"
    try:
        os.link(source, staged)
    except OSError:
        return False
    os.replace(staged, path)
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


def _link_or_copy(staged: str, path: str) -> None:
    """Give a file its name. Raises FileExistsError if there is one of that name."""
    try:
        os.link(staged, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with open(staged, "rb") as source, open(path, "xb") as target:
            try:
                target.write(source.read())
                target.flush()
            except OSError:
                os.unlink(path)
                raise


def _unless_absent(error: OSError) -> None:
    if not isinstance(error, ABSENT):
        raise error
