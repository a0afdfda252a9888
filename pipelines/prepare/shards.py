"""Every clip decoded once into a FLAC file of its own, on Ray Data, and the moments of all their samples."""

import hashlib
import io
import json
import math
import posixpath
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import soundfile

from emosphere.audio.decode_outcome import MODEL_RATE_HZ
from emosphere.clips.rows import PLACE, Row, uri_for
from emosphere.corpora.clip_audio import clip_samples
from emosphere.errors import MachineError
from emosphere.store import Location, locate
from pipelines.prepare.clip_lengths import AudioFacts, Unusable, unless_bad

FULL_SCALE: Final = 32_768
"""Of samples of 16 bits."""
BATCH: Final = 64
"""Clips that one task of Ray Data decodes."""
SUMS: Final = ("num_samples", "sum", "sum_of_squares")
"""What a decoded clip adds to the moments of all: of its samples as whole numbers of 16 bits."""
MOMENTS_OF: Final = "train"
"""Split over whose waveforms mean and deviation are taken."""


def decode_into_shards(rows: Sequence[Row], shards: str) -> Iterator[AudioFacts | Unusable]:
    """For each of ``rows``, in their order, what its copy in the folder or URL ``shards`` adds to it.

    ``duration_ms``; ``shard``, the columns that the copy changes; ``sums``, its SUMS. Many clips are decoded at once.
    Raises MachineError where the copies cannot be written.
    """
    import ray

    from pipelines.cluster.ray_cluster import connect

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
        copies = clips.take_all()
    except ray.exceptions.RayError as error:
        # What a task raised comes as the text of its trace.
        lines = str(error).splitlines()
        messages = [line.partition("MachineError: ")[2] for line in lines if "MachineError: " in line]
        unknown = f"Could not decode the clips into {target}: {error}"
        raise MachineError(messages[-1] if messages else unknown) from error
    for copy in sorted(copies, key=lambda copy: copy["number"]):
        if copy["code"]:
            yield Unusable(copy["code"], copy["message"])
        else:
            shard = {"uri": copy["uri"], "start_ms": 0, "end_ms": None, "channel": None}
            sums = tuple(int(copy[name]) for name in SUMS)
            yield {"duration_ms": int(copy["duration_ms"]), "shard": shard, "sums": sums}


def decode_batch(batch: dict[str, Any], shards: str) -> dict[str, Any]:
    """One task: ``number`` and ``clip`` (JSON) of some rows -> ``uri``, ``duration_ms`` and SUMS of their copies.

    ``code`` and ``message`` say why there is none.
    """
    folder = locate(shards)
    columns: dict[str, list[Any]] = {"number": list(batch["number"])}
    columns |= {name: [] for name in ("uri", "duration_ms", *SUMS, "code", "message")}
    for clip in batch["clip"]:
        copy = unless_bad(partial(_write_flac, json.loads(clip), folder))
        code, message = copy if isinstance(copy, Unusable) else ("", "")
        facts = {} if isinstance(copy, Unusable) else copy
        columns["uri"].append(facts.get("uri", ""))
        for name in ("duration_ms", *SUMS):
            columns[name].append(facts.get(name, 0))
        columns["code"].append(code)
        columns["message"].append(message)
    return {name: np.array(values) for name, values in columns.items()}


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
