"""A small encoder trained from scratch on the samples themselves: a stack of convolutions, and no spectrum."""

from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from emosphere.model.architecture import WaveformConfig
from emosphere.model.frames import Frames, standardise, validity

KERNELS: Final = (10, 3, 3, 3, 3, 2, 2)
STRIDES: Final = (5, 2, 2, 2, 2, 2, 2)
"""Those of wav2vec 2.0 (Baevski et al. 2020): together a frame sees 400 samples, 320 after the frame before it."""


class WaveformEncoder(nn.Module):
    """16 kHz waveforms to frames of 20 ms, ``channels`` features each.

    No convolution is padded, so a frame stands only where all that it sees is the clip's.
    """

    hop_samples = 320
    min_samples = 2 * hop_samples
    """A shorter waveform has no frame: one sees a hop and a part of the next."""

    def __init__(self, config: WaveformConfig) -> None:
        super().__init__()
        self.out_features = config.channels
        inputs = (1, *[config.channels] * (len(KERNELS) - 1))
        self.convs = nn.ModuleList(
            nn.Conv1d(wide, config.channels, kernel, stride)
            for wide, kernel, stride in zip(inputs, KERNELS, STRIDES, strict=True)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(config.channels) for _ in KERNELS)

    @torch.no_grad()
    def features(self, waveforms: Float[Tensor, "batch sample"], num_samples: Int[Tensor, "batch"]) -> Frames:
        """The waveform at the level of a clip, zero mean and unit deviation, cut into hops of 320 samples.

        What fills no whole hop at the clip's end is left out. Nothing here learns, so training may keep the result.
        """
        hops = standardise(waveforms, num_samples).unfold(1, self.hop_samples, self.hop_samples)
        num_hops = torch.div(num_samples, self.hop_samples, rounding_mode="floor")
        return Frames(hops, validity(num_hops, hops.shape[1]))

    def forward(self, features: Frames) -> Frames:
        """One frame for each hop but the last, from what ``features`` gave."""
        values = features.values.flatten(1)[:, None]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            # Over the features of one place in time: over all of a clip it would hear what the clip is padded with.
            values = nn.functional.gelu(norm(conv(values).transpose(1, 2))).transpose(1, 2)
        return Frames(values.transpose(1, 2), features.is_valid[:, 1:])
