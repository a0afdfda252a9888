"""From cells to segments with their audio and its quality: all that is known of them before a model scores them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emosphere.audio.decode_outcome import MODEL_RATE_HZ
from emosphere.speech.activity import FRAME, SpeechActivity, speech_probabilities_of_cells
from emosphere.speech.cells import Cell
from emosphere.speech.cut_segments import FRAME_MS, Segment, SegmentConfig, even_segments, segments_of, speech_runs
from emosphere.speech.quality import QualityConfig, confidence, measure, noise_level_db


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SpeechSegment:
    """A stretch of speech on one channel, with how well it can be heard."""

    channel: int
    cell_index: int
    start_sample: int
    """At 16 kHz from the beginning of the recording; half-open with ``stop_sample``."""
    stop_sample: int
    speech_ms: int
    """How much of it is speech."""
    rms_db: float
    clipped_ratio: float
    snr_db: float | None
    bandwidth_hz: float | None
    confidence: Literal["ok", "low"]
    low_reason: str | None
    samples: NDArray[np.float32]
    """The segment itself, 1-D, full scale 1."""


def find_segments(
    cells: Sequence[Cell],
    activity: SpeechActivity | None,
    segment_config: SegmentConfig,
    quality_config: QualityConfig,
) -> list[list[SpeechSegment]]:
    """Segments of each of ``cells``, in the order of time. What is found in a cell depends on that cell alone.

    Without ``activity`` all of a cell counts as speech and is cut evenly; there is no noise to compare it with then.
    """
    if activity is None:
        return [_evenly_cut(cell, segment_config, quality_config) for cell in cells]
    return [
        _segments_of_cell(cell, probabilities, segment_config, quality_config)
        for cell, probabilities in zip(cells, speech_probabilities_of_cells(activity, cells), strict=True)
    ]


def _evenly_cut(cell: Cell, segment_config: SegmentConfig, quality_config: QualityConfig) -> list[SpeechSegment]:
    own = cell.samples[cell.lead_in :]
    num_frames = -(-len(own) // FRAME)
    is_speech = np.ones(num_frames, dtype=np.bool_)
    return [
        _measured(cell, own, segment, is_speech, None, quality_config)
        for segment in even_segments(num_frames, segment_config)
    ]


def _segments_of_cell(
    cell: Cell, probabilities: NDArray[np.float32], segment_config: SegmentConfig, quality_config: QualityConfig
) -> list[SpeechSegment]:
    own = cell.samples[cell.lead_in :]
    segments = segments_of(probabilities, segment_config)
    if not segments:
        return []
    is_speech = np.zeros(len(probabilities), dtype=np.bool_)
    for run in speech_runs(probabilities, segment_config):
        is_speech[run.start : run.stop] = True
    # Frames that may be speech are neither speech nor noise.
    is_noise = probabilities < segment_config.off_probability
    noise_db = noise_level_db(own, ~is_noise)
    return [_measured(cell, own, segment, is_speech, noise_db, quality_config) for segment in segments]


def _measured(
    cell: Cell,
    own: NDArray[np.float32],
    segment: Segment,
    is_speech: NDArray[np.bool_],
    noise_db: float | None,
    quality_config: QualityConfig,
) -> SpeechSegment:
    start, stop = segment.start_frame * FRAME, min(segment.stop_frame * FRAME, len(own))
    samples = own[start:stop].copy()
    quality = measure(samples, is_speech=is_speech[segment.start_frame : segment.stop_frame], noise_db=noise_db)
    trust, low_reason = confidence(quality, len(samples) / MODEL_RATE_HZ, quality_config)
    return SpeechSegment(
        channel=cell.channel,
        cell_index=cell.index,
        start_sample=cell.start_sample + start,
        stop_sample=cell.start_sample + stop,
        speech_ms=min(segment.speech_frames * FRAME_MS, len(samples) * 1000 // MODEL_RATE_HZ),
        rms_db=quality.rms_db,
        clipped_ratio=quality.clipped_ratio,
        snr_db=quality.snr_db,
        bandwidth_hz=quality.bandwidth_hz,
        confidence=trust,
        low_reason=low_reason,
        samples=samples,
    )
