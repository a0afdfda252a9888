"""Features are computed where the network is, by the front end that it begins with, and once for all who need them."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from emosphere.clips.augment import DistortionConfig
from emosphere.clips.batches import clip_features
from emosphere.clips.manifest import Clip
from emosphere.config import from_mapping, to_mapping
from emosphere.model.architecture import NetworkConfig
from emosphere.model.encoder import Streams
from emosphere.model.network import Network
from pipelines.train import features
from pipelines.train.arrow_clips import DECODED, decoded_row, unreadable_row
from pipelines.train.config import TrainConfig
from pipelines.train.features import FeatureCache, clips_in_memory, features_digest
from tests.pipelines.train.tiny_config import CLIP, LOGMEL, WAVLM, config


def test_features_are_computed_on_the_device_of_the_network() -> None:
    """On the meta device, which like a GPU takes no tensor of the CPU beside its own."""
    network = Network(config(LOGMEL).network).to("meta")
    made = clip_features(np.zeros(16_000, np.float32), network.features, network.min_samples, torch.device("meta"))
    assert made["speech"].device.type == "meta"


def test_random_front_ends_have_other_features_for_every_seed() -> None:
    assert features_digest([CLIP], config(LOGMEL)) == features_digest([CLIP], config(LOGMEL, seed=1))
    assert features_digest([CLIP], config(WAVLM)) != features_digest([CLIP], config(WAVLM, seed=1))
    published = [dataclasses.replace(config(WAVLM, seed=seed), weights={"speech": "folder"}) for seed in (0, 1)]
    assert features_digest([CLIP], published[0]) == features_digest([CLIP], published[1])


def test_the_front_end_is_the_one_that_the_network_begins_with() -> None:
    settings = config(WAVLM, seed=1)
    torch.manual_seed(1)
    network = Network(settings.network)
    front_end = features._front_ends(json.dumps(to_mapping(settings.network)), "{}", 1)
    waveform = np.sin(np.arange(4_000, dtype=np.float32))
    mine, its = (clip_features(waveform, one.features, one.min_samples)["speech"] for one in (network, front_end))
    assert torch.equal(mine, its)


def test_a_cache_decodes_once_until_something_else_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[dict[str, Any]] = []

    def decode_all(clips: list[Clip], settings: TrainConfig) -> dict[str, Any]:
        decoded.append({"seed": settings.seed})
        return decoded[-1]

    monkeypatch.setattr(features, "decode_all", decode_all)
    monkeypatch.setattr(features, "decode_here", lambda clips, settings: [])
    cache, first, second = FeatureCache(), config(WAVLM), config(WAVLM, seed=1)
    assert cache.features([CLIP], first, here=False) is cache.features([CLIP], first, here=False)
    assert cache.features([CLIP], second, here=False)["seed"] == 1
    assert cache.features([CLIP], first, here=False)["seed"] == 0
    assert len(decoded) == 3
    assert cache.features([CLIP], first, here=True) == []
    assert cache.features([CLIP], first, here=False)["seed"] == 0


def test_a_pretrained_kind_without_weights_is_known() -> None:
    assert config(WAVLM).drawn_streams == {"speech"}
    assert not dataclasses.replace(config(WAVLM), weights={"speech": "folder"}).drawn_streams
    assert not config(LOGMEL).drawn_streams


def two_streams(first: dict[str, Any], second: dict[str, Any], *, names: str = "ab", **changes: Any) -> TrainConfig:
    settings = config(LOGMEL)
    values = {
        "streams": dict(zip(names, (first, second), strict=True)),
        "pooling": {"kind": "mean"},
        "fusion": {"kind": "concat"},
        "heads": {"vad": {}},
    }
    network = from_mapping(NetworkConfig, values, source="test")
    return dataclasses.replace(settings, **({"network": network} | changes))


def test_whatever_features_are_made_of_is_in_their_digest() -> None:
    wavlm_and_wavlm = two_streams(WAVLM, WAVLM)
    others = [
        two_streams(LOGMEL, LOGMEL),
        two_streams(LOGMEL, LOGMEL | {"num_mels": 20}),
        two_streams(LOGMEL, LOGMEL, names="ac"),
        two_streams(LOGMEL, LOGMEL, distortion=DistortionConfig()),
        two_streams(LOGMEL, LOGMEL, distortion=DistortionConfig(copies=2)),
        wavlm_and_wavlm,
        two_streams(WAVLM, WAVLM, seed=1),
        *(two_streams(WAVLM, WAVLM, weights={"a": folder}, seed=seed) for folder in ("x", "y") for seed in (0, 1)),
        *(two_streams(WAVLM, WAVLM, weights={"a": "x", "b": folder}) for folder in ("x", "y")),
    ]
    digests = [features_digest([CLIP], settings) for settings in others]
    digests += [features_digest(clips, others[0]) for clips in ([], [CLIP, dataclasses.replace(CLIP, start_ms=10)])]
    assert len(set(digests)) == len(digests)
    relabelled = dataclasses.replace(CLIP, vad=(0.5, 0.5, 0.5), split="test")
    assert features_digest([relabelled], others[0]) == digests[0], "labels are no features"


class Decoded:
    """A dataset of Ray's that lies in memory, in two batches."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.batches = [pa.Table.from_pylist(part, schema=DECODED) for part in (rows[:5], rows[5:])]

    def iter_batches(self, **_: Any) -> Iterator[pa.Table]:
        return iter(self.batches)


def test_clips_in_memory_have_the_features_of_their_row_version_and_stream() -> None:
    """In whatever order they come; a clip that could not be read is left out."""
    settings = two_streams(LOGMEL, LOGMEL | {"num_mels": 20}, distortion=DistortionConfig(copies=1))
    clips = [dataclasses.replace(CLIP, uri=f"{row}.wav") for row in range(3)]
    widths = {"a": 12, "b": 20}
    values = {
        (row, version, stream): np.full((2 + row, widths[stream]), 10 * row + version, np.float16)
        for row in (2, 0)
        for version in (1, 0)
        for stream in ("b", "a")
    }
    rows = [decoded_row(row, version, of, stream=stream) for (row, version, stream), of in values.items()]
    rows.insert(3, unreadable_row(1, 0, ValueError("no sound")))
    held = clips_in_memory(Decoded(rows), clips, settings)
    assert [clip.uri for clip in held.clips] == ["0.wav", "2.wav"]
    assert held.num_versions == 2
    for place, row in enumerate((0, 2)):
        for version in range(2):
            [drawn] = held.draw([(place, version)])
            assert set(drawn) == {"a", "b"}
            for stream, frames in drawn.items():
                assert torch.equal(frames, torch.from_numpy(values[row, version, stream]).float())


def test_front_ends_start_from_the_published_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, str]] = []
    monkeypatch.setattr(Streams, "start_from", lambda self, weights: started.append(weights))
    front_ends = features._front_ends(json.dumps(to_mapping(config(LOGMEL).network)), '{"speech": "folder"}', 7)
    assert started == [{"speech": "folder"}]
    assert not front_ends.training
