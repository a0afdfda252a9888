"""Where bytes live: one filesystem object per store serves all reads and writes, local and remote alike."""

import contextlib
import errno
import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem

from emosphere.errors import MachineError, UsageError

ABSENT: Final = (FileNotFoundError, NotADirectoryError)
"""What a filesystem raises when something is not there."""

NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What a disk without hard links answers to one."""

_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*)://")


@dataclass(frozen=True)
class Location:
    """A file or folder: the filesystem that holds it, its key there, and the URI people know it by."""

    fs: Any
    """fsspec filesystem."""
    path: str
    """Key on that filesystem. Opened as it is: a key that looks like a chained URL stays a key."""

    @property
    def uri(self) -> str:
        """Absolute and unsigned: no query, undecodable bytes as %XX."""
        return uri_of(self.fs, self.path)

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, LocalFileSystem)

    def child(self, *names: str) -> "Location":
        return Location(self.fs, "/".join([self.path.rstrip("/"), *names]))

    def read_bytes(self) -> bytes:
        """Whole content. Raises FileNotFoundError where there is none."""
        with explained(f"read {self.uri}", absence=False):
            data: bytes = self.fs.cat_file(self.path)
        return data

    def write_bytes(self, data: bytes) -> None:
        """Replace the whole object at once: a reader sees the old bytes or the new ones, never a mixture."""
        with explained(f"write {self.uri}"):
            if not self.is_local:
                self.fs.pipe_file(self.path, data)
                return
            with self._staged(data) as staged:
                os.replace(staged, self.path)

    def create_bytes(self, data: bytes) -> bool:
        """Write only if nothing is there; False if somebody was first."""
        with explained(f"create {self.uri}"):
            try:
                if self.is_local:
                    # Whole or not at all: an empty file that a full disk or a kill left behind would stand for ever.
                    with self._staged(data) as staged:
                        _link_or_copy(staged, self.path)
                else:
                    self.fs.pipe_file(self.path, data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                if not _condition_failed(error):
                    raise
                return False
        return True

    def etag(self) -> str | None:
        """What S3 calls this version of the object; None where nothing is there, and for other stores."""
        if "s3" not in self.fs.protocol:
            return None
        with explained(f"look at {self.uri}"):
            try:
                return str(self.fs.info(self.path)["ETag"])
            except ABSENT:
                return None

    def replace_bytes(self, data: bytes, etag: str | None) -> bool:
        """Replace the object if it is still the version ``etag`` (None: still absent); False if it is not.

        Only S3 can promise that; elsewhere it is :meth:`write_bytes`.
        """
        if "s3" not in self.fs.protocol:
            self.write_bytes(data)
            return True
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        with explained(f"write {self.uri}"):
            try:
                # One PUT whatever the size: the parts of a larger upload would not hear the condition.
                self.fs.pipe_file(self.path, data, chunksize=5 << 30, **condition)
            except OSError as error:
                if not _condition_failed(error):
                    raise
                return False
        return True

    def rewrite(self, make: Callable[[], bytes], still_ours: Callable[[], None]) -> None:
        """Replace the object by what ``make`` makes of it, having read it: again, if it is another by then.

        ``still_ours`` raises where this process may not write any more; it is asked right before every try.
        """
        while True:
            etag = self.etag()
            data = make()
            still_ours()
            if self.replace_bytes(data, etag):
                return

    def publish_to(self, target: "Location") -> None:
        """Make ``target`` hold these bytes, replaced whole; on a local disk both names share one copy."""
        if not (self.is_local and target.is_local):
            target.write_bytes(self.read_bytes())
            return
        with explained(f"write {target.uri}"):
            _make_folder(os.path.dirname(target.path))
            staged = f"{os.path.dirname(target.path)}/.{uuid.uuid4().hex}.tmp"
            try:
                os.link(self.path, staged)
            except OSError:  # a disk without hard links
                target.write_bytes(self.read_bytes())
                return
            os.replace(staged, target.path)
            # rename() between two names of one file does nothing and leaves the staged name behind.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(staged)

    def exists(self) -> bool:
        with explained(f"look at {self.uri}"):
            return bool(self.fs.exists(self.path))

    def files(self) -> list[str]:
        """Keys of all files below, sorted; empty where the folder is missing."""
        with explained(f"list {self.uri}"):
            if self.is_local:
                # fsspec's own walk leaves out what it cannot list, which would look like an empty table.
                walk = os.walk(self.path, onerror=_unless_absent)
                return sorted(os.path.join(folder, name) for folder, _, names in walk for name in names)
            try:
                return sorted(self.fs.find(self.path))
            except ABSENT:
                return []

    def remove(self) -> None:
        """Delete the file or the folder with all below; fine if it is gone already."""
        with explained(f"delete {self.uri}"), contextlib.suppress(*ABSENT):
            self.fs.rm(self.path, recursive=True)

    @contextlib.contextmanager
    def _staged(self, data: bytes) -> Iterator[str]:
        folder = os.path.dirname(self.path)
        _make_folder(folder)
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


def locate(url: str, **options: Any) -> Location:
    """Location of a path or fsspec URL; ``options`` go to the filesystem (``anon``, ``requester_pays`` ...).

    Raises UsageError for a protocol nobody here speaks, naming what to install where that would help.
    """
    match = _SCHEME.match(url)
    scheme = match.group(1).lower() if match else "file"
    if scheme in ("file", "local"):
        path = url[match.end() :] if match else url
        return Location(fsspec.filesystem("file"), os.path.abspath(os.path.expanduser(path)))
    if scheme == "s3a":
        scheme, url = "s3", "s3" + url[3:]
    try:
        filesystem_class = fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise UsageError(f"{unsigned(url)}: the {scheme}:// store needs an extra package ({error}).") from error
    except ValueError as error:
        raise UsageError(
            f"{unsigned(url)}: '{scheme}' is not a protocol fsspec knows; use a path, s3://, http:// or file://."
        ) from error
    # Listings change under a running job: a cached one would hide new files and show removed ones.
    if scheme == "s3":
        options = {"use_listings_cache": False, **options}
    filesystem = filesystem_class(**options)
    path = url if scheme in ("http", "https") else url[len(scheme) + 3 :].rstrip("/")
    return Location(filesystem, path)


def uri_of(fs: Any, path: str) -> str:
    """Absolute, unsigned URI of a key: what stands in ``source_uri``."""
    path = "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in path)
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    if protocol in ("http", "https"):
        return unsigned(path)
    if isinstance(fs, LocalFileSystem):
        return f"file://{path}"
    return f"{'s3' if protocol == 's3a' else protocol}://{path}"


def unsigned(url: str) -> str:
    """The URL without query, fragment and user information: those may hold secrets."""
    if not url.lower().startswith(("http://", "https://")):
        return url
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _condition_failed(error: OSError) -> bool:
    """Whether S3 answered 412 (the condition does not hold) or 409 (somebody is writing at this moment)."""
    response = getattr(error.__cause__, "response", None) or {}
    status: int | None = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return isinstance(error, FileExistsError) or status in (409, 412)


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


def _make_folder(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError:  # kept apart from "somebody created the object first"
        raise NotADirectoryError(f"{folder} is a file, not a folder") from None


def _unless_absent(error: OSError) -> None:
    if not isinstance(error, ABSENT):
        raise error


@contextlib.contextmanager
def explained(action: str, *, absence: bool = True) -> Iterator[None]:
    """Turn what a store raises into a MachineError that says what was being done.

    With ``absence=False`` it is the caller's to deal with something that is not there.
    """
    try:
        yield
    except ABSENT as error:
        if not absence:
            raise
        raise MachineError(f"Could not {action}: {error}") from error
    except PermissionError as error:
        raise MachineError(f"Access refused: could not {action}. Check credentials and permissions.") from error
    except OSError as error:
        raise MachineError(f"Could not {action}: {error}") from error
    except Exception as error:  # botocore raises outside OSError when no credentials are found
        if type(error).__module__.startswith(("botocore", "aiobotocore", "aiohttp")):
            raise MachineError(f"Could not {action}: {error}") from error
        raise
