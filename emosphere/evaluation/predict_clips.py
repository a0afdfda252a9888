"""Clips are decoded by threads and go through one model or several, similar lengths together."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from emosphere.audio.decode_outcome import MODEL_RATE_HZ
from emosphere.clips.augment import Waveform
from emosphere.clips.batches import read_clip
from emosphere.clips.manifest import Clip
from emosphere.errors import BadClip
from emosphere.evaluation.answered import Float64
from emosphere.model.description import MAX_CLIP_S
from emosphere.model.predict import Prediction, Predictor
from emosphere.speech.quality import level_db

CHUNK_S = 600.0
"""Seconds of audio held at once; as much again is being decoded meanwhile."""


class ClipPredictions(NamedTuple):
    """Readable clips in the order of the manifest, and each predictor's answers to them."""

    clips: tuple[Clip, ...]
    duration_s: Float64
    level_db: Float64
    predictions: list[Prediction]
    """One per predictor, in their order."""
    num_cut: int
    """Clips that were longer than what the first predictor takes at once, and were cut there."""
    unreadable: list[tuple[Clip, str]]
    """Clips left out, with what was wrong."""


def predict_clips(
    clips: Sequence[Clip], predictors: Sequence[Predictor], *, max_unreadable: int = 0, num_threads: int = 2
) -> ClipPredictions:
    """Decode each clip once and let every predictor answer. Raises BadClip when more than ``max_unreadable`` fail."""
    longest_s = max([MAX_CLIP_S, *(predictor.checkpoint.config.max_clip_s for predictor in predictors)])
    limits = [int(predictor.checkpoint.config.max_clip_s * MODEL_RATE_HZ) for predictor in predictors]
    unreadable: list[tuple[int, str]] = []
    read: list[int] = []
    durations: list[float] = []
    levels: list[float] = []
    chunks_of: list[list[Prediction]] = [[] for _ in predictors]
    num_cut = 0
    with ThreadPoolExecutor(num_threads) as pool:
        for rows, futures in _decoded_ahead(pool, clips, _chunks(clips, longest_s), longest_s):
            waveforms: list[Waveform] = []
            for row, future in zip(rows, futures, strict=True):
                try:
                    waveforms.append(future.result())
                    read.append(row)
                except BadClip as error:
                    unreadable.append((row, str(error)))
            if len(unreadable) > max_unreadable:
                pool.shutdown(cancel_futures=True)
                raise BadClip(_too_many(unreadable, max_unreadable))
            durations += [len(waveform) / MODEL_RATE_HZ for waveform in waveforms]
            levels += [level_db(waveform, None) for waveform in waveforms]
            # Decoding stops at the limit too, so a clip that reaches it counts as cut.
            num_cut += sum(len(waveform) >= limits[0] for waveform in waveforms)
            for predictor, limit, chunks in zip(predictors, limits, chunks_of, strict=True):
                chunks.append(predictor.predict([waveform[:limit] for waveform in waveforms]))
    in_order = np.argsort(read)
    unreadable.sort()
    return ClipPredictions(
        clips=tuple(clips[row] for row in sorted(read)),
        duration_s=np.array(durations)[in_order],
        level_db=np.array(levels)[in_order],
        predictions=[_joined(chunks, in_order) for chunks in chunks_of],
        num_cut=num_cut,
        unreadable=[(clips[row], message) for row, message in unreadable],
    )


def _chunks(clips: Sequence[Clip], longest_s: float) -> Iterator[list[int]]:
    """Rows by length, longest first, about ``CHUNK_S`` seconds at a time; unknown lengths count as the longest."""

    def seconds(row: int) -> float:
        duration_ms = clips[row].duration_ms
        return longest_s if duration_ms is None else min(duration_ms / 1000, longest_s)

    chunk: list[int] = []
    held_s = 0.0
    for row in sorted(range(len(clips)), key=seconds, reverse=True):
        chunk.append(row)
        held_s += seconds(row)
        if held_s >= CHUNK_S:
            yield chunk
            chunk, held_s = [], 0.0
    if chunk:
        yield chunk


def _decoded_ahead(
    pool: ThreadPoolExecutor, clips: Sequence[Clip], chunks: Iterator[list[int]], longest_s: float
) -> Iterator[tuple[list[int], list[Future[Waveform]]]]:
    """Each chunk with its waveforms to come, while the next one is already being decoded."""
    before: tuple[list[int], list[Future[Waveform]]] | None = None
    for rows in chunks:
        submitted = (rows, [pool.submit(read_clip, clips[row], max_s=longest_s) for row in rows])
        if before is not None:
            yield before
        before = submitted
    if before is not None:
        yield before


def _joined(chunks: Sequence[Prediction], in_order: np.typing.NDArray[np.intp]) -> Prediction:
    """The rows of all chunks, as ``in_order`` picks them."""
    return {head: np.concatenate([chunk[head] for chunk in chunks])[in_order] for head in chunks[0]}


def _too_many(unreadable: Sequence[tuple[int, str]], max_unreadable: int) -> str:
    first = min(unreadable)[1]
    return (
        f"{len(unreadable)} or more clips cannot be read, --max-unreadable allows {max_unreadable}; first: {first} "
        "Mend or remove them, or allow more: they are left out of every figure and listed."
    )
