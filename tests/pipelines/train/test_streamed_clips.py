"""Clips decoded anew in every epoch go through the front end of the network that learns from them."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from emosphere.model.architecture import ConcatFusionConfig
from emosphere.model.frames import ClipFeatures
from emosphere.model.network import Network
from pipelines.train import streamed_clips
from pipelines.train.streamed_clips import StreamedClips
from tests.pipelines.train.tiny_config import CLIP, LOGMEL, config


def test_streamed_clips_follow_the_device_of_their_network(monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[torch.device] = []

    def clip_features(waveform: np.ndarray, front_end: Any, min_samples: int, device: torch.device) -> ClipFeatures:
        devices.append(device)
        return {"speech": torch.zeros(1, 12)}

    monkeypatch.setattr(streamed_clips, "clip_features", clip_features)
    settings = config(LOGMEL)
    clips = StreamedClips([CLIP], settings)
    network = Network(settings.network)
    for device in ("cpu", "meta"):
        clips.use_front_end_of(network.to(device))
        clips._features(np.zeros(16_000, np.float32))
    assert [device.type for device in devices] == ["cpu", "meta"]


def test_every_stream_is_rounded_as_memory_would_hold_it() -> None:
    settings = config(LOGMEL)
    streams = {"a": settings.network.streams["speech"], "b": settings.network.streams["speech"]}
    network = Network(
        dataclasses.replace(settings.network, streams=streams, fusion=ConcatFusionConfig()), settings.tasks
    )
    clips = StreamedClips([CLIP], settings)
    clips.use_front_end_of(network)
    waveform = np.sin(np.arange(16_000, dtype=np.float32))
    exact = network.features(torch.from_numpy(waveform)[None], torch.tensor([16_000]))
    found = clips._features(waveform)
    assert set(found) == {"a", "b"}
    for stream, frames in found.items():
        assert torch.equal(frames, exact[stream].values[0].half().float())
        assert not torch.equal(frames, exact[stream].values[0])
