"""Labelled corpus -> canonical manifest: read, check, hear how long each clip is, write."""

import hashlib
import io
import json
import logging
import math
import posixpath
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import soundfile

from emosphere.audio.decode_outcome import MODEL_RATE_HZ
from emosphere.clips.manifest import write_manifest
from emosphere.clips.rows import PLACE, Corpus, Dropped, Row, parse_scale, uri_for
from emosphere.corpora.audformat import ROLES as AUDFORMAT_ROLES
from emosphere.corpora.audformat import read_audformat
from emosphere.corpora.audio import clip_ms, clip_samples
from emosphere.corpora.checks import (
    centred_rows,
    check_any_left,
    check_audio,
    check_speakers,
    count_reasons,
    dropped_csv,
)
from emosphere.corpora.iemocap import read_iemocap
from emosphere.corpora.in_house import split_in_house
from emosphere.corpora.msp_podcast import RELEASES, read_msp_podcast
from emosphere.corpora.table import parse_columns, read_table, read_words
from emosphere.errors import BadRecording, MachineError, UsageError
from emosphere.store import Location, locate

LOG = logging.getLogger("emosphere.prepare")

OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "msp-podcast": ("release", "drop", "in_house_test", "seed", "audio"),
    "iemocap": ("test_session", "dev_session"),
    "audformat": ("scale", "columns", "tables", "split"),
    "csv": ("scale", "words", "columns", "corpus", "split", "audio"),
    "parquet": ("scale", "columns", "corpus", "split", "audio"),
}
"""Formats, and the options that mean something to each."""

FULL_SCALE: Final = 32_768
"""Of samples of 16 bits."""
DISK_THREADS, STORE_THREADS = 8, 32
"""Headers read at once; from a store each one waits for an answer."""
BATCH = 64
"""Clips that one task of Ray Data decodes."""
SUMS: Final = ("num_samples", "sum", "sum_of_squares")
"""What a decoded clip adds to the moments of all: of its samples as whole numbers of 16 bits."""
MOMENTS_OF: Final = "train"
"""Split over whose waveforms mean and deviation are taken."""
REPORT_EVERY = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareRequest:
    """One ``emosphere prepare`` command. None: not given."""

    source: str
    format: str
    out: str
    release: str | None = None
    drop: str | None = None
    in_house_test: int | None = None
    seed: int | None = None
    test_session: int | None = None
    dev_session: int | None = None
    scale: str | None = None
    words: bool | None = None
    columns: str | None = None
    tables: str | None = None
    corpus: str | None = None
    split: str | None = None
    audio: str | None = None
    shards: str | None = None
    drop_missing: bool = False
    drop_bad_labels: bool = False
    allow_shared_speakers: bool = False
    dry_run: bool = False


def prepare(request: PrepareRequest) -> dict[str, Any]:
    """Write the manifest that ``request`` describes; returns a JSON-ready summary.

    Nothing is written on a dry run, nor when something is refused, save the list of clips that cannot be decoded.
    """
    started = time.monotonic()
    out = _open_out(request)
    corpus = _read(request)
    rows, dropped = centred_rows(corpus, drop_bad_labels=request.drop_bad_labels)
    dropped = corpus.dropped + dropped
    check_any_left(rows, dropped)
    notes = corpus.notes + check_speakers(rows, allow_shared=request.allow_shared_speakers)
    if request.in_house_test:
        # Before hours of decoding: are there enough clips at all?
        split_in_house(rows, request.in_house_test, seed=request.seed or 0)
    decoded, bad = _decode_clips(rows, request)
    listed = Location(out.fs, f"{out.path.removesuffix('.parquet')}.dropped.csv")
    if bad and not request.dry_run:
        listed.write_bytes(dropped_csv([*dropped, *bad]))
    check_audio(
        bad, len(rows), drop_missing=request.drop_missing, listed_in=None if request.dry_run else uri_for(listed)
    )
    dropped += bad
    check_any_left(decoded, dropped)
    if request.in_house_test:
        decoded, note = split_in_house(decoded, request.in_house_test, seed=request.seed or 0)
        notes.append(note)
    waveform = waveform_moments(decoded)
    if not request.dry_run:
        write_manifest([row | row.get("shard", {}) for row in decoded], out, about=waveform)
        if dropped:
            listed.write_bytes(dropped_csv(dropped))
        else:
            listed.remove()  # of an earlier run
    return {
        "out": uri_for(out),
        **_tally(decoded),
        "parts": _parts(decoded),
        "waveform": waveform,
        "dropped": count_reasons(dropped),
        "dropped_list": uri_for(listed) if dropped and not request.dry_run else None,
        "notes": notes,
        "dry_run": request.dry_run,
        "wall_s": round(time.monotonic() - started, 1),
    }


def waveform_moments(rows: Sequence[Row]) -> dict[str, float] | None:
    """Mean and deviation of all samples of the training clips, full scale 1; None where nothing was decoded.

    What EmoSphere-SER normalises its input by (design/method.md 3.1), whole clips, population moments.
    """
    sums = [row["sums"] for row in rows if row["split"] == MOMENTS_OF and "sums" in row]
    if not sums:
        return None
    # In whole numbers of any size: hundreds of hours are added up without rounding.
    count, first, second = (sum(column) for column in zip(*sums, strict=True))
    mean = first / count / FULL_SCALE
    variance = (count * second - first**2) / count**2 / FULL_SCALE**2
    return {"waveform_mean": mean, "waveform_std": math.sqrt(variance)}


def _open_out(request: PrepareRequest) -> Location:
    if request.format not in OPTIONS:
        raise UsageError(f"--format {request.format!r} is not one of {', '.join(OPTIONS)}.")
    every = dict.fromkeys(name for names in OPTIONS.values() for name in names)
    strange = [name for name in every if getattr(request, name) is not None and name not in OPTIONS[request.format]]
    if strange:
        words = ", ".join(f"--{name.replace('_', '-')}" for name in strange)
        raise UsageError(f"{words}: means nothing to --format {request.format}.")
    for name, value in (("--out", request.out), ("--shards", request.shards or "")):
        if value.startswith(("http://", "https://")):
            raise UsageError(f"{name} cannot be written over http; use a path or s3://.")
    if not request.out.endswith(".parquet"):
        raise UsageError(f"--out {request.out}: a manifest is a file that ends in .parquet.")
    return locate(request.out)


def _read(request: PrepareRequest) -> Corpus:
    source = locate(request.source)
    audio = locate(request.audio) if request.audio else None
    scale = parse_scale(request.scale) if request.scale else None
    if request.format == "msp-podcast":
        if request.release is None:
            raise UsageError(f"Which release is it? --release {'|'.join(RELEASES)}; results of two never compare.")
        drop = "X,O" if request.drop is None else request.drop
        letters = [letter.strip() for letter in drop.split(",") if letter.strip()]
        return read_msp_podcast(source, release=request.release, drop=letters, audio=audio)
    if request.format == "iemocap":
        test, dev = request.test_session, request.dev_session
        return read_iemocap(source, test_session=5 if test is None else test, dev_session=4 if dev is None else dev)
    if request.format == "audformat":
        tables = [name.strip() for name in (request.tables or "").split(",") if name.strip()]
        columns = parse_columns(request.columns, AUDFORMAT_ROLES)
        return read_audformat(source, scale=scale, columns=columns, tables=tables, split=request.split)
    if not source.path.endswith(f".{request.format}"):
        raise UsageError(f"{request.source}: --format {request.format} wants a file that ends in .{request.format}.")
    if request.words:
        given = [name for name in OPTIONS["csv"] if name != "words" and getattr(request, name) is not None]
        if given:
            raise UsageError(f"--words leaves no room for --{', --'.join(given)}: its columns and scale are fixed.")
        return read_words(source)
    return read_table(
        source, scale=scale, columns=parse_columns(request.columns), corpus=request.corpus, split=request.split,
        audio=audio,
    )  # fmt: skip


def _decode_clips(rows: Sequence[Row], request: PrepareRequest) -> tuple[list[Row], list[Dropped]]:
    """Rows with ``duration_ms`` (and ``shard``, what a decoded copy changes in them), and those without audio."""
    found = _decoded(rows, request.shards) if request.shards and not request.dry_run else _probed(rows)
    decoded: list[Row] = []
    bad: list[Dropped] = []
    for number, (row, answer) in enumerate(zip(rows, found, strict=True), start=1):
        if isinstance(answer, dict):
            decoded.append(row | answer)
        else:
            bad.append(Dropped(row["uri"], answer[0], answer[1], row["where"]))
        if number % REPORT_EVERY == 0:
            LOG.info("prepare: heard %d of %d clips, %d of them bad", number, len(rows), len(bad))
    return decoded, bad


Answer = dict[str, Any] | tuple[str, str]
"""What is new in a row, or the code and message of why there is nothing."""


def _probed(rows: Sequence[Row]) -> Iterator[Answer]:
    remote = any("://" in row["uri"] for row in rows)
    with ThreadPoolExecutor(STORE_THREADS if remote else DISK_THREADS) as pool:
        for first in range(0, len(rows), REPORT_EVERY):  # the pool would make a task of every row at once
            yield from pool.map(_probe, rows[first : first + REPORT_EVERY])


def _probe(row: Row) -> Answer:
    return _answer(lambda: {"duration_ms": clip_ms(row)})


def _decoded(rows: Sequence[Row], shards: str) -> Iterator[Answer]:
    """Decode each clip into a FLAC file below ``shards``, many at once on Ray Data, and answer in the rows' order."""
    import ray

    from pipelines.cluster.resources import connect

    folder = locate(shards)
    connect()
    # As JSON: a column of nulls, such as the ends of whole files, would have no type.
    items = [
        {"number": number, "clip": json.dumps({name: row.get(name) for name in PLACE})}
        for number, row in enumerate(rows)
    ]
    target = str(folder.path) if folder.is_local else folder.uri
    # A task for each batch: left alone, Ray would give every clip a task of its own.
    dataset = ray.data.from_items(items, override_num_blocks=-(-len(items) // BATCH))
    clips = dataset.map_batches(partial(decode_batch, shards=target), batch_size=BATCH)
    try:
        answers = clips.take_all()
    except ray.exceptions.RayError as error:
        # What a task raised comes as the text of its trace.
        said = [line.partition("MachineError: ")[2] for line in str(error).splitlines() if "MachineError: " in line]
        raise MachineError(said[-1] if said else f"Could not decode the clips into {target}: {error}") from error
    for row in sorted(answers, key=lambda row: row["number"]):
        if row["code"]:
            yield row["code"], row["message"]
        else:
            shard = {"uri": row["uri"], "start_ms": 0, "end_ms": None, "channel": None}
            sums = tuple(int(row[name]) for name in SUMS)
            yield {"duration_ms": int(row["duration_ms"]), "shard": shard, "sums": sums}


def decode_batch(batch: dict[str, Any], shards: str) -> dict[str, Any]:
    """One task: ``number`` and ``clip`` (JSON) of some rows -> ``uri`` and ``duration_ms`` of their decoded copies.

    ``code`` and ``message`` say why there is none.
    """
    folder = locate(shards)
    columns: dict[str, list[Any]] = {"number": list(batch["number"])}
    columns |= {name: [] for name in ("uri", "duration_ms", *SUMS, "code", "message")}
    for clip in batch["clip"]:
        answer = _answer(partial(_write_flac, json.loads(clip), folder))
        new = answer if isinstance(answer, dict) else {}
        code, message = ("", "") if isinstance(answer, dict) else answer
        columns["uri"].append(new.get("uri", ""))
        for name in ("duration_ms", *SUMS):
            columns[name].append(new.get(name, 0))
        columns["code"].append(code)
        columns["message"].append(message)
    return {name: np.array(values) for name, values in columns.items()}


def _write_flac(row: Row, folder: Location) -> dict[str, Any]:
    samples = clip_samples(row)
    # By hand: libsndfile scales floats by 32,767, which would change every sample of a 16-bit source.
    whole = np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, whole, MODEL_RATE_HZ, format="FLAC", subtype="PCM_16")
    place = tuple(row[name] for name in PLACE)
    digest = hashlib.sha256(repr(place).encode("utf-8", errors="surrogateescape")).hexdigest()
    stem = posixpath.splitext(posixpath.basename(row["uri"]))[0]
    target = folder.child(digest[:2], f"{stem}-{digest[:12]}.flac")
    target.write_bytes(buffer.getvalue())
    exact = whole.astype(np.int64)
    return {
        "uri": uri_for(target),
        "duration_ms": len(samples) * 1000 // MODEL_RATE_HZ,
        "num_samples": len(samples),
        "sum": int(exact.sum()),
        "sum_of_squares": int((exact**2).sum()),
    }


def _answer(work: Callable[[], dict[str, Any]]) -> Answer:
    try:
        return work()
    except BadRecording as error:
        return error.code, str(error)


def _tally(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "clips": len(rows),
        "speakers": len({row["speaker"] for row in rows}),
        "hours": round(sum(row["duration_ms"] for row in rows) / 3_600_000, 4),
    }


def _parts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Counts of each split of each corpus, in the order in which they come."""
    parts: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        parts.setdefault((row["corpus"], row["split"]), []).append(row)
    return [
        {
            "corpus": corpus,
            "split": split,
            **_tally(found),
            "categories": dict(Counter(row.get("category") or "none" for row in found).most_common()),
        }
        for (corpus, split), found in parts.items()
    ]
