"""Vectors and frames of a clip's streams to the one vector that its heads read."""

from collections.abc import Mapping
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from emosphere.model.architecture import ConcatFusionConfig, FirstFusionConfig, FusionConfig
from emosphere.model.frames import Frames


class Fusion(Protocol):
    """How several streams become one."""

    out_features: int
    """Features of the clip's vector."""

    def __call__(self, vectors: Mapping[str, Tensor], frames: Mapping[str, Frames]) -> Float[Tensor, "batch feature"]:
        """From each stream's pooled vector and its frames, by name in the order of the settings."""
        ...


class FirstFusion(nn.Module):
    """The first stream's vector as it is: what a network of one stream does."""

    def __init__(self, frame_widths: Mapping[str, int], widths: Mapping[str, int], config: FirstFusionConfig) -> None:
        super().__init__()
        self.first, self.out_features = next(iter(widths.items()))

    def forward(self, vectors: Mapping[str, Tensor], frames: Mapping[str, Frames]) -> Float[Tensor, "batch feature"]:
        return vectors[self.first]


class ConcatFusion(nn.Module):
    """All vectors in a row."""

    def __init__(self, frame_widths: Mapping[str, int], widths: Mapping[str, int], config: ConcatFusionConfig) -> None:
        super().__init__()
        self.out_features = sum(widths.values())

    def forward(self, vectors: Mapping[str, Tensor], frames: Mapping[str, Frames]) -> Float[Tensor, "batch feature"]:
        return torch.cat(list(vectors.values()), dim=1)


def build_fusion(config: FusionConfig | None, frame_widths: Mapping[str, int], widths: Mapping[str, int]) -> nn.Module:
    """What ``config`` describes, a :class:`Fusion`, for streams of these features per frame and per pooled vector."""
    config = config or FirstFusionConfig()
    fusion: nn.Module = FUSIONS[type(config)](frame_widths, widths, config)
    return fusion


FUSIONS: dict[type[FusionConfig], type[nn.Module]] = {
    FirstFusionConfig: FirstFusion,
    ConcatFusionConfig: ConcatFusion,
}
"""The part that each kind of settings builds."""
