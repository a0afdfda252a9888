"""Folders, globs, files, archive files, tables and manifests into recordings, one by one."""

import errno
import os
import posixpath
import re
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal
from urllib.parse import urlsplit

from emosphere.errors import BadRecording, ErrorCode, MachineError, UsageError
from emosphere.store import ABSENT, Location, explained, locate, unsigned
from pipelines.archive.inventory import inventory_objects, is_inventory
from pipelines.archive.members import BROKEN, ListLimits, tar_members, zip_members
from pipelines.archive.recording import Recording, content_version, modified, options_for, url_bytes
from pipelines.archive.tables import audio_values, has_audio, join_attributes, manifest_entries

SIDECARS = [
    ".csv",
    ".tsv",
    ".json",
    ".jsonl",
    ".txt",
    ".rttm",
    ".xml",
    ".md",
    ".srt",
    ".vtt",
    ".pdf",
    ".jpg",
    ".jpeg",
    ".png",
    ".gif",
    ".html",
    ".htm",
    ".log",
    ".yaml",
    ".yml",
    ".toml",
    ".lab",
    ".textgrid",
    ".eaf",
    ".ctm",
    ".stm",
    ".trn",
    ".md5",
    ".sha256",
    ".crc",
    ".ini",
    ".cfg",
    ".doc",
    ".docx",
    ".xls",
    ".xlsx",
    ".py",
    ".sh",
    ".pyc",
    ".db",
    ".sqlite",
    ".tmp",
]
"""Endings of files that accompany recordings in a folder; they are not recordings."""

LOOKED_UP_AT_ONCE, ENTRIES_PER_TURN = 16, 32
"""Threads that ask a store about the entries of a manifest, and how many each asks about at a time."""
ZIPS, TARS, TABLES, LISTS = (".zip",), (".tar", ".tar.gz", ".tgz"), (".parquet",), (".csv",)


def list_archives(
    archives: Sequence[str],
    *,
    out: Location,
    store_options: dict[str, Any] | None = None,
    limits: ListLimits | None = None,
) -> Iterator[Recording]:
    """Every recording of every archive, in a stable order; nothing below ``out``.

    What lies in two archives comes twice.

    Raises UsageError for an archive that is not there, MachineError for a store that refuses or is missing.
    """
    for archive in archives:
        location = locate(archive, **options_for(archive, store_options or {}))
        yield from _list_archive(location, out, store_options or {}, limits or ListLimits())


def _list_archive(
    location: Location, out: Location, store_options: dict[str, Any], limits: ListLimits
) -> Iterator[Recording]:
    with explained(f"list {unsigned(location.uri)}"):
        try:
            info = location.fs.info(location.path)
        except ABSENT:
            info = None
        is_web = location.path.startswith(("http://", "https://"))  # where a ? begins the query
        if info is None and not is_web and re.search(r"[*?\[]", location.path):
            matches = location.fs.glob(location.path, detail=True)
            if not matches:
                raise UsageError(f"{location.uri}: no file matches this pattern.")
            for path in sorted(matches):
                if matches[path]["type"] == "directory":
                    yield from _folder(Location(location.fs, path), out, store_options, limits)
                else:
                    yield from _open_file(Location(location.fs, path), matches[path], store_options, limits)
            return
        if info is None:
            raise _absence_error(location)
        if info["type"] == "directory":
            yield from _folder(location, out, store_options, limits)
        elif is_web and urlsplit(location.path).path.endswith("/"):
            raise UsageError(f"{location.uri}: a folder on the web cannot be listed; give a manifest of its files.")
        elif is_inventory(location):
            for one, facts in inventory_objects(location, store_options):
                if not _is_below(one, out) and not any(map(_is_hidden, one.path.split("/")[1:])):
                    yield from _open_file(one, facts, store_options, limits)
        else:
            yield from _open_file(location, info, store_options, limits, named_by="user")


def _folder(folder: Location, out: Location, store_options: dict[str, Any], limits: ListLimits) -> Iterator[Recording]:
    """Recordings below a folder or prefix, recursive, sorted by name within each listing."""
    for path, info in _files(folder):
        inside = path[len(folder.path.rstrip("/")) + 1 :]
        if not _is_below(Location(folder.fs, path), out) and not any(map(_is_hidden, inside.split("/"))):
            yield from _open_file(Location(folder.fs, path), info, store_options, limits)


def _is_below(location: Location, out: Location) -> bool:
    return type(location.fs) is type(out.fs) and location.path.startswith(out.path.rstrip("/") + "/")


def _files(folder: Location) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and facts of every file below; never the whole archive in memory."""
    if "s3" in folder.fs.protocol:
        yield from _objects(folder)
        return
    if folder.is_local:
        yield from _local_files(folder.path, [])
        return
    for root, directories, files in folder.fs.walk(folder.path, detail=True, on_error="raise"):
        for name in [name for name in directories if _is_hidden(name)]:
            del directories[name]
        for name in sorted(files):
            yield f"{root.rstrip('/')}/{name}", files[name]


def _objects(folder: Location) -> Iterator[tuple[str, dict[str, Any]]]:
    """S3 lists flat and sorted, page by page: keys with empty parts (a//b) are found too."""
    bucket, _, prefix = folder.path.partition("/")
    more: dict[str, str] = {}
    while True:
        page = folder.fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=f"{prefix}/" if prefix else "", **more)
        for entry in page.get("Contents", []):
            if not entry["Key"].endswith("/"):
                yield f"{bucket}/{entry['Key']}", {"size": entry["Size"], **entry}
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _local_files(path: str, above: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Links are followed, but never into a folder they lie in. A link to nothing is listed: it becomes a row."""
    real = os.path.realpath(path)
    if real in above:
        return
    # Names only: a folder may hold a million, and what scandir() gives for each is large.
    for name in sorted(os.listdir(path)):
        if _is_hidden(name):
            continue
        entry = os.path.join(path, name)
        try:
            status = os.stat(entry)
        except OSError as error:
            if os.path.islink(entry) and error.errno in (errno.ENOENT, errno.ELOOP):
                yield entry, {"gone": True}
            elif not isinstance(error, FileNotFoundError):
                raise
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _local_files(entry, [*above, real])
        elif stat.S_ISREG(status.st_mode):
            yield entry, {"size": status.st_size, "mtime": status.st_mtime}
        # A pipe or a device is no recording, and opening one may wait for ever.


def _open_file(
    location: Location,
    info: dict[str, Any],
    store_options: dict[str, Any],
    limits: ListLimits,
    *,
    named_by: Literal["user", "manifest"] | None = None,
) -> Iterator[Recording]:
    """The recordings of one file. ``named_by``: what is named is neither hidden nor a sidecar.

    An archive file or table that cannot be opened is itself a row, as any other file would be.
    """
    name = (urlsplit(location.path).path if "://" in location.path else location.path).rpartition("/")[2]
    lower = name.lower()
    if named_by is None and (
        _is_hidden(name) or (not lower.endswith(ZIPS + TARS + TABLES) and not _is_recording(name))
    ):
        return
    if info.get("gone"):
        yield refused_object(location, info, "NOT_FOUND", "The link leads to nothing.")
        return
    try:
        if lower.endswith(ZIPS):
            yield from zip_members(location, wanted=_is_recording, limits=limits)
        elif lower.endswith(TARS):
            yield from tar_members(location, info, wanted=_is_recording, limits=limits)
        elif lower.endswith(TABLES) and has_audio(location):
            yield from audio_values(location, info, limits)
        elif named_by == "user" and lower.endswith(TABLES + LISTS):
            yield from _manifest_recordings(location, store_options, limits)
        elif named_by == "manifest" and lower.endswith(TABLES):
            yield refused_object(location, info, "UNSUPPORTED", "The table has no column of audio.")
        elif not lower.endswith(TABLES):
            yield object_recording(location, info)
    except ABSENT:
        _check_bucket(location)
        yield refused_object(location, info, "NOT_FOUND", "It vanished while the archive was listed.")
    except PermissionError:
        if named_by == "user":
            raise
        _check_bucket(location)
        yield refused_object(location, info, "ACCESS_DENIED", "The store refuses this object to these credentials.")
    except BadRecording as reason:
        yield refused_object(location, info, reason.code, str(reason))
    except BROKEN as error:
        code: ErrorCode = "CORRUPT" if info.get("size") else "EMPTY"
        yield refused_object(location, info, code, f"Not a readable archive file or table: {error}")


def object_recording(location: Location, info: dict[str, Any], attributes: str | None = None) -> Recording:
    """A recording that is a whole object."""
    modified_us = modified(info)
    return Recording(
        source_uri=location.uri,
        kind="object",
        url=url_bytes(location),
        num_bytes=info.get("size"),
        modified_us=modified_us,
        content_version=content_version(info),
        attributes=attributes,
    )


def refused_object(location: Location, info: dict[str, Any], code: ErrorCode, message: str) -> Recording:
    """An object that is a row although nothing in it can be scored."""
    return replace(object_recording(location, info), error_code=code, error_message=message)


def _manifest_recordings(manifest: Location, store_options: dict[str, Any], limits: ListLimits) -> Iterator[Recording]:
    """What the entries of a manifest name: each must be asked for, so many are asked for at once."""
    entries = manifest_entries(manifest)
    with ThreadPoolExecutor(LOOKED_UP_AT_ONCE) as pool:
        looking_up: deque[Future[list[_Named | Recording]]] = deque()

        def look_up(some: list[tuple[str, str | None]]) -> list[_Named | Recording]:
            return [_look_up(manifest, entry, attributes, store_options) for entry, attributes in some]

        def recordings_of(looked_up: list[_Named | Recording]) -> Iterator[Recording]:
            for one in looked_up:
                if isinstance(one, Recording):
                    yield one
                else:  # an archive file may hold a million: opened here, one after the other
                    for inside in _open_file(one.location, one.info, store_options, limits, named_by="manifest"):
                        yield replace(inside, attributes=join_attributes(one.attributes, inside.attributes))

        while some := list(islice(entries, ENTRIES_PER_TURN)):
            looking_up.append(pool.submit(look_up, some))
            if len(looking_up) > LOOKED_UP_AT_ONCE:
                yield from recordings_of(looking_up.popleft().result())
        while looking_up:
            yield from recordings_of(looking_up.popleft().result())


@dataclass(frozen=True, slots=True)
class _Named:
    """What an entry of a manifest names, and the other columns of its row."""

    location: Location
    info: dict[str, Any]
    attributes: str | None


def _look_up(
    manifest: Location, entry: str, attributes: str | None, store_options: dict[str, Any]
) -> _Named | Recording:
    """What lies there, or a row that says why that cannot be known."""
    try:
        urlsplit(entry)  # ValueError for what is no address
        location = _entry_location(manifest, entry, store_options)
        info = location.fs.info(location.path)
    except ABSENT:
        _check_bucket(location)
        gone = refused_object(location, {}, "NOT_FOUND", "The manifest names it, but nothing is there.")
    except PermissionError:
        _check_bucket(location)
        gone = refused_object(location, {}, "ACCESS_DENIED", "The manifest names it, but the store refuses to show it.")
    except (UsageError, ValueError) as error:  # one odd row does not end a night
        reason = str(error) if isinstance(error, UsageError) else "The manifest names it, but this is no address."
        gone = _unreadable(entry, reason)
    else:
        if info.get("type") != "directory":
            return _Named(location, info, attributes)
        gone = refused_object(
            location, {}, "UNSUPPORTED", "The manifest names a folder; name its files, or give it as an ARCHIVE."
        )
    return replace(gone, attributes=attributes)


def _entry_location(manifest: Location, entry: str, store_options: dict[str, Any]) -> Location:
    if "://" in entry or entry.startswith("/"):
        return locate(entry, **options_for(entry, store_options))
    folder = manifest.path.rpartition("/")[0]
    location = Location(
        manifest.fs, f"{folder}/{posixpath.normpath(entry)}" if "://" not in folder else f"{folder}/{entry}"
    )
    return locate(location.path) if location.is_local else location


def _unreadable(entry: str, reason: str) -> Recording:
    """A row for an address that nothing here can open."""
    bare = re.split(r"[?#]", entry, maxsplit=1)[0]
    return Recording(
        source_uri=re.sub(r"(?<=://)[^/@]*@", "", bare),
        kind="object",
        url=os.fsencode(entry),
        error_code="UNSUPPORTED",
        error_message=reason,
    )


def _check_bucket(location: Location) -> None:
    """One object may be gone or refused; a bucket that is gone or refused is a broken machine."""
    if "s3" not in location.fs.protocol:
        return
    bucket = location.path.partition("/")[0]
    with explained(f"look into the bucket '{bucket}'"):
        location.fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=location.path.partition("/")[2], MaxKeys=1)


def _absence_error(location: Location) -> Exception:
    if location.is_local:
        return UsageError(f"{location.path}: there is no such file or folder.")
    bucket = location.path.partition("/")[0]
    if not location.path.startswith("http") and not location.fs.exists(bucket):
        return MachineError(f"{location.uri}: the bucket '{bucket}' is missing, or these credentials cannot see it.")
    return UsageError(f"{unsigned(location.uri)}: nothing is there.")


def _is_recording(path: str) -> bool:
    """Whether a file of a folder or archive counts as a recording, by its name alone."""
    *folders, name = path.replace("\\", "/").split("/")
    return not any(map(_is_hidden, [*folders, name])) and os.path.splitext(name)[1].lower() not in SIDECARS


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_")) and name not in (".", "..")
