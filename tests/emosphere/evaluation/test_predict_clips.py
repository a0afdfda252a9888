"""Clips keep their order, broken ones are counted and named, batches change nothing."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from emosphere.clips.batches import read_clip
from emosphere.clips.manifest import Clip
from emosphere.errors import BadClip
from emosphere.evaluation import predict_clips as module
from emosphere.evaluation.predict_clips import predict_clips
from emosphere.model.checkpoint import load_checkpoint
from emosphere.model.find import BUNDLED
from emosphere.model.predict import Predictor
from emosphere.speech.quality import level_db


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(load_checkpoint(BUNDLED), batch_s=20.0)


@pytest.fixture
def clips(shared_data: Path) -> list[Clip]:
    folder = shared_data / "emotion" / "ravdess" / "16"
    paths = sorted(folder.glob("*.flac"))[:5]
    lengths = (None, 3000, 9000, 100, 20_000)  # what a manifest says of length orders the work, nothing else
    return [
        Clip(uri=str(path), vad=(0, 0, 0), speaker="s", corpus="c", split="test", duration_ms=length)
        for path, length in zip(paths, lengths, strict=True)
    ]


def test_answers_are_those_of_each_clip_alone(
    clips: list[Clip], predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the manifest."""
    monkeypatch.setattr(module, "CHUNK_S", 10.0)
    predicted = predict_clips(clips, [predictor, predictor])
    assert predicted.clips == tuple(clips)
    for row, clip in enumerate(clips):
        waveform = read_clip(clip)
        alone = predictor.predict([waveform])
        np.testing.assert_allclose(predicted.predictions[0]["vad"][row], alone["vad"][0], atol=1e-4)
        assert predicted.duration_s[row] == len(waveform) / 16_000
        assert predicted.level_db[row] == level_db(waveform, None)
    assert list(predicted.predictions[0]) == ["vad", "region"]
    for head in predicted.predictions[0]:
        np.testing.assert_array_equal(predicted.predictions[0][head], predicted.predictions[1][head])
    assert (predicted.num_cut, predicted.unreadable) == (0, [])


def test_unreadable_clips_are_refused_naming_the_first(clips: list[Clip], predictor: Predictor, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no audio")
    clips[3] = Clip(uri=str(broken), vad=(0, 0, 0), speaker="s", corpus="c", split="test")
    with pytest.raises(BadClip, match=r"1 or more clips .* allows 0; first: .*broken\.wav"):
        predict_clips(clips, [predictor])
    predicted = predict_clips(clips, [predictor], max_unreadable=1)
    assert predicted.clips == tuple(clip for clip in clips if clip.uri != str(broken))
    assert predicted.predictions[0]["vad"].shape == (4, 3)
    [(clip, message)] = predicted.unreadable
    assert clip.uri == str(broken)
    assert "broken.wav" in message


def test_longer_clips_are_cut_and_counted(clips: list[Clip], predictor: Predictor, shared_data: Path) -> None:
    long = shared_data / "longform" / "acted_timeline_ravdess17.opus"
    clips = [Clip(uri=str(long), vad=(0, 0, 0), speaker="s", corpus="c", split="test"), clips[0]]
    predicted = predict_clips(clips, [predictor])
    assert predicted.num_cut == 1
    assert predicted.duration_s[0] == 12


def test_nothing_readable_leaves_nothing(tmp_path: Path, predictor: Predictor) -> None:
    shutil.copy(__file__, tmp_path / "x.wav")
    clip = Clip(uri=str(tmp_path / "x.wav"), vad=(0, 0, 0), speaker="s", corpus="c", split="test")
    assert predict_clips([clip], [predictor], max_unreadable=1).clips == ()
