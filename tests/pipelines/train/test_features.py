"""Clips are heard where the network is, and by the front end it was born with."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from emosphere.clips.batches import clip_features
from emosphere.clips.manifest import Clip
from emosphere.config import from_mapping, to_mapping
from emosphere.model.network import Network
from pipelines.train import features
from pipelines.train.config import TrainConfig
from pipelines.train.features import StreamedClips, features_digest
from tests.encoders import TINY

CLIP = Clip(uri="a.wav", vad=(0.0, 0.0, 0.0), region=0, speaker="s", corpus="c", split="train")
LOGMEL = {"kind": "logmel", "num_mels": 12, "dim": 8, "num_blocks": 1}
WAVLM = {"kind": "wavlm", "size": "base", "settings": TINY | {"num_hidden_layers": 1}}


def config(encoder: dict[str, Any], *, seed: int = 0) -> TrainConfig:
    network = {"encoder": encoder, "pooling": {"kind": "mean"}, "heads": {"vad": {"outputs": 3}}}
    values = {
        "name": "x", "licence": "CC0-1.0", "out": "out", "seed": seed, "network": network,
        "clips": {"manifest": "m.csv"}, "fit": {"loss": {"region_schedule": "off"}},
    }  # fmt: skip
    return from_mapping(TrainConfig, values, source="test")


def test_a_clip_is_heard_on_the_device_of_the_network() -> None:
    """On the meta device, which like a GPU takes no tensor of the CPU beside its own."""
    network = Network(config(LOGMEL).network).to("meta")
    frames = clip_features(np.zeros(16_000, np.float32), network.features, network.min_samples, torch.device("meta"))
    assert frames.device.type == "meta"


def test_streamed_clips_follow_the_network_that_hears_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []

    def on_device(waveform: np.ndarray, front_end: Any, min_samples: int, device: torch.device) -> Tensor:
        asked.append(device)
        return torch.zeros(1, 12)

    monkeypatch.setattr(features, "clip_features", on_device)
    settings = config(LOGMEL)
    clips = StreamedClips([CLIP], settings)
    network = Network(settings.network)
    for device in ("cpu", "meta"):
        clips.use_front_end_of(network.to(device))
        clips._features(np.zeros(16_000, np.float32))
    assert [device.type for device in asked] == ["cpu", "meta"]


def test_random_front_ends_are_heard_anew_for_every_seed() -> None:
    assert features_digest([CLIP], config(LOGMEL)) == features_digest([CLIP], config(LOGMEL, seed=1))
    assert features_digest([CLIP], config(WAVLM)) != features_digest([CLIP], config(WAVLM, seed=1))
    published = [dataclasses.replace(config(WAVLM, seed=seed), encoder_weights="folder") for seed in (0, 1)]
    assert features_digest([CLIP], published[0]) == features_digest([CLIP], published[1])


def test_kept_clips_are_heard_by_the_front_end_that_the_network_begins_with() -> None:
    settings = config(WAVLM, seed=1)
    torch.manual_seed(1)
    network = Network(settings.network)
    front_end = features._front_end(json.dumps(to_mapping(settings.network)), None, 1)
    waveform = np.sin(np.arange(4_000, dtype=np.float32))
    mine, its = (clip_features(waveform, one.features, one.min_samples) for one in (network, front_end))
    assert torch.equal(mine, its)
