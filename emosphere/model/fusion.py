"""Vectors and frames of a clip's streams to the one vector that its heads read."""

from collections.abc import Mapping
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from emosphere.model.architecture import (
    CoAttentionFusionConfig,
    ConcatFusionConfig,
    FirstFusionConfig,
    FusionConfig,
)
from emosphere.model.frames import Frames, silence_padding


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


class CoAttentionFusion(nn.Module):
    """All vectors, and what each asks of the others' frames, in a row, each projected to ``dim`` features.

    For every stream a query from the vectors of all others attends to its frames, in several heads:
    ``q = W_q s``, ``k_t = W_k h_t``, ``a = softmax_t(q k_t / sqrt(dim / num_heads))``, ``sum_t a_t W_v h_t``, with s
    the others' vectors in a row and h_t the stream's frames. The formula is ours, of any length and normalised; it
    follows the co-attention of Zou et al. (2022, ICASSP), which weighs a fixed number of frames by a ReLU.
    """

    def __init__(
        self, frame_widths: Mapping[str, int], widths: Mapping[str, int], config: CoAttentionFusionConfig
    ) -> None:
        super().__init__()
        self.out_features = 2 * len(widths) * config.dim
        self.num_heads = config.num_heads
        others = {name: sum(widths.values()) - width for name, width in widths.items()}
        frames = {name: frame_widths[name] for name in widths}
        self.vector, self.query, self.key, self.value = (
            nn.ModuleDict({name: nn.Linear(width, config.dim) for name, width in inputs.items()})
            for inputs in (widths, others, frames, frames)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, vectors: Mapping[str, Tensor], frames: Mapping[str, Frames]) -> Float[Tensor, "batch feature"]:
        projected = [self.vector[name](vector) for name, vector in vectors.items()]
        return torch.cat([*projected, *(self._attended(name, vectors, frames[name]) for name in vectors)], dim=1)

    def _attended(self, name: str, vectors: Mapping[str, Tensor], frames: Frames) -> Float[Tensor, "batch feature"]:
        asked_by = torch.cat([vector for other, vector in vectors.items() if other != name], dim=1)
        query = self.query[name](asked_by).unflatten(1, (self.num_heads, 1, -1))
        values = silence_padding(frames)
        key, value = (
            layer[name](values).unflatten(2, (self.num_heads, -1)).transpose(1, 2) for layer in (self.key, self.value)
        )
        logits = query @ key.transpose(2, 3) / key.shape[-1] ** 0.5
        logits = logits.masked_fill(~frames.is_valid[:, None, None, :], -torch.inf)
        attended: Tensor = self.dropout(logits.softmax(dim=-1)) @ value
        return attended.flatten(1)


def build_fusion(config: FusionConfig | None, frame_widths: Mapping[str, int], widths: Mapping[str, int]) -> nn.Module:
    """What ``config`` describes, a :class:`Fusion`, for streams of these features per frame and per pooled vector."""
    config = config or FirstFusionConfig()
    fusion: nn.Module = FUSIONS[type(config)](frame_widths, widths, config)
    return fusion


FUSIONS: dict[type[FusionConfig], type[nn.Module]] = {
    FirstFusionConfig: FirstFusion,
    ConcatFusionConfig: ConcatFusion,
    CoAttentionFusionConfig: CoAttentionFusion,
}
"""The part that each kind of settings builds."""
