"""Folders, globs, files, archive files, tables and manifests into recordings, one by one."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from emosphere.errors import MachineError, UsageError
from emosphere.store import ABSENT, Location, explained, locate, unsigned
from pipelines.archive.members import tar_members, zip_members
from pipelines.archive.recording import Recording, content_version, modified, options_for, url_bytes
from pipelines.archive.tables import audio_cells, is_table_of_audio, manifest_entries

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

ZIPS, TARS, TABLES, LISTS = (".zip",), (".tar", ".tar.gz", ".tgz"), (".parquet",), (".csv",)


def list_archives(
    archives: Sequence[str], *, out: Location, store_options: dict[str, Any] | None = None
) -> Iterator[Recording]:
    """Every recording of every archive, each once, in a stable order; nothing below ``out``.

    Raises UsageError for an archive that is not there, MachineError for a store that refuses or is missing.
    """
    seen: set[bytes] = set()
    for archive in archives:
        location = locate(archive, **options_for(archive, store_options or {}))
        for recording in _list_archive(location, out, store_options or {}):
            identity = hashlib.blake2b(recording.source_uri.encode(), digest_size=12).digest()
            if identity not in seen:
                seen.add(identity)
                yield recording


def _list_archive(location: Location, out: Location, store_options: dict[str, Any]) -> Iterator[Recording]:
    with explained(f"list {location.uri}"):
        try:
            info = location.fs.info(location.path)
        except ABSENT:
            info = None
        is_web = location.path.startswith(("http://", "https://"))  # where a ? begins the query
        if info is None and not is_web and re.search(r"[*?\[]", location.path):
            found = location.fs.glob(location.path, detail=True)
            if not found:
                raise UsageError(f"{location.uri}: no file matches this pattern.")
            for path in sorted(found):
                if found[path]["type"] == "file":
                    yield from _open_file(Location(location.fs, path), found[path], store_options, chosen=False)
                else:
                    yield from _walk(Location(location.fs, path), out, store_options)
            return
        if info is None:
            raise _absent(location)
        if info["type"] == "directory":
            yield from _walk(location, out, store_options)
        else:
            yield from _open_file(location, info, store_options, chosen=True)


def _walk(folder: Location, out: Location, store_options: dict[str, Any]) -> Iterator[Recording]:
    """Recursive, one directory in memory at a time, sorted by name."""

    def refuse(error: Exception) -> None:
        raise error

    for root, directories, files in folder.fs.walk(folder.path, detail=True, on_error=refuse):
        # walk() goes into what is left in `directories`: hidden folders and OUT itself are taken out here.
        for name in list(directories):
            inside = directories[name]["name"].rstrip("/")
            if _hidden(name) or (inside == out.path.rstrip("/") and type(folder.fs) is type(out.fs)):
                del directories[name]
        for name in sorted(files):
            # A pipe or a device is no recording, and opening one may wait for ever.
            if name and files[name]["type"] == "file":
                yield from _open_file(
                    Location(folder.fs, f"{root.rstrip('/')}/{name}"), files[name], store_options, chosen=False
                )


def _open_file(
    location: Location, info: dict[str, Any], store_options: dict[str, Any], *, chosen: bool
) -> Iterator[Recording]:
    """The recordings of one file. ``chosen``: named by the user, so neither hidden nor a sidecar."""
    name = location.path.rpartition("/")[2]
    lower = name.lower()
    if not chosen and _hidden(name):
        return
    if lower.endswith(ZIPS):
        yield from zip_members(location, info, wanted=_is_recording)
    elif lower.endswith(TARS):
        yield from tar_members(location, info, wanted=_is_recording)
    elif lower.endswith(TABLES) and is_table_of_audio(location):
        yield from audio_cells(location, info)
    elif chosen and lower.endswith(TABLES + LISTS):
        for entry, attributes in manifest_entries(location):
            yield _manifest_recording(location, entry, attributes, store_options)
    elif chosen or (_is_recording(name) and not lower.endswith(TABLES)):
        yield object_recording(location, info)


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


def _manifest_recording(
    manifest: Location, entry: str, attributes: str | None, store_options: dict[str, Any]
) -> Recording:
    if "://" not in entry and not entry.startswith("/"):
        location = Location(manifest.fs, f"{manifest.path.rpartition('/')[0]}/{entry}")
    else:
        location = locate(entry, **options_for(entry, store_options))
    try:
        return object_recording(location, location.fs.info(location.path), attributes)
    except ABSENT:
        code, message = "NOT_FOUND", "The manifest names it, but nothing is there."
    except PermissionError:
        code, message = "ACCESS_DENIED", "The manifest names it, but the store refuses to show it."
    return Recording(
        source_uri=location.uri,
        kind="object",
        url=url_bytes(location),
        attributes=attributes,
        error_code=code,  # type: ignore[arg-type]
        error_message=message,
    )


def _absent(location: Location) -> Exception:
    if location.is_local:
        return UsageError(f"{location.path}: there is no such file or folder.")
    bucket = location.path.partition("/")[0]
    if not location.path.startswith("http") and not location.fs.exists(bucket):
        return MachineError(f"{location.uri}: the bucket '{bucket}' is missing, or these credentials cannot see it.")
    return UsageError(f"{unsigned(location.uri)}: nothing is there.")


def _is_recording(path: str) -> bool:
    """Whether a file of a folder or archive counts as a recording, by its name alone."""
    *folders, name = path.replace("\\", "/").split("/")
    return not any(map(_hidden, [*folders, name])) and os.path.splitext(name)[1].lower() not in SIDECARS


def _hidden(name: str) -> bool:
    return name.startswith((".", "_")) and name not in (".", "..")
