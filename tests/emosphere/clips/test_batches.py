"""Clips are read once; batches are shared out among ranks without loss; order never changes what is made of a clip."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from emosphere.clips.augment import DistortionConfig
from emosphere.clips.batches import InMemoryClips, clip_features, evaluation_batches, read_clip, version_of
from emosphere.clips.manifest import Clip
from emosphere.errors import BadClip
from emosphere.model.architecture import LogMelConfig
from emosphere.model.encoder import Streams
from emosphere.model.frames import ClipFeatures
from emosphere.tasks import tasks_of

FRONT_ENDS = Streams({name: LogMelConfig(kind="logmel", num_mels=mels, dim=8) for name, mels in (("a", 16), ("b", 12))})
TASKS = tasks_of({"vad": "vad", "region": "region"}, {})


def clip(path: Path, valence: float = 0.1) -> Clip:
    return Clip(uri=str(path), speaker="s", corpus="c", split="train", category="fear", vad=(valence, 0.2, 0.3))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = []
    for index, (seconds, rate_hz) in enumerate(
        [(0.5, 16_000), (1.3, 16_000), (0.01, 16_000), (0.9, 8_000), (0.7, 16_000)]
    ):
        path = tmp_path / f"{index}.flac"
        soundfile.write(path, rng.normal(scale=0.1, size=int(seconds * rate_hz)), rate_hz)
        paths.append(path)
    return paths


def features_of(one: Clip, version: int, distortion: DistortionConfig | None) -> ClipFeatures:
    waveform = version_of(read_clip(one), one, version, distortion, 0)
    return clip_features(waveform, FRONT_ENDS.features, FRONT_ENDS.min_samples)


def load(files: list[Path], copies: int = 0) -> InMemoryClips:
    """Every version of every file, as the tasks of a training make them."""
    distortion = DistortionConfig(copies=copies) if copies else None
    clips = tuple(clip(path, 0.1 if row else math.nan) for row, path in enumerate(files))
    versions = [
        tuple({name: frames.half() for name, frames in features_of(one, version, distortion).items()} for one in clips)
        for version in range(1 + copies)
    ]
    return InMemoryClips(clips, tuple(versions), TASKS)


def test_every_rate_is_read_as_16_khz_and_long_clips_are_cut(files: list[Path]) -> None:
    assert len(read_clip(clip(files[3]))) == int(0.9 * 16_000)
    assert len(read_clip(clip(files[1]), max_s=1.0)) == 16_000


def test_a_file_that_is_no_sound_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.flac").write_bytes(b"nothing")
    with pytest.raises(BadClip, match=r"x\.flac: a clip of the manifest cannot be read"):
        read_clip(clip(tmp_path / "x.flac"))


def test_a_clip_may_be_a_stretch_of_one_channel(tmp_path: Path) -> None:
    left, right = np.full(8_000, 0.25, np.float32), np.linspace(0, 0.5, 8_000, dtype=np.float32)
    soundfile.write(tmp_path / "two.wav", np.stack([left, right], axis=1), 8_000, subtype="FLOAT")
    whole = clip(tmp_path / "two.wav")
    middle = read_clip(dataclasses.replace(whole, start_ms=250, end_ms=750, channel=0))
    assert len(middle) == 8_000
    assert middle[1000:7000] == pytest.approx(0.25, abs=1e-3)
    ramp = read_clip(dataclasses.replace(whole, start_ms=250, end_ms=750, channel=1))
    assert ramp[4000] == pytest.approx(0.25, abs=1e-3)  # half way up, half a second in
    both = read_clip(dataclasses.replace(whole, start_ms=250, end_ms=750))
    assert both[2000] == pytest.approx((middle[2000] + ramp[2000]) / 2, abs=1e-6)
    with pytest.raises(BadClip, match="has no channel 2, only 2"):
        read_clip(dataclasses.replace(whole, channel=2))
    with pytest.raises(BadClip, match="no sample from 2000 ms on"):
        read_clip(dataclasses.replace(whole, start_ms=2000, end_ms=2500))


def test_every_version_has_every_clip(files: list[Path]) -> None:
    clips = load(files, copies=2)
    assert [len(version) for version in clips.versions] == [5, 5, 5]
    assert len(clips.versions[0][2]["a"]) == 1  # a clip of 10 ms still has its one frame
    assert not torch.equal(clips.versions[0][1]["a"], clips.versions[1][1]["a"])


def test_a_copy_does_not_depend_on_the_other_clips(files: list[Path]) -> None:
    together, alone = load(files, copies=1), load(files[1:2], copies=1)
    assert torch.equal(together.versions[1][1]["b"], alone.versions[1][0]["b"])


def test_targets_follow_the_rows(files: list[Path]) -> None:
    targets = load(files).targets([3, 0])
    assert targets["region"].is_known.tolist() == [True, False]
    assert targets["region"].values[0] == 0
    assert targets["vad"].is_known.tolist() == [[True] * 3, [False, True, True]]
    torch.testing.assert_close(targets["vad"].values[0], torch.tensor([0.1, 0.2, 0.3]))


def test_evaluation_sees_every_row_once_and_whole(files: list[Path]) -> None:
    clips = load(files)
    seen: list[int] = []
    for rows, batch in evaluation_batches(clips, [4, 2, 0, 1], batch_frames=100):
        seen += rows
        for name, frames in batch.features.items():
            assert frames.is_valid.sum(dim=1).tolist() == [len(clips.versions[0][row][name]) for row in rows]
        assert batch.targets["vad"].is_known[:, 0].tolist() == [row != 0 for row in rows]  # the first is half rated
    assert sorted(seen) == [0, 1, 2, 4]


def test_a_clip_is_as_long_as_in_the_first_stream(files: list[Path]) -> None:
    features = {"a": torch.zeros(7, 16), "b": torch.zeros(4, 12)}
    assert InMemoryClips((clip(files[0]),), ((features,),), TASKS).num_frames(0) == 7
