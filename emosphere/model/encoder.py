"""What turns waveforms into frames: a fixed front end, then the part that learns."""

from collections.abc import Mapping
from typing import Protocol, cast

from jaxtyping import Float, Int
from torch import Tensor, nn

from emosphere.model.architecture import LogMelConfig, PretrainedConfig, StreamConfig, WaveformConfig
from emosphere.model.frames import Features, Frames
from emosphere.model.logmel import LogMelEncoder
from emosphere.model.pretrained import PretrainedEncoder
from emosphere.model.waveform import WaveformEncoder


class Encoder(Protocol):
    """The two steps from 16 kHz waveforms to frames, and the sizes the rest of the network needs."""

    out_features: int
    """Features of a frame."""
    min_samples: int
    """Shortest waveform that has a frame."""

    def features(self, waveforms: Float[Tensor, "batch sample"], num_samples: Int[Tensor, "batch"]) -> Frames:
        """The fixed front end: nothing in it learns, so training may keep its result for all epochs."""
        ...

    def __call__(self, features: Frames) -> Frames:
        """The learned part."""
        ...


class Streams(nn.ModuleDict):
    """The encoders of a network, by stream."""

    def __init__(self, configs: Mapping[str, StreamConfig]) -> None:
        super().__init__({name: build_encoder(config) for name, config in configs.items()})

    @property
    def encoders(self) -> dict[str, Encoder]:
        """The same, as what they are."""
        return cast(dict[str, Encoder], dict(self.items()))

    @property
    def min_samples(self) -> int:
        """Shortest waveform that gives every stream a frame."""
        return max(encoder.min_samples for encoder in self.encoders.values())

    def features(self, waveforms: Float[Tensor, "batch sample"], num_samples: Int[Tensor, "batch"]) -> Features:
        """The fixed front ends, without gradient."""
        return {name: encoder.features(waveforms, num_samples) for name, encoder in self.encoders.items()}

    def start_from(self, weights: Mapping[str, str]) -> None:
        """Take over published weights, from a folder for each stream that has any. Raises BadCheckpoint."""
        for name, folder in weights.items():
            cast(PretrainedEncoder, self[name]).start_from(folder)


def build_encoder(config: StreamConfig) -> nn.Module:
    """The encoder that ``config`` describes, fulfilling :class:`Encoder`."""
    encoder: nn.Module = ENCODERS[type(config)](config)
    return encoder


ENCODERS: dict[type[StreamConfig], type[nn.Module]] = {
    LogMelConfig: LogMelEncoder,
    PretrainedConfig: PretrainedEncoder,
    WaveformConfig: WaveformEncoder,
}
"""The part that each kind of settings builds."""
