"""Conditional writes and single deletes on S3, and on servers that speak its language with an accent."""

import contextlib
import hashlib
import weakref
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from emosphere.errors import MachineError
from emosphere.store.explain import ABSENT, status_of, tries

ONE_PUT_BYTES: Final = 5 << 30
"""S3's largest PUT. The parts of a larger upload would not hear the condition."""
DELETES_AT_ONCE: Final = 16

_unquoted: "weakref.WeakSet[Any]" = weakref.WeakSet()
"""Filesystems of servers that know an ETag again only without its quotes, such as Ceph's radosgw."""


def etag(fs: Any, path: str) -> str | None:
    """What the store calls this version of the object; None where nothing is there."""
    info = _info(fs, path)
    return None if info is None else str(info["ETag"])


def create(fs: Any, path: str, data: bytes) -> bool:
    """Write if nothing is there; False if something is."""
    for _ in tries(f"create s3://{path}"):
        refusal = _put(fs, path, data, IfNoneMatch="*")
        if refusal != 409:  # 409: somebody is writing it at this moment, which may come to nothing
            return refusal is None
    raise AssertionError("tries() ends with an error")


def replace(fs: Any, path: str, data: bytes, etag: str | None) -> bool:
    """Write if the object is still the version ``etag`` (None: still absent); False if it is not.

    A PUT that is sent again because the answer was lost finds the object changed, by itself: what is there then tells.
    Raises MachineError for a store that does not know its own ETag again.
    """
    if etag is None:
        return create(fs, path, data) or _is_ours(fs, path, data, _info(fs, path))
    forms = [etag, etag.strip('"')]
    for form in reversed(forms) if fs in _unquoted else forms:
        refusal = _put(fs, path, data, IfMatch=form)
        if refusal is None:
            if form != etag:
                _unquoted.add(fs)
            else:
                _unquoted.discard(fs)
            return True
        now = _info(fs, path)
        if _is_ours(fs, path, data, now):
            return True
        if now is None or now["ETag"] != etag or refusal != 412:
            return False
        # It is the version that was named, and refused all the same: the name was not understood.
    raise MachineError(
        f"s3://{path}: the store at {fs.s3.meta.endpoint_url} answers 412 to a PUT whose If-Match is the ETag that it "
        f"gave this very object ({etag}, with and without its quotes), so that nothing can be replaced there without "
        "overwriting what others wrote. Ceph's radosgw does so in a bucket with versioning. Write to a bucket without "
        "versioning, or to another store; docs/storage.md says what it must offer."
    )


def remove(fs: Any, path: str) -> None:
    """Delete the object, and those below it; fine if they are gone already.

    One DELETE for each: who may delete below a prefix only is refused a POST to the bucket that names several.
    """
    parent, _, name = path.rpartition("/")
    # A parent that ends with a slash is a key that s3fs would list without it.
    named = fs.find(parent, prefix=name) if parent and not parent.endswith("/") else fs.find(path)
    keys = [key for key in named if key == path or key.startswith(f"{path}/")]
    remove_files(fs, keys)


def remove_files(fs: Any, keys: Iterable[str]) -> None:
    """Delete these objects; fine if they are gone already."""
    with ThreadPoolExecutor(DELETES_AT_ONCE) as pool:
        for _ in pool.map(lambda key: _remove_one(fs, key), keys):
            pass


def _remove_one(fs: Any, path: str) -> None:
    with contextlib.suppress(*ABSENT):
        fs.rm_file(path)


def _info(fs: Any, path: str) -> dict[str, Any] | None:
    try:
        info: dict[str, Any] = fs.info(path)
    except ABSENT:
        return None
    return info if info["type"] == "file" else None  # there may be others below a name that is no object


def _put(fs: Any, path: str, data: bytes, **condition: str) -> int | None:
    """Write under a condition. The status of the refusal, if it does not hold: 412, 404 for an object to be replaced
    that is gone, 409 if somebody is writing at this moment; None once written.
    """
    try:
        fs.pipe_file(path, data, chunksize=ONE_PUT_BYTES, **condition)
    except OSError as error:
        status = 412 if isinstance(error, FileExistsError) else status_of(error)
        if status in (409, 412) or (status == 404 and "IfMatch" in condition):
            return status
        raise
    return None


def _is_ours(fs: Any, path: str, data: bytes, info: dict[str, Any] | None) -> bool:
    """Whether what is there is exactly ``data``."""
    if info is None or info["size"] != len(data):
        return False
    if info["ETag"].strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest():
        return True
    # With encryption, or after several parts, an ETag is no md5.
    try:
        return bool(fs.cat_file(path) == data)
    except ABSENT:
        return False
