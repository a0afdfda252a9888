"""What would fail in a run, before it does: versions, codecs, model, machine, archive, OUT, encryption."""

import contextlib
import datetime
import email.utils
import io
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

from emosphere.data.identity import id_key, public_uri
from emosphere.errors import EmosphereError, MachineError
from emosphere.redaction import redact
from emosphere.store import Location, locate
from pipelines.lease import describe
from pipelines.ledger import HOME

State = Literal["ok", "warn", "fail"]
LARGEST_SKEW_S = 900
"""By how much a machine's clock may differ from S3's."""


class Finding(NamedTuple):
    """One line of the report."""

    check: str
    state: State
    found: str


class Unhealthy(MachineError):
    """Something would fail; ``result`` has all findings."""

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


def check_up(archive: str | None, out: str | None, model: str = "default") -> list[Finding]:
    """All findings; ``fail`` means that a run would not work."""
    findings = [
        *_guarded("versions", _versions),
        *_guarded("codecs", _codecs),
        *_guarded("model", lambda: _model(model)),
        *_guarded("machine", _machine),
        *_guarded("ray", _ray),
    ]
    if archive is not None:
        findings += _guarded("archive", lambda: _archive(archive))
    if out is not None:
        findings += _guarded("out", lambda: _out(out))
    return findings


def _guarded(name: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(check())
    except EmosphereError as error:
        return [Finding(name, "fail", redact(str(error)))]
    except Exception as error:
        return [Finding(name, "fail", redact(f"{type(error).__name__}: {error}"))]


def _versions() -> Iterator[Finding]:
    from pipelines.host import host_facts

    facts = host_facts()
    yield Finding(
        "versions", "ok", ", ".join(f"{name} {facts[name]}" for name in ("emosphere", "python", "ray", "torch"))
    )
    pair = [str(facts[name]).partition("+")[0].rpartition(".")[0] for name in ("torch", "torchaudio")]
    yield Finding(
        "torch pair",
        "ok" if pair[0] == pair[1] else "fail",
        f"torch {facts['torch']}, torchaudio {facts['torchaudio']}",
    )


def _codecs() -> Iterator[Finding]:
    """Decode a second of each format that this machine can also write: the whole road, child process included."""
    import numpy as np
    import soundfile

    from emosphere.audio.decode import DecodeLimits
    from emosphere.audio.isolation import IsolatedDecoder

    tone = (0.1 * np.sin(np.arange(48_000) * 0.05)).astype(np.float32)
    works, broken = [], []
    with tempfile.TemporaryDirectory() as folder, IsolatedDecoder(DecodeLimits()) as decoder:
        for ending, subtype in (("wav", "ULAW"), ("flac", None), ("mp3", None), ("ogg", "VORBIS"), ("ogg", "OPUS")):
            path = os.path.join(folder, f"tone.{ending}")
            soundfile.write(path, tone, 48_000, subtype=subtype)
            num_samples = sum(block.shape[1] for block in decoder.open(path))
            (works if abs(num_samples - 16_000) < 800 else broken).append((subtype or ending).lower())
    import av

    works += [name for name in ("aac", "amrnb", "opus") if name in av.codecs_available and name not in works]
    yield Finding(
        "codecs", "fail" if broken else "ok", f"decode: {', '.join(works)}" + (f"; broken: {broken}" if broken else "")
    )


def _model(model: str) -> Iterator[Finding]:
    from emosphere.model.checkpoint import load_checkpoint
    from emosphere.model.find import find_model

    checkpoint = load_checkpoint(find_model(model))
    yield Finding("model", "ok", f"{checkpoint.name}-{checkpoint.digest}, licence {checkpoint.licence}")


def _machine() -> Iterator[Finding]:
    import torch

    cpus = os.cpu_count() or 1
    yield Finding("cpus", "ok", f"{cpus} cores, {torch.get_num_threads()} torch threads")
    if torch.cuda.is_available():
        yield Finding("gpu", "ok", torch.cuda.get_device_name())
    else:
        yield Finding("gpu", "warn", "none: fine for the bundled model, slow for WavLM-Large")
    free = shutil.disk_usage(tempfile.gettempdir()).free
    yield Finding("scratch", "ok" if free > 8 << 30 else "warn", f"{free / 2**30:.0f} GiB free in the temporary folder")


def _ray() -> Iterator[Finding]:
    address = os.environ.get("RAY_ADDRESS")
    mode = os.environ.get("RAY_AUTH_MODE", "disabled")
    where = f"cluster at {address}" if address else "a local Ray is started for each run"
    yield Finding("ray", "ok", f"{where}, authentication mode {mode}")


def _archive(archive: str) -> Iterator[Finding]:
    from pipelines.archive.listing import list_archives

    nowhere = locate(os.path.join(tempfile.gettempdir(), uuid.uuid4().hex))
    first = next(iter(list_archives([archive], out=nowhere)), None)
    if first is None:
        yield Finding("archive", "fail", f"{archive}: no recordings there")
        return
    from pipelines.archive.fetch import Fetcher, FetchLimits

    fetcher = Fetcher(FetchLimits(), {})
    try:
        fetcher.local_path(first)
        yield Finding("archive", "ok", f"readable, first recording {public_uri(first.source_uri, id_key())}")
    finally:
        fetcher.close()


def _out(out: str) -> Iterator[Finding]:
    location = locate(out)
    probe = location.child("_emosphere", f"doctor-{uuid.uuid4().hex}")
    existed = location.exists()
    probe.write_bytes(b"written by emosphere doctor\n")
    try:
        same = probe.read_bytes() == b"written by emosphere doctor\n"
    finally:
        probe.remove()
        if location.is_local and not existed:
            for folder in (location.child("_emosphere").path, location.path):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
    yield Finding("out", "ok" if same else "fail", f"{location.uri}: writable, readable, deletable")
    held = describe(location.child(HOME, "lease"))
    yield Finding("lease", "warn" if held.endswith("alive") else "ok", held)
    if location.is_local:
        free = shutil.disk_usage(location.path if location.exists() else os.path.dirname(location.path)).free
        yield Finding("out disk", "ok" if free > 1 << 30 else "warn", f"{free / 2**30:.0f} GiB free")
    elif "s3" in location.fs.protocol:
        yield _encryption(location)
        yield _clock(location)
        yield _conditional(location)


def _encryption(location: Location) -> Finding:
    bucket = location.path.partition("/")[0]
    try:
        answer: dict[str, Any] = location.fs.call_s3("get_bucket_encryption", Bucket=bucket)
        rule = answer["ServerSideEncryptionConfiguration"]["Rules"][0]["ApplyServerSideEncryptionByDefault"]
        return Finding("encryption", "ok", f"bucket default: {rule['SSEAlgorithm']}")
    except Exception as error:
        text = io.StringIO(str(error)).readline().strip()
        return Finding("encryption", "warn", f"bucket '{bucket}' shows no default encryption ({text})")


def _clock(location: Location) -> Finding:
    """S3 refuses signatures that are a quarter of an hour off."""
    answer: dict[str, Any] = location.fs.call_s3("head_bucket", Bucket=location.path.partition("/")[0])
    told = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if told is None:
        return Finding("clock", "warn", "the store does not tell its time")
    off_s = abs((email.utils.parsedate_to_datetime(told) - datetime.datetime.now(tz=datetime.UTC)).total_seconds())
    state: State = "fail" if off_s > LARGEST_SKEW_S else "warn" if off_s > LARGEST_SKEW_S / 10 else "ok"
    return Finding("clock", state, f"{off_s:.0f} s from the store's; it refuses requests beyond {LARGEST_SKEW_S} s")


def _conditional(location: Location) -> Finding:
    """Without conditional writes, nothing keeps two runs of one night apart."""
    probe = location.child("_emosphere", f"doctor-{uuid.uuid4().hex}")
    try:
        holds = probe.create_bytes(b"1") and not probe.create_bytes(b"2")
    finally:
        probe.remove()
    told = "the store honours If-None-Match" if holds else "the store overwrites what it was told to create only"
    return Finding("conditional writes", "ok" if holds else "fail", told)
