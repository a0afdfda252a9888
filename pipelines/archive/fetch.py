"""One recording's bytes onto local scratch, where a decoder can seek in them; a local file stays where it is."""

import errno
import math
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from emosphere.errors import BadRecording, EmosphereError, MachineError
from emosphere.store import Location, is_library_failure
from pipelines.archive.containers import Container, Readable, container_of
from pipelines.archive.members import BROKEN
from pipelines.archive.recording import Changed, Recording, check_version, content_version, reopen, url_bytes
from pipelines.cluster.scratch import Scratch

COPY_BYTES = 1 << 20
KEPT_OPEN, KEPT_ENTRIES = 4, 1_000_000
"""Archive files that a fetcher keeps open, and the members of which it keeps the directories."""
BROKEN_MACHINE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE}
)
"""What no recording can be blamed for."""
PASSING = frozenset({"FETCH_FAILED", "TIMED_OUT"})
"""What a store may answer once and not again: tried several times before it becomes a row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchLimits:
    """What a single recording may cost before it is decoded."""

    max_bytes: int = 16 << 30
    """Largest encoded recording; a larger one is REFUSED."""
    max_unpack_ratio: float = 1000.0
    """Most bytes a zip member may unpack to per packed byte; beyond it is taken for a bomb and REFUSED."""
    attempts: int = 4
    """Tries at a store that answers with a passing error."""
    first_pause_s: float = 0.5
    """Pause after the first try; each further one is twice as long."""

    def __post_init__(self) -> None:
        if self.max_bytes < 1 or self.attempts < 1 or not self.max_unpack_ratio > 0:
            raise ValueError(
                f"max_bytes={self.max_bytes}, attempts={self.attempts} and max_unpack_ratio={self.max_unpack_ratio} "
                "must all be above 0."
            )
        if not 0 <= self.first_pause_s < math.inf:
            raise ValueError(f"first_pause_s={self.first_pause_s} must be at least 0 and finite.")


class Fetcher:
    """Gives recordings a local path. Keeps the last one, because the units of one recording come one after another."""

    def __init__(self, limits: FetchLimits, store_options: dict[str, Any]) -> None:
        self._limits = limits
        self._store_options = store_options
        self._folder = Scratch("fetch")
        self._scratch = self._folder.path
        self._kept: tuple[str, str] | None = None
        self._open: dict[bytes, Container] = {}

    def close(self) -> None:
        """Wipe the scratch folder."""
        for url in list(self._open):
            self._close(url)
        self._folder.close()

    def local_path(self, recording: Recording) -> str:
        """Path of a file with the recording's bytes, valid until the next call.

        Raises BadRecording for what concerns this recording alone, MachineError when the store itself is gone.
        """
        location = reopen(recording.url, self._store_options)
        if recording.num_bytes == 0:
            raise BadRecording("EMPTY", "The recording has no bytes.")
        if recording.num_bytes and recording.num_bytes > self._limits.max_bytes:
            raise BadRecording(
                "REFUSED", f"{recording.num_bytes} bytes are more than the limit of {self._limits.max_bytes}."
            )
        for attempt in range(1, self._limits.attempts + 1):
            try:
                with self.failures_explained(recording), self._damage_explained(location):
                    if recording.kind == "object" and location.is_local:
                        with open(location.path, "rb"):  # unreadable files are told apart from undecodable ones
                            self.check_unchanged(recording)
                            return str(location.path)
                    return self._copy_of(recording, location)
            except BadRecording as reason:
                if isinstance(reason, Changed) or reason.code not in PASSING or attempt == self._limits.attempts:
                    raise
                time.sleep(self._limits.first_pause_s * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    def check_unchanged(self, recording: Recording) -> None:
        """Raise Changed if a local file, which is decoded where it lies, is not the version that was listed."""
        location = reopen(recording.url, self._store_options)
        if recording.kind != "object" or not location.is_local:
            return  # copied at once, in one version
        with self.failures_explained(recording):
            status = os.stat(location.path)
            check_version(recording, content_version({"size": status.st_size, "mtime": status.st_mtime}))

    def _copy_of(self, recording: Recording, location: Location) -> str:
        if self._kept is not None:
            uri, path = self._kept
            if uri == recording.source_uri:
                return path
            self._kept = None
            with suppress(FileNotFoundError):
                os.unlink(path)
        path = os.path.join(self._scratch, "recording")
        with self._source(recording, location) as source, open(path, "wb") as target:
            remaining = self._limits.max_bytes
            while chunk := source.read(COPY_BYTES):
                remaining -= len(chunk)
                if remaining < 0:
                    raise BadRecording("REFUSED", f"It holds more than the limit of {self._limits.max_bytes} bytes.")
                target.write(chunk)
        self._kept = (recording.source_uri, path)
        return path

    def _source(self, recording: Recording, location: Location) -> AbstractContextManager[Readable]:
        if recording.kind == "object":
            return _object(recording, location)
        return self._container(recording, location).open(recording, self._limits.max_unpack_ratio)

    def _container(self, recording: Recording, location: Location) -> Container:
        """What holds this recording. A few stay open: duplicates stand in several."""
        key = url_bytes(location)
        container = self._open.pop(key, None)
        kind = container_of(recording)
        if not isinstance(container, kind):
            if container is not None:
                container.close()
            container = kind(location)
        self._open[key] = container  # the last one used stands last
        while len(self._open) > KEPT_OPEN or (
            len(self._open) > 1 and sum(one.num_entries for one in self._open.values()) > KEPT_ENTRIES
        ):
            self._close(next(iter(self._open)))
        return container

    def _close(self, url: bytes) -> None:
        if (container := self._open.pop(url, None)) is not None:
            container.close()

    @contextmanager
    def failures_explained(self, recording: Recording) -> Iterator[None]:
        """Turn what the system and the stores raise into BadRecording where it concerns this recording alone, and into
        MachineError where nothing else could be read either. Also for what reads the file that :meth:`local_path` gave.
        """
        location = reopen(recording.url, self._store_options)
        try:
            yield
        except BadRecording:
            raise
        except FileNotFoundError as error:
            refusal = error.__cause__  # fsspec calls every refusal of a web server "not found"
            if refusal is not None and hasattr(refusal, "status"):
                raise _client_failure(refusal) from error
            if not os.path.isdir(self._scratch) or (self._kept is not None and not os.path.exists(self._kept[1])):
                raise MachineError(f"Something wiped the scratch folder {self._scratch}. Run again.") from error
            self._check_store(location, error)
            raise BadRecording("NOT_FOUND", "It was there when the archive was listed and is gone now.") from error
        except PermissionError as error:
            if "InvalidObjectState" in f"{error} {error.__cause__}":
                raise BadRecording("ARCHIVED", "It lies in an archive tier and must be restored first.") from error
            self._check_store(location, error)
            raise BadRecording("ACCESS_DENIED", "The store refuses this object to these credentials.") from error
        except TimeoutError as error:
            raise BadRecording("TIMED_OUT", "The store did not answer in time.") from error
        except OSError as error:
            if error.errno in BROKEN_MACHINE:
                raise MachineError(
                    f"{error.strerror or error} (scratch folder {self._scratch}). Free what is short or mend the disk; "
                    "then run again."
                ) from error
            raise BadRecording("FETCH_FAILED", f"Fetching failed: {error}") from error
        except Exception as error:
            # The S3 and web clients raise outside OSError.
            if not is_library_failure(error):
                raise
            raise _client_failure(error) from error

    @contextmanager
    def _damage_explained(self, location: Location) -> Iterator[None]:
        """What the readers of archive files and tables raise. The next recording opens the file anew."""
        try:
            yield
        except KeyError as error:
            self._close(url_bytes(location))
            raise BadRecording("NOT_FOUND", "The archive file no longer holds this member.") from error
        except BROKEN as error:
            self._close(url_bytes(location))
            raise BadRecording("CORRUPT", f"The archive file is damaged here: {error}") from error
        except Exception as error:
            if isinstance(error, OSError) or is_library_failure(error):
                self._close(url_bytes(location))
            raise

    def _check_store(self, location: Location, error: Exception) -> None:
        """A refusal is one recording's fate only while the bucket, or the folder, itself answers."""
        if location.path.startswith(("http://", "https://")):
            return
        try:
            if location.is_local:
                os.stat(os.path.dirname(location.path))
            else:
                bucket, _, key = location.path.partition("/")
                location.fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=key.rpartition("/")[0], MaxKeys=1)
        except FileNotFoundError:
            if location.is_local:
                return  # a folder that vanished takes its recordings along; its parent is for listing to judge
            raise MachineError(f"The bucket of {location.uri} is gone.") from error
        except OSError as failure:
            raise MachineError(
                f"{location.uri}: the store refuses the whole bucket ({failure}). Check credentials; then run again."
            ) from error


@contextmanager
def _object(recording: Recording, location: Location) -> Iterator[Readable]:
    with location.fs.open(location.path, "rb") as source:
        if "s3" in location.fs.protocol:  # which refuses to give the rest of it, too, once it is another version
            check_version(recording, content_version(source.details))
        yield source


def _client_failure(error: BaseException) -> EmosphereError:
    """What an S3 or web client's error means. Its text may hold a signed URL and is not passed on."""
    name, status = type(error).__name__, getattr(error, "status", None)
    if "Credential" in name or "Token" in name:
        return MachineError(
            f"No credentials for the store ({name}). Give this machine a role or a profile; then run again."
        )
    if status in (401, 403):
        return BadRecording("ACCESS_DENIED", f"The web server refuses it (status {status}).")
    if status in (404, 410):
        return BadRecording("NOT_FOUND", f"The web server does not have it (status {status}).")
    return BadRecording("FETCH_FAILED", f"Fetching failed: {name}" + (f", status {status}" if status else ""))
