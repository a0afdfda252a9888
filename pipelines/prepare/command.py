"""Labelled corpus -> canonical manifest: read, check, find how long each clip is, write."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from emosphere.clips.manifest import write_manifest
from emosphere.clips.rows import DroppedClip, Row, uri_for
from emosphere.corpora.checks import (
    centred_rows,
    check_any_left,
    check_audio,
    check_speakers,
    count_reasons,
    dropped_csv,
)
from emosphere.corpora.in_house import split_in_house
from emosphere.store import Location, locate
from pipelines.prepare.clip_lengths import Unusable, clip_lengths
from pipelines.prepare.read_corpus import read_corpus
from pipelines.prepare.request import PrepareRequest
from pipelines.prepare.shards import decode_into_shards, waveform_moments

LOG = logging.getLogger("emosphere.prepare")

REPORT_EVERY = 10_000


def prepare(request: PrepareRequest) -> dict[str, Any]:
    """Write the manifest that ``request`` describes; returns a JSON-ready summary.

    Nothing is written on a dry run, nor when something is refused, save the list of clips that cannot be decoded.
    """
    started = time.monotonic()
    request.check()
    out = locate(request.out)
    corpus = read_corpus(request)
    rows, dropped = centred_rows(corpus, drop_bad_labels=request.drop_bad_labels)
    dropped = corpus.dropped + dropped
    check_any_left(rows, dropped)
    notes = corpus.notes + check_speakers(rows, allow_shared=request.allow_shared_speakers)
    if request.in_house_test:
        # Before hours of decoding: are there enough clips at all?
        split_in_house(rows, request.in_house_test, seed=request.seed or 0)
    usable, bad = _with_audio(rows, None if request.dry_run else request.shards)
    listed = Location(out.fs, f"{out.path.removesuffix('.parquet')}.dropped.csv")
    if bad and not request.dry_run:
        listed.write_bytes(dropped_csv([*dropped, *bad]))
    check_audio(
        bad, len(rows), drop_missing=request.drop_missing, listed_in=None if request.dry_run else uri_for(listed)
    )
    dropped += bad
    check_any_left(usable, dropped)
    if request.in_house_test:
        usable, note = split_in_house(usable, request.in_house_test, seed=request.seed or 0)
        notes.append(note)
    waveform = waveform_moments(usable)
    if not request.dry_run:
        write_manifest([row | row.get("shard", {}) for row in usable], out, about=waveform)
        if dropped:
            listed.write_bytes(dropped_csv(dropped))
        else:
            listed.remove()  # of an earlier run
    return {
        "out": uri_for(out),
        **_tally(usable),
        "parts": _parts(usable),
        "waveform": waveform,
        "dropped": count_reasons(dropped),
        "dropped_list": uri_for(listed) if dropped and not request.dry_run else None,
        "notes": notes,
        "dry_run": request.dry_run,
        "wall_s": round(time.monotonic() - started, 1),
    }


def _with_audio(rows: Sequence[Row], shards: str | None) -> tuple[list[Row], list[DroppedClip]]:
    """Rows with ``duration_ms`` (and ``shard`` and ``sums`` where decoded), and those whose audio is of no use."""
    facts = decode_into_shards(rows, shards) if shards else clip_lengths(rows)
    usable: list[Row] = []
    bad: list[DroppedClip] = []
    for number, (row, audio) in enumerate(zip(rows, facts, strict=True), start=1):
        if isinstance(audio, Unusable):
            bad.append(DroppedClip(row["uri"], audio.code, audio.message, row["where"]))
        else:
            usable.append(row | audio)
        if number % REPORT_EVERY == 0:
            LOG.info("prepare: heard %d of %d clips, %d of them bad", number, len(rows), len(bad))
    return usable, bad


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
            **_tally(part),
            "categories": dict(Counter(row.get("category") or "none" for row in part).most_common()),
        }
        for (corpus, split), part in parts.items()
    ]
