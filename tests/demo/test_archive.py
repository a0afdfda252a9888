"""The committed demo archive is what its maker and its README say."""

import io
import re
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr
import torch
from silero_vad import get_speech_timestamps, load_silero_vad

# silero-vad ships a TorchScript file.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:DeprecationWarning")

VOICES = [
    "podcast_episode_01.mp3",
    "podcast_episode_02.ogg",
    "interview.m4a",
    "story.flac",
    "calls/2026-11-20_call_0001.wav",
    "calls.zip/call_0002.wav",
    "calls.zip/call_0003.mp3",
]


def content(root: Path, name: str) -> bytes:
    folder = root / "demo" / "archive"
    if name.startswith("calls.zip/"):
        with zipfile.ZipFile(folder / "calls.zip") as calls:
            return calls.read(name.removeprefix("calls.zip/"))
    return (folder / name).read_bytes()


def samples_of(root: Path, name: str) -> tuple[np.ndarray, int]:
    """(samples, channels) and their rate; by PyAV where libsndfile has no codec."""
    file = io.BytesIO(content(root, name))
    if name.endswith(".m4a"):
        with av.open(file) as container:
            frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
            return np.concatenate(frames, axis=1).T, container.streams.audio[0].rate
    samples, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
    return samples, rate_hz


def speech_s(samples: np.ndarray, rate_hz: int) -> float:
    model = load_silero_vad()
    changed = torch.from_numpy(soxr.resample(samples, rate_hz, 16_000).astype(np.float32))
    return sum(span["end"] - span["start"] for span in get_speech_timestamps(changed, model)) / 16_000


def meant(root: Path) -> list[tuple[str, int, float, float]]:
    """Rows of the README's table: recording, channel, start and end in seconds."""
    text = (root / "demo" / "archive" / "README.md").read_text()
    rows = re.findall(r"^\| (\S+) \| (\d) \| ([\d.]+) \| ([\d.]+) \|", text, re.MULTILINE)
    return [(name, int(channel), float(start), float(end)) for name, channel, start, end in rows]


def test_the_archive_is_small(root: Path) -> None:
    assert sum(path.stat().st_size for path in (root / "demo" / "archive").rglob("*") if path.is_file()) < 1_500_000


def test_the_readme_tells_of_every_voice(root: Path) -> None:
    assert {name for name, *_ in meant(root)} == set(VOICES)


@pytest.mark.parametrize("name", VOICES)
def test_every_voice_is_heard_as_speech_for_most_of_the_time_it_speaks(root: Path, name: str) -> None:
    samples, rate_hz = samples_of(root, name)
    for channel in range(samples.shape[1]):
        spoken_s = sum(end - start for row, where, start, end in meant(root) if (row, where) == (name, channel))
        assert 0.65 * spoken_s < speech_s(samples[:, channel], rate_hz) < 1.05 * spoken_s


def test_the_tune_holds_no_speech(root: Path) -> None:
    samples, rate_hz = samples_of(root, "silence_or_music.wav")
    assert speech_s(samples[:, 0], rate_hz) == 0


def test_the_call_is_stereo_mu_law_at_8_khz_and_its_channels_differ(root: Path) -> None:
    call = soundfile.info(root / "demo" / "archive" / "calls" / "2026-11-20_call_0001.wav")
    assert (call.channels, call.subtype, call.samplerate) == (2, "ULAW", 8000)
    customer, agent = samples_of(root, "calls/2026-11-20_call_0001.wav")[0].T
    assert abs(np.corrcoef(customer, agent)[0, 1]) < 0.1


def test_the_customer_grows_louder_and_the_agent_does_not(root: Path) -> None:
    samples, rate_hz = samples_of(root, "calls/2026-11-20_call_0001.wav")

    def loudness_db(channel: int) -> list[float]:
        turns = [row for row in meant(root) if row[:2] == ("calls/2026-11-20_call_0001.wav", channel)]
        spans = [samples[round(start * rate_hz) : round(end * rate_hz), channel] for *_, start, end in turns]
        return [20 * float(np.log10(np.sqrt(np.mean(span**2)))) for span in spans]

    customer, agent = loudness_db(0), loudness_db(1)
    assert customer[-1] > customer[0] + 6
    assert agent[-1] < agent[0] + 1


def test_the_broken_download_ends_before_its_header_says(root: Path) -> None:
    promised_s = soundfile.info(root / "demo" / "archive" / "broken_download.mp3").duration
    samples, rate_hz = samples_of(root, "broken_download.mp3")
    assert len(samples) / rate_hz == pytest.approx(promised_s / 2, rel=0.05)
