"""What turns waveforms into frames: a fixed front end, then the part that learns."""

from typing import Protocol

from jaxtyping import Float, Int
from torch import Tensor, nn

from emosphere.model.architecture import LogMelConfig, PretrainedConfig, StreamConfig, WaveformConfig
from emosphere.model.frames import Frames
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
