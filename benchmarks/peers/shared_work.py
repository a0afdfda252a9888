"""What every engine shares, so that all do the same work: windows, network, columns of the answer."""

import argparse
import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import soxr
import torch

from emosphere.model.checkpoint import load_checkpoint
from emosphere.model.fast.encoder import quicken
from emosphere.speech.activity import SpeechActivity
from emosphere.speech.cells import CellGrid, cut_cells
from emosphere.speech.cut_segments import SegmentConfig
from emosphere.speech.find_segments import find_segments
from emosphere.speech.quality import QualityConfig

RATE_HZ = 16_000
SPAN = ("uri", "channel", "start_ms", "end_ms")
ANSWERS = ("valence", "arousal", "dominance")
CLIPS_PER_BATCH = 16
"""As many as examples of transformers use."""


def parse_arguments() -> argparse.Namespace:
    """ARCHIVE and OUT, and what may differ between engines."""
    parser = argparse.ArgumentParser()
    parser.add_argument("archive", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--encoder", choices=["transformers", "emosphere"], required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--find-speech", action="store_true")
    return parser.parse_args()


def decode(data: bytes) -> np.ndarray | None:
    """(channels, samples) at 16 kHz of a whole file; None where soundfile cannot read it."""
    try:
        samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.SoundFileError:
        return None
    return at_model_rate(samples, rate_hz)


def at_model_rate(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """(samples, channels) at any rate -> (channels, samples) at 16 kHz."""
    if rate_hz != RATE_HZ:
        samples = soxr.resample(samples, rate_hz, RATE_HZ)
    return np.ascontiguousarray(samples.T, dtype=np.float32)


def windows(uri: str, channels: np.ndarray | None, find_speech: bool) -> list[dict[str, Any]]:
    """What the network hears of one recording: ``uri, channel, start_ms, end_ms, samples`` each."""
    if channels is None:
        return []
    cells = list(cut_cells(iter([channels]), start_sample=0, first_cell=0, stop_cell=None, grid=CellGrid()))
    own = [cell for cell in cells if cell.same_as is None]
    segments_by_cell = find_segments(own, _activity() if find_speech else None, SegmentConfig(), QualityConfig())
    return [
        {"uri": Path(uri).name, "channel": one.channel, "start_ms": one.start_sample // 16,
         "end_ms": one.stop_sample // 16, "samples": one.samples}
        for segments in segments_by_cell for one in segments
    ]  # fmt: skip


@functools.cache
def _activity() -> SpeechActivity:
    return SpeechActivity()


class ReferenceModel:
    """The network, with transformers' encoder or ours: waveforms as they come -> (n, 3) answers."""

    def __init__(self, model: str, encoder: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.network = load_checkpoint(model).network
        own = [member.encoders for member in self.network.members]
        fast = [{name: quicken(one, "float32") for name, one in encoders.items()} for encoders in own]
        self.encoders = fast if encoder == "emosphere" else own

    @torch.inference_mode()
    def predict(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        lengths = [max(len(wave), self.network.min_samples) for wave in waves]
        padded = np.zeros((len(waves), max(lengths)), np.float32)
        for row, wave in zip(padded, waves, strict=True):
            row[: len(wave)] = wave
        given = torch.from_numpy(padded), torch.tensor(lengths)
        features = {name: one.features(*given) for name, one in self.encoders[0].items()}
        return self.network.answers(self.network.embed(features, self.encoders))["vad"].clamp(-1, 1).numpy()


def full_batches(lengths: Sequence[int], batch_s: float) -> list[list[int]]:
    """Rows by length, longest first, as many together as ``batch_s`` seconds hold with their padding."""
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > batch_s * RATE_HZ:
            batches.append([])
        batches[-1].append(row)
    return batches


def write(out: Path, rows: Sequence[dict[str, Any]], answers: np.ndarray) -> None:
    """Spans and answers as one Parquet file."""
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in SPAN}
    columns |= {name: answers[:, column] for column, name in enumerate(ANSWERS)}
    out.mkdir(parents=True)
    pq.write_table(pa.table(columns), out / "answers.parquet")
