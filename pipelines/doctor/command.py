"""What would fail in a run, before it does: versions, codecs, model, machine, archive, OUT, encryption."""

import contextlib
import datetime
import email.utils
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Literal, NamedTuple

from emosphere.errors import BadRecording, EmosphereError, Verdict
from emosphere.redaction import redact
from emosphere.store import Location, locate, unsigned
from emosphere.tables.identity import id_key, public_uri
from pipelines.archive.fetch import Fetcher
from pipelines.archive.listing import list_archives
from pipelines.archive.recording import options_for
from pipelines.output.lease import describe
from pipelines.output.ledger import HOME, Ledger
from pipelines.output.offers import Offer, offers
from pipelines.score.run.engine import choose_engine
from pipelines.score.settings import ScoreSettings

State = Literal["ok", "warn", "fail"]
LARGEST_SKEW_S = 900
"""By how much a machine's clock may differ from S3's."""

TRIED = 20
"""Recordings looked at before an archive counts as unreadable: the first may be an empty file."""

LARGE_RUN_PARTS = 1024
"""Parts of a run that has work for every actor."""
RAY_TIMEOUT_S = 30
"""Within which a cluster answers."""
_RAY_PROGRAM = """
import ray
ray.init(log_to_driver=False, logging_level="ERROR")
held = ray.cluster_resources()
print(f"the cluster answers with Ray {ray.__version__}, {held.get('CPU', 0):g} CPUs, {held.get('GPU', 0):g} GPUs")
"""
"""Run in a process of its own: where nobody answers, Ray ends the process that asked."""


class Finding(NamedTuple):
    """One line of the report."""

    check: str
    state: State
    details: str


class Unhealthy(Verdict):
    """Something would fail; ``result`` has all findings."""


def doctor(
    archive: str | None, out: str | None, model: str = "default", settings: ScoreSettings | None = None
) -> list[Finding]:
    """All findings, without secrets; ``fail`` means that a run would not work."""
    settings = settings or ScoreSettings()
    findings = [
        *_guarded("versions", _versions),
        *_guarded("codecs", _codecs),
        *_guarded("model", lambda: _model(model, settings)),
        *_guarded("machine", _machine),
        *_guarded("engine", lambda: _engine(settings)),
    ]
    if archive is not None:
        findings += _guarded("archive", lambda: _archive(archive, settings))
    if out is not None:
        findings += _guarded("out", lambda: _out(out, settings))
    return [finding._replace(details=redact(finding.details)) for finding in findings]


def _guarded(name: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(check())
    except Exception as error:
        message = str(error) if isinstance(error, EmosphereError) else f"{type(error).__name__}: {error}"
        return [Finding(name, "fail", message)]


def _versions() -> Iterator[Finding]:
    from pipelines.cluster.host import host_facts

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

    from emosphere.audio.decode_outcome import DecodeLimits
    from emosphere.audio.decoding.child import IsolatedDecoder

    tone = (0.1 * np.sin(np.arange(48_000) * 0.05)).astype(np.float32)
    works: list[str] = []
    broken: list[str] = []
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


def _model(model: str, settings: ScoreSettings) -> Iterator[Finding]:
    from emosphere.model.checkpoint import load_checkpoint
    from emosphere.model.find import find_model

    checkpoint = load_checkpoint(find_model(model))
    settings.listen.check_model(checkpoint)
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


def _engine(settings: ScoreSettings) -> Iterator[Finding]:
    """What a run would be run by; and, if that is a cluster that was named, whether it answers, speaks this Ray's
    version and takes this user's token.
    """
    engine, small = (
        choose_engine(settings.resources, LARGE_RUN_PARTS, is_small=is_small) for is_small in (False, True)
    )
    said = str(engine) if engine == small else f"{engine}; a small run {small}"
    yield Finding("engine", "ok", said)
    if engine.pool is not None:
        return
    mode = f"authentication mode {os.environ.get('RAY_AUTH_MODE', 'token')}"
    if not os.environ.get("RAY_ADDRESS"):
        yield Finding("ray", "ok", f"a local Ray is started for such a run, {mode}")
        return
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RAY_PROGRAM], capture_output=True, text=True, timeout=RAY_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        yield Finding("ray", "fail", f"no answer from RAY_ADDRESS within {RAY_TIMEOUT_S} s, {mode}")
        return
    last_line = (done.stderr if done.returncode else done.stdout).strip().rpartition("\n")[2]
    yield Finding("ray", "fail" if done.returncode else "ok", f"{last_line}, {mode}")


def _archive(archive: str, settings: ScoreSettings) -> Iterator[Finding]:
    nowhere = locate(os.path.join(tempfile.gettempdir(), uuid.uuid4().hex))
    listed = list_archives([archive], out=nowhere, store_options=settings.store, limits=settings.archive)
    fetcher, unreadable = Fetcher(settings.fetch, settings.store), None
    try:
        for recording in islice(listed, TRIED):
            name = public_uri(recording.source_uri, id_key())
            try:
                if recording.error_code is not None:
                    raise BadRecording(recording.error_code, recording.error_message or "")
                fetcher.local_path(recording)
            except BadRecording as reason:  # a row, not the end of a night
                unreadable = unreadable or f"{name}: {reason.code}, {reason}"
                continue
            yield Finding("archive", "ok", f"readable, for one {name}")
            return
    finally:
        fetcher.close()
    if unreadable is None:
        yield Finding("archive", "fail", f"{public_uri(unsigned(archive), id_key())}: no recordings there")
    else:
        yield Finding("archive", "warn", f"none of its first recordings can be read, first {unreadable}")


def _out(out: str, settings: ScoreSettings) -> Iterator[Finding]:
    location = locate(out, **options_for(out, settings.store))
    existed = location.exists()
    try:
        found = offers(location)
    finally:
        if location.is_local and not existed:
            for folder in (location.child(HOME).path, location.path):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
    yield Finding("out", "ok", f"{location.uri}: writable, readable, deletable")
    yield _writers_apart(location, found)
    held = describe(Ledger(location).lease)
    yield Finding("lease", "warn" if held.endswith("alive") else "ok", held)
    if location.is_local:
        free = shutil.disk_usage(location.path if location.exists() else os.path.dirname(location.path)).free
        yield Finding("out disk", "ok" if free > 1 << 30 else "warn", f"{free / 2**30:.0f} GiB free")
    elif location.is_s3:
        yield _encryption(location)
        yield _clock(location)


def _writers_apart(location: Location, found: list[Offer]) -> Finding:
    """Whether the storage keeps two runs of one night apart."""
    check = "file locks" if location.is_local else "conditional writes"
    missing = [f"{offer.name}: {offer.details}" for offer in found if not offer.holds]
    if missing:
        return Finding(check, "fail", f"{' '.join(missing)} score and erase refuse to write there.")
    return Finding(check, "ok", "; ".join(f"{offer.name}: {offer.details}" for offer in found))


def _encryption(location: Location) -> Finding:
    bucket = location.path.partition("/")[0]
    without = f"bucket '{bucket}' shows no default encryption"
    try:
        response: dict[str, Any] = location.fs.call_s3("get_bucket_encryption", Bucket=bucket)
    except OSError as error:
        return Finding("encryption", "warn", f"{without} ({str(error).partition(chr(10))[0]})")
    # A bucket without one may also answer with a configuration that has no rules.
    rules = response.get("ServerSideEncryptionConfiguration", {}).get("Rules") or [{}]
    algorithm = rules[0].get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm")
    if algorithm is None:
        return Finding("encryption", "warn", f"{without} (the store answered that there is none)")
    return Finding("encryption", "ok", f"bucket default: {algorithm}")


def _clock(location: Location) -> Finding:
    """S3 refuses signatures that are a quarter of an hour off."""
    response: dict[str, Any] = location.fs.call_s3("head_bucket", Bucket=location.path.partition("/")[0])
    date = response["ResponseMetadata"]["HTTPHeaders"].get("date")
    if date is None:
        return Finding("clock", "warn", "the store does not tell its time")
    off_s = abs((email.utils.parsedate_to_datetime(date) - datetime.datetime.now(tz=datetime.UTC)).total_seconds())
    state: State = "ok"
    if off_s > LARGEST_SKEW_S:
        state = "fail"
    elif off_s > LARGEST_SKEW_S / 10:
        state = "warn"
    return Finding("clock", state, f"{off_s:.0f} s from the store's; it refuses requests beyond {LARGEST_SKEW_S} s")
