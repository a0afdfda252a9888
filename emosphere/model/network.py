"""The network: encoder, pooling, heads. The file to read first."""

from collections.abc import Collection
from typing import cast

from jaxtyping import Float, Int
from torch import Tensor, nn

from emosphere.model.architecture import NetworkConfig
from emosphere.model.encoder import Encoder, build_encoder
from emosphere.model.frames import Frames
from emosphere.model.heads import Head
from emosphere.model.pooling import build_pooling


class Network(nn.Module):
    """Waveforms -> frames -> one vector per clip -> one answer per head, all heads in parallel."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder)
        width = cast(Encoder, self.encoder).out_features
        self.pooling = build_pooling(width, config.pooling)
        self.heads = nn.ModuleDict({name: Head(self.pooling.out_features, head) for name, head in config.heads.items()})

    @property
    def min_samples(self) -> int:
        """Shortest waveform that gives a frame; pad shorter ones with silence."""
        return cast(Encoder, self.encoder).min_samples

    def listen(self, waveforms: Float[Tensor, "batch sample"], num_samples: Int[Tensor, "batch"]) -> Frames:
        """The encoder's fixed front end, without gradient. Waveforms: 16 kHz, zeros behind ``num_samples``."""
        return cast(Encoder, self.encoder).listen(waveforms, num_samples)

    def embed(self, heard: Frames) -> Float[Tensor, "batch feature"]:
        """One vector per clip; it does not depend on the other clips of the batch."""
        vector: Tensor = self.pooling(self.encoder(heard))
        return vector

    def forward(
        self, heard: Frames, *, detached: Collection[str] = frozenset()
    ) -> dict[str, Float[Tensor, "batch output"]]:
        """Each head's answer, by its name, from what ``listen`` gave.

        Heads named in ``detached`` send no gradient into pooling and encoder.
        """
        return self.judge(self.embed(heard), detached=detached)

    def judge(
        self, vector: Float[Tensor, "batch feature"], *, detached: Collection[str] = frozenset()
    ) -> dict[str, Float[Tensor, "batch output"]]:
        """Each head's answer, by its name, from a clip's vector."""
        return {name: head(vector.detach() if name in detached else vector) for name, head in self.heads.items()}
