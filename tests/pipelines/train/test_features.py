"""Features are computed where the network is, by the front end that it begins with, and once for all who need them."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch

from emosphere.clips.batches import clip_features
from emosphere.clips.manifest import Clip
from emosphere.config import to_mapping
from emosphere.model.network import Network
from pipelines.train import features
from pipelines.train.config import TrainConfig
from pipelines.train.features import FeatureCache, features_digest
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
    cache, first, second = FeatureCache(), config(WAVLM), config(WAVLM, seed=1)
    assert cache.features([CLIP], first) is cache.features([CLIP], first)
    assert cache.features([CLIP], second)["seed"] == 1
    assert cache.features([CLIP], first)["seed"] == 0
    assert len(decoded) == 3


def test_a_pretrained_kind_without_weights_is_known() -> None:
    assert config(WAVLM).drawn_streams == {"speech"}
    assert not dataclasses.replace(config(WAVLM), weights={"speech": "folder"}).drawn_streams
    assert not config(LOGMEL).drawn_streams
