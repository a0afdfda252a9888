"""A stream that keeps what the others normalise away: how loud a clip is, every 20 ms."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from emosphere.model.architecture import StreamConfig
from emosphere.model.frames import Frames, validity

FRAME_SAMPLES = 320


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelConfig(StreamConfig):
    kind: Literal["level"]
    dim: int = 8


class LevelEncoder(nn.Module):
    min_samples = FRAME_SAMPLES

    def __init__(self, config: LevelConfig) -> None:
        super().__init__()
        self.out_features = config.dim
        self.widen = nn.Linear(1, config.dim)

    @torch.no_grad()
    def features(self, waveforms: Float[Tensor, "batch sample"], num_samples: Int[Tensor, "batch"]) -> Frames:
        frames = waveforms.unfold(1, FRAME_SAMPLES, FRAME_SAMPLES)
        levels = frames.square().mean(dim=2, keepdim=True).add(1e-6).log10()
        num_frames = torch.div(num_samples, FRAME_SAMPLES, rounding_mode="floor")
        return Frames(levels, validity(num_frames, levels.shape[1]))

    def forward(self, features: Frames) -> Frames:
        return Frames(nn.functional.gelu(self.widen(features.values)), features.is_valid)
