"""A clip's vector to numbers: one head per question, all reading the same vector."""

from jaxtyping import Float
from torch import Tensor, nn

from emosphere.model.architecture import HeadConfig


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
