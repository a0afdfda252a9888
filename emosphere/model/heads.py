"""A clip's vector, or each frame of a stream, to numbers: one head per question."""

from jaxtyping import Float
from torch import Tensor, nn

from emosphere.model.architecture import HeadConfig


class Head(nn.Module):
    """Dropout, linear, norm, activation, dropout, linear (design notes 3.4). The outputs have no activation."""

    def __init__(self, in_features: int, outputs: int, config: HeadConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(in_features, config.hidden),
            nn.LayerNorm(config.hidden) if config.norm == "layer" else nn.Identity(),
            nn.ReLU() if config.activation == "relu" else nn.Tanh(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, outputs),
        )

    def forward(self, values: Float[Tensor, "batch *frame feature"]) -> Float[Tensor, "batch *frame output"]:
        answers: Tensor = self.layers(values)
        return answers
