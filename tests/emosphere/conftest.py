"""Synthetic voices, and any codec to put them in."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from emosphere.audio.decoding.decode import DecodedStream, DecodeLimits, open_recording
from emosphere.speech.activity import SpeechActivity
from emosphere.speech.cells import Cell, CellGrid, cut_cells

Wave = NDArray[np.float32]


def _buzz(duration_s: float, *, rate: int, channels: int = 1, seed: int = 0) -> Wave:
    """A voice-like buzz in syllables, (samples, channels); each channel with a melody of its own."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(duration_s * rate)) / rate
    voices = []
    for channel in range(channels):
        pitch_hz = 120 + 40 * np.sin(2 * np.pi * 0.31 * time_s + channel)
        phase = 2 * np.pi * np.cumsum(pitch_hz) / rate
        overtones = sum(np.sin(k * phase) / k for k in range(1, 12))
        syllables = np.clip(np.sin(2 * np.pi * (1.7 + 0.2 * channel) * time_s), 0, None)
        voices.append(0.15 * overtones * syllables + 0.003 * rng.standard_normal(len(time_s)))
    return np.stack(voices, axis=1).astype(np.float32)


def _encode(path: Path, wave: Wave, rate: int, codec: str, container: str, bit_rate: int = 0) -> None:
    """Write ``wave`` (samples, channels) by FFmpeg; with the container ``sndfile:FORMAT`` by libsndfile."""
    if container.startswith("sndfile:"):
        with soundfile.SoundFile(
            path, "w", rate, wave.shape[1], format=container.removeprefix("sndfile:"), subtype=codec
        ) as file:
            # libsndfile's Vorbis encoder overflows its stack when given minutes at once.
            for start in range(0, len(wave), rate):
                file.write(wave[start : start + rate])
        return
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate)
        stream.layout = {1: "mono", 2: "stereo"}[wave.shape[1]]
        if bit_rate:
            stream.bit_rate = bit_rate
        converter = av.AudioResampler(format=stream.codec_context.format.name, layout=stream.layout, rate=rate)
        for start in range(0, len(wave), rate):
            part = np.ascontiguousarray(wave[start : start + rate].T)
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=stream.layout.name)
            frame.rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            for converted in converter.resample(frame):
                output.mux(stream.encode(converted))
        output.mux(stream.encode(None))


@pytest.fixture(scope="session")
def buzz() -> Callable[..., Wave]:
    return _buzz


@pytest.fixture(scope="session")
def encode() -> Callable[..., None]:
    return _encode


ENCODINGS = {
    # name: rate, channels, codec, container, bit rate
    "wav": (44_100, 2, "PCM_16", "sndfile:WAV", 0),
    "wav-24-bit": (22_050, 1, "PCM_24", "sndfile:WAV", 0),
    "wav-float": (48_000, 1, "FLOAT", "sndfile:WAV", 0),
    "wav-mulaw": (8_000, 2, "ULAW", "sndfile:WAV", 0),
    "wav-alaw": (8_000, 1, "ALAW", "sndfile:WAV", 0),
    "aiff": (44_100, 1, "PCM_16", "sndfile:AIFF", 0),
    "flac": (44_100, 2, "PCM_16", "sndfile:FLAC", 0),
    "sphere": (8_000, 1, "PCM_16", "sndfile:NIST", 0),
    "ogg-vorbis": (44_100, 2, "VORBIS", "sndfile:OGG", 0),
    "ogg-opus": (48_000, 1, "OPUS", "sndfile:OGG", 0),
    "mp3-vbr": (44_100, 2, "MPEG_LAYER_III", "sndfile:MP3", 0),
    "mp3-cbr": (44_100, 2, "libmp3lame", "mp3", 96_000),
    "mp3-16k": (16_000, 1, "libmp3lame", "mp3", 32_000),
    "m4a-aac": (44_100, 2, "aac", "ipod", 96_000),
    "m4a-alac": (44_100, 1, "alac", "ipod", 0),
    "adts-aac": (44_100, 1, "aac", "adts", 64_000),
    "mpegts-aac": (48_000, 1, "aac", "mpegts", 64_000),
    "webm-opus": (48_000, 2, "libopus", "webm", 64_000),
    "mp4-opus": (48_000, 1, "libopus", "mp4", 48_000),
    "mkv-aac": (44_100, 1, "aac", "matroska", 64_000),
    "ac3": (48_000, 2, "ac3", "ac3", 192_000),
    "amr": (8_000, 1, "libopencore_amrnb", "amr", 12_200),
    "wma": (44_100, 1, "wmav2", "asf", 64_000),
}


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], SimpleNamespace]:
    """By name of an encoding: a file with its wave, rate and length. Made once."""
    folder = tmp_path_factory.mktemp("encoded")
    made: dict[str, SimpleNamespace] = {}

    def make(name: str) -> SimpleNamespace:
        if name not in made:
            rate, channels, codec, container, bit_rate = ENCODINGS[name]
            # Decoders of AAC and AC-3 are renewed every minute; there it takes more than one.
            duration_s = 66.6 if codec in {"aac", "ac3"} else 16.6
            wave = _buzz(duration_s, rate=rate, channels=channels)
            path = folder / name
            _encode(path, wave, rate, codec, container, bit_rate)
            made[name] = SimpleNamespace(path=str(path), wave=wave, rate=rate, duration_s=duration_s)
        return made[name]

    return make


def _decode(path: str | Path, start_s: float = 0.0) -> tuple[Wave, DecodedStream]:
    stream = open_recording(str(path), start_s=start_s, limits=DecodeLimits())
    blocks = list(stream)
    empty = np.zeros((stream.header.num_channels, 0), dtype=np.float32)
    return np.concatenate([empty, *blocks], axis=1), stream


@pytest.fixture(scope="session")
def decode() -> Callable[..., tuple[Wave, DecodedStream]]:
    """All samples (channels, samples) of a file, and its exhausted stream."""
    return _decode


@pytest.fixture(scope="session")
def cells_of() -> Callable[[Path], list[Cell]]:
    """All cells of a file."""

    def cells(path: Path) -> list[Cell]:
        stream = open_recording(str(path), limits=DecodeLimits())
        return list(cut_cells(stream, start_sample=0, first_cell=0, stop_cell=None, grid=CellGrid()))

    return cells


@pytest.fixture(scope="session")
def activity() -> SpeechActivity:
    return SpeechActivity()
