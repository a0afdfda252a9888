"""How long a clip is by its header alone, and the same clip decoded; what cannot be changed says why."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from emosphere.corpora.clip_audio import clip_ms, clip_samples
from emosphere.errors import BadRecording


def row(path: Path, **changes: Any) -> dict[str, Any]:
    return {"uri": str(path), "start_ms": 0, "end_ms": None, "channel": None} | changes


@pytest.fixture
def stereo(tmp_path: Path) -> Path:
    """Two seconds at 16 kHz, 16 bit: noise left, its half right."""
    left = (np.random.default_rng(0).normal(scale=0.1, size=32_000) * 32_768).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", np.stack([left, left // 2], axis=1), 16_000, subtype="PCM_16")
    return tmp_path / "a.wav"


@pytest.mark.parametrize(
    ("changes", "length_ms"),
    [({}, 2000), ({"start_ms": 500}, 1500), ({"start_ms": 500, "end_ms": 900}, 400), ({"end_ms": 2020}, 2000)],
)
def test_the_length_is_that_of_the_decoded_clip(stereo: Path, changes: dict[str, int], length_ms: int) -> None:
    assert clip_ms(row(stereo, **changes)) == length_ms
    assert len(clip_samples(row(stereo, **changes))) == length_ms * 16


def test_a_stretch_holds_the_very_samples_of_its_place(stereo: Path) -> None:
    whole, _ = soundfile.read(stereo, dtype="float32")
    changed = clip_samples(row(stereo, start_ms=1250, end_ms=1750, channel=1))
    np.testing.assert_array_equal(changed, whole[20_000:28_000, 1])
    np.testing.assert_allclose(clip_samples(row(stereo)), whole.mean(axis=1), atol=1e-7)


def test_another_rate_is_timed_alike(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(44_100) + 0.1, 44_100)
    assert clip_ms(row(tmp_path / "a.flac")) == 1000
    assert len(clip_samples(row(tmp_path / "a.flac", start_ms=250))) == 12_000


@pytest.mark.parametrize("read", [clip_ms, clip_samples])
@pytest.mark.parametrize(
    ("name", "changes", "code"),
    [
        ("none.wav", {}, "NOT_FOUND"),
        ("empty.wav", {}, "EMPTY"),
        ("text.wav", {}, "UNSUPPORTED"),
        ("cut.wav", {}, "TRUNCATED"),
        ("short.wav", {}, "TOO_SHORT"),
        ("a.wav", {"start_ms": 2500}, "TOO_SHORT"),
        ("a.wav", {"start_ms": 1000, "end_ms": 1000}, "TOO_SHORT"),
        ("a.wav", {"end_ms": 2500}, "CORRUPT"),
        ("a.wav", {"channel": 2}, "NO_AUDIO"),
    ],
)
def test_what_cannot_be_heard_says_why(stereo: Path, read: Any, name: str, changes: dict[str, int], code: str) -> None:
    folder = stereo.parent
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("no sound here, only words\n" * 20)
    (folder / "cut.wav").write_bytes(stereo.read_bytes()[:60_000])
    soundfile.write(folder / "short.wav", np.zeros(300), 16_000)
    with pytest.raises(BadRecording) as caught:
        read(row(folder / name, **changes))
    assert caught.value.code == code


def test_what_training_cannot_read_can_still_be_decoded(root: Path) -> None:
    clip = row(root / "demo" / "archive" / "interview.m4a", start_ms=1000, end_ms=3000)
    with pytest.raises(BadRecording, match="--shards DIR converts"):
        clip_ms(clip)
    changed = clip_samples(clip)
    assert len(changed) == 32_000
    assert np.abs(changed).max() > 0.01
