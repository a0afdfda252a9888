"""A clip's vector to numbers: one head per question, all reading the same vector."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadConfig:
    """One question put to the clip's vector."""

    outputs: int
    """Numbers it answers with: 3 for VAD, the number of regions for region logits."""
    hidden: int = 1024
    """Width of the layer between."""
    dropout: float = 0.5
    """Before each of its two linear layers."""
    norm: Literal["layer", "none"] = "layer"
    """LayerNorm after the first linear layer, or nothing."""
    activation: Literal["relu", "tanh"] = "relu"
    """After that, before the second linear layer."""


class Head(nn.Module):
    """Dropout, linear, norm, activation, dropout, linear (design notes 3.4). The outputs have no activation."""

    def __init__(self, in_features: int, config: HeadConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(in_features, config.hidden),
            nn.LayerNorm(config.hidden) if config.norm == "layer" else nn.Identity(),
            nn.ReLU() if config.activation == "relu" else nn.Tanh(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.outputs),
        )

    def forward(self, vector: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch output"]:
        answers: Tensor = self.layers(vector)
        return answers
