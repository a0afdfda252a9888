"""Frames of a clip to one vector: the paper's style pooling, attentive statistics as its ablation, the plain mean."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from emosphere.model.architecture import MeanPoolingConfig, PoolingConfig, StatisticsPoolingConfig, StylePoolingConfig
from emosphere.model.frames import Frames, mean_over_frames, silence_padding


class StylePooling(nn.Module):
    """Design notes 3.3, in their order. No LayerNorm anywhere: the authors' "LinearNorm" is a plain linear layer.

    The one departure: padding is silenced before each convolution too, so that a clip's vector does not depend on
    what it is batched with.
    """

    def __init__(self, in_features: int, config: StylePoolingConfig) -> None:
        super().__init__()
        self.out_features = dim = config.dim
        self.spectral = nn.Sequential(
            nn.Linear(in_features, dim),
            nn.Mish(),
            nn.Dropout(config.dropout),
            nn.Linear(dim, dim),
            nn.Mish(),
            nn.Dropout(config.dropout),
        )
        self.temporal = nn.ModuleList(GatedConv(dim, config.kernel, config.dropout) for _ in range(2))
        self.attention = SelfAttention(dim, config.num_heads, config.dropout)
        self.out = nn.Linear(dim, dim)
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    layer.weight.mul_(config.initial_gain)

    def forward(self, frames: Frames) -> Float[Tensor, "batch feature"]:
        """One vector of ``out_features`` per clip, for any length of at least one frame."""
        frames = Frames(self.spectral(frames.values), frames.is_valid)
        for conv in self.temporal:
            frames = conv(frames)
        frames = self.attention(Frames(silence_padding(frames), frames.is_valid))
        return mean_over_frames(Frames(self.out(frames.values), frames.is_valid))


class GatedConv(nn.Module):
    """``x + dropout(P * sigmoid(Q))``, P and Q the two halves of one convolution over time."""

    def __init__(self, dim: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim, 2 * dim, kernel, padding=kernel // 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Frames) -> Frames:
        halves = self.conv(silence_padding(frames).transpose(1, 2)).transpose(1, 2)
        return Frames(frames.values + self.dropout(nn.functional.glu(halves, dim=-1)), frames.is_valid)


class SelfAttention(nn.Module):
    """Multi-head self-attention with a residual; logits are divided by sqrt(dim), not by sqrt(dim per head)."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Frames) -> Frames:
        query, key, value = (
            layer(frames.values).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        logits = query @ key.transpose(2, 3) / frames.values.shape[-1] ** 0.5
        logits = logits.masked_fill(~frames.is_valid[:, None, None, :], -torch.inf)
        heads = self.dropout(logits.softmax(dim=-1)) @ value
        joined = self.out(heads.transpose(1, 2).flatten(2))
        return Frames(frames.values + self.dropout(joined), frames.is_valid)


class StatisticsPooling(nn.Module):
    """Attention-weighted mean and deviation of the frames, side by side: twice as wide as a frame."""

    def __init__(self, in_features: int, config: StatisticsPoolingConfig) -> None:
        super().__init__()
        self.out_features = 2 * in_features
        self.hidden = nn.Linear(in_features, in_features)
        self.score = nn.Parameter(torch.randn(in_features))

    def forward(self, frames: Frames) -> Float[Tensor, "batch feature"]:
        scores = torch.tanh(self.hidden(frames.values)) @ self.score
        weights = scores.masked_fill(~frames.is_valid, -torch.inf).softmax(dim=1).unsqueeze(-1)
        values = silence_padding(frames)
        mean = (weights * values).sum(dim=1)
        variance = (weights * values.square()).sum(dim=1) - mean.square()
        # The floor is the authors': it also keeps the root's gradient finite for a clip of one frame.
        return torch.cat([mean, variance.clamp(min=1e-5).sqrt()], dim=1)


class MeanPooling(nn.Module):
    """Mean over the valid frames."""

    def __init__(self, in_features: int, config: MeanPoolingConfig) -> None:
        super().__init__()
        self.out_features = in_features

    def forward(self, frames: Frames) -> Float[Tensor, "batch feature"]:
        return mean_over_frames(frames)


Pooling = StylePooling | StatisticsPooling | MeanPooling


def build_pooling(in_features: int, config: PoolingConfig) -> Pooling:
    """The pooling that ``config`` describes, for frames of ``in_features``."""
    pooling: Pooling = _POOLINGS[type(config)](in_features, config)
    return pooling


_POOLINGS: dict[type, type] = {
    StylePoolingConfig: StylePooling,
    StatisticsPoolingConfig: StatisticsPooling,
    MeanPoolingConfig: MeanPooling,
}
