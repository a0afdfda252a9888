"""A file or folder of a store: how it is found by its URL, read, and written whole."""

import contextlib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem

from emosphere.errors import UsageError
from emosphere.store import disk, s3
from emosphere.store.disk import Within
from emosphere.store.explain import ABSENT, explained, tries

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

    @property
    def is_s3(self) -> bool:
        return "s3" in self.fs.protocol

    def child(self, *names: str) -> "Location":
        return Location(self.fs, "/".join([self.path.rstrip("/"), *names]))

    def read_bytes(self) -> bytes:
        """Whole content. Raises FileNotFoundError where there is none."""
        with explained(f"read {self.uri}", absence=False):
            data: bytes = self.fs.cat_file(self.path)
        return data

    def write_bytes(self, data: bytes, within: Within = contextlib.nullcontext) -> None:
        """Replace the whole object at once: a reader sees the old bytes or the new ones, never a mixture.

        ``within`` is entered for the moment of it.
        """
        with explained(f"write {self.uri}"):
            if self.is_local:
                disk.replace(self.path, data, within)
                return
            with within():
                self.fs.pipe_file(self.path, data)

    def create_bytes(self, data: bytes, within: Within = contextlib.nullcontext) -> bool:
        """Write only if nothing is there; False if somebody was first. ``within`` is entered for the moment of it.

        A store that repeats a request whose answer was lost may call our own object somebody else's.
        """
        with explained(f"create {self.uri}"):
            try:
                if self.is_local:
                    disk.create(self.path, data, within)
                    return True
                with within():
                    if self.is_s3:
                        return s3.create(self.fs, self.path, data)
                    self.fs.pipe_file(self.path, data, mode="create")
            except FileExistsError:
                return False
        return True

    def etag(self) -> str | None:
        """What S3 calls this version of the object; None where nothing is there, and for other stores."""
        if not self.is_s3:
            return None
        with explained(f"look at {self.uri}"):
            return s3.etag(self.fs, self.path)

    def replace_bytes(self, data: bytes, etag: str | None) -> bool:
        """Replace the object if it is still the version ``etag`` (None: still absent); False if it is not.

        Only S3 can promise that; elsewhere it is :meth:`write_bytes`. Raises MachineError for a store that speaks S3
        but does not know its own ETags again.
        """
        if not self.is_s3:
            self.write_bytes(data)
            return True
        with explained(f"write {self.uri}"):
            return s3.replace(self.fs, self.path, data, etag)

    def rewrite(self, make: Callable[[], bytes], still_ours: Callable[[], None]) -> None:
        """Replace the object by what ``make`` makes of it, having read it: again, if it is another by then.

        ``still_ours`` raises where this process may not write any more; it is asked right before every try. Raises
        MachineError as :func:`tries` does.
        """
        for _ in tries(f"write {self.uri}"):
            etag = self.etag()
            data = make()
            still_ours()
            if self.replace_bytes(data, etag):
                return

    def publish_to(self, target: "Location", within: Within = contextlib.nullcontext) -> None:
        """Make ``target`` hold these bytes, replaced whole; on a local disk both names share one copy. ``within`` is
        entered for the moment of it.
        """
        if self.is_local and target.is_local:
            with explained(f"write {target.uri}"):
                if disk.link(self.path, target.path, within):
                    return
        target.write_bytes(self.read_bytes(), within)

    def exists(self) -> bool:
        with explained(f"look at {self.uri}"):
            return bool(self.fs.exists(self.path))

    def files(self) -> list[str]:
        """Keys of all files below, sorted; empty where the folder is missing."""
        with explained(f"list {self.uri}"):
            if self.is_local:
                return disk.files(self.path)
            try:
                return sorted(self.fs.find(self.path))
            except ABSENT:
                return []

    def remove(self) -> None:
        """Delete the file or the folder with all below; fine if it is gone already."""
        with explained(f"delete {self.uri}"), contextlib.suppress(*ABSENT):
            if self.is_s3:
                s3.remove(self.fs, self.path)
            else:
                self.fs.rm(self.path, recursive=True)

    def remove_files(self, paths: Iterable[str]) -> None:
        """Delete files of the same filesystem; fine if they are gone already."""
        with explained(f"delete files below {self.uri}"):
            if self.is_s3:
                s3.remove_files(self.fs, paths)
                return
            for path in paths:
                with contextlib.suppress(*ABSENT):
                    self.fs.rm_file(path)


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
