"""Settings of a training, as small as they can be."""

from typing import Any

from emosphere.clips.manifest import Clip
from emosphere.config import from_mapping
from pipelines.train.config import TrainConfig
from tests.encoders import TINY

CLIP = Clip(uri="a.wav", vad=(0.0, 0.0, 0.0), speaker="s", corpus="c", split="train")
LOGMEL = {"kind": "logmel", "num_mels": 12, "dim": 8, "num_blocks": 1}
WAVLM = {"kind": "wavlm", "size": "base", "settings": TINY | {"num_hidden_layers": 1}}


def config(encoder: dict[str, Any], *, seed: int = 0) -> TrainConfig:
    network = {"streams": {"speech": encoder}, "pooling": {"kind": "mean"}, "heads": {"vad": {}}}
    values = {
        "name": "x", "licence": "CC0-1.0", "out": "out", "seed": seed, "network": network,
        "clips": {"manifest": "m.csv"}, "fit": {"terms": {"vad": {"kind": "concordance"}}},
    }  # fmt: skip
    return from_mapping(TrainConfig, values, source="test")
