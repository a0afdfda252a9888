"""A small encoder trained from scratch on log-mel spectra; it needs no download."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from emosphere.model.architecture import LogMelConfig
from emosphere.model.frames import Frames, silence_padding, thin, validity

FLOOR_BELOW_PEAK = 10.0
"""How far below a clip's loudest band its floor lies, in natural logs of energy (43 dB)."""

ACTIVE_BELOW_PEAK = 8.0
"""A frame is active when its loudest band is no further below the clip's loudest, in natural logs of energy (35 dB)."""


class LogMelEncoder(nn.Module):
    """16 kHz waveforms to frames of ``stride`` times 16 ms, ``dim`` features each."""

    window_samples = 640
    """40 ms: long enough to tell the harmonics of most voices apart."""
    hop_samples = 256
    fft_samples = 1024
    min_samples = window_samples
    """A shorter waveform has no frame."""

    mel_bands: Tensor
    window: Tensor

    def __init__(self, config: LogMelConfig) -> None:
        super().__init__()
        self.config = config
        self.out_features = config.dim
        bands = mel_bands(self.fft_samples // 2 + 1, config.low_hz, config.high_hz, config.num_mels)
        # Both follow from the configuration: they are not worth a place in the checkpoint.
        self.register_buffer("mel_bands", bands, persistent=False)
        self.register_buffer("window", torch.hann_window(self.window_samples), persistent=False)
        # Over bands as over time: what is learnt at one pitch and one length of throat is known at others.
        fine, coarse = config.channels
        self.fine = nn.Conv2d(1, fine, (5, 7), stride=(1, 2), padding=(2, 3))
        self.coarse = nn.Conv2d(fine, coarse, (3, 5), stride=(1, 2), padding=(1, 2))
        self.join = nn.Linear(coarse * -(-config.num_mels // 4), config.dim)
        self.blocks = nn.ModuleList(
            TimeConv(config.dim, config.kernel, config.dropout) for _ in range(config.num_blocks)
        )
        self.norm = nn.LayerNorm(config.dim)

    @torch.no_grad()
    def features(self, waveforms: Float[Tensor, "batch sample"], num_samples: Int[Tensor, "batch"]) -> Frames:
        """Natural-log mel energies every 16 ms, not normalised. It learns nothing, so training may keep the result.

        A frame stands only where its whole window holds samples of the clip, so padding never enters the features.
        """
        windows = waveforms.unfold(1, self.window_samples, self.hop_samples) * self.window
        spectra = torch.fft.rfft(windows, n=self.fft_samples)
        energies = spectra.real.square() + spectra.imag.square()
        logmel = torch.log(energies @ self.mel_bands + 1e-10)
        num_frames = torch.div(num_samples - self.window_samples, self.hop_samples, rounding_mode="floor") + 1
        return Frames(logmel, validity(num_frames, logmel.shape[1]))

    def forward(self, features: Frames) -> Frames:
        """Frames of ``stride`` times 16 ms from what ``features`` gave."""
        bands = nn.functional.gelu(self.fine(self.normalise(features)[:, None])).transpose(1, 2)
        # What the first convolution makes of padding must not reach valid frames through the second.
        bands = silence_padding(Frames(bands, features.is_valid)).transpose(1, 2)
        bands = nn.functional.gelu(self.coarse(bands)).transpose(1, 2)
        frames = thin(Frames(bands, features.is_valid), self.config.stride)
        frames = Frames(self.join(frames.values.flatten(2)), frames.is_valid)
        for block in self.blocks:
            frames = block(frames)
        return Frames(self.norm(frames.values), frames.is_valid)

    def normalise(self, features: Frames) -> Float[Tensor, "batch frame band"]:
        """Zero mean per band and unit deviation over the active frames; neither level nor microphone remains."""
        mask = features.is_valid[:, :, None]
        loudest = features.values.masked_fill(~mask, -torch.inf).amax(dim=(1, 2), keepdim=True)
        values = torch.maximum(features.values, loudest - FLOOR_BELOW_PEAK).masked_fill(~mask, 0.0)
        # Over the active frames: pauses and silent edges would pull mean and deviation their way.
        active = mask & (values.amax(dim=2, keepdim=True) > loudest - ACTIVE_BELOW_PEAK)
        count = active.sum(dim=1, keepdim=True)
        values = (values - (values * active).sum(dim=1, keepdim=True) / count).masked_fill(~mask, 0.0)
        power = (values.square() * active).sum(dim=1, keepdim=True) / count
        if self.config.spread == "clip":
            power = power.mean(dim=2, keepdim=True)
        # The constant keeps a band without sound (telephone, above 4 kHz) near 0.
        return values / (power + 0.1).sqrt()


class TimeConv(nn.Module):
    """Residual block: LayerNorm, a convolution over time per feature, then a wide layer per frame (ConvNeXt's form)."""

    def __init__(self, dim: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.over_time = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.widen = nn.Linear(dim, 2 * dim)
        self.narrow = nn.Linear(2 * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Frames) -> Frames:
        values = silence_padding(Frames(self.norm(frames.values), frames.is_valid))
        values = self.over_time(values.transpose(1, 2)).transpose(1, 2)
        values = self.narrow(nn.functional.gelu(self.widen(values)))
        return Frames(frames.values + self.dropout(values), frames.is_valid)


def mel_bands(num_bins: int, low_hz: float, high_hz: float, num_bands: int) -> Float[Tensor, "bin band"]:
    """Triangles of height 1 over the bins from 0 to 8,000 Hz, spaced evenly on the mel scale (HTK's).

    As torchaudio's ``melscale_fbanks`` to the bit, which takes a tenth of a second to import.
    """
    bins_hz = torch.linspace(0, 8_000, num_bins)
    low, high = (2595.0 * math.log10(1.0 + hz / 700.0) for hz in (low_hz, high_hz))
    points_hz = 700.0 * (10.0 ** (torch.linspace(low, high, num_bands + 2) / 2595.0) - 1.0)
    widths_hz = points_hz.diff()
    away_hz = points_hz - bins_hz[:, None]
    falling, rising = -away_hz[:, :-2] / widths_hz[:-1], away_hz[:, 2:] / widths_hz[1:]
    return torch.minimum(falling, rising).clamp(min=0.0)
