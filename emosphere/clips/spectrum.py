"""Random changes to clips while training: another stretch, another tempo, another throat, bands missing."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Bands = Float[Tensor, "frame band"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpectrumConfig:
    """Changes to the frames of a clip, all drawn anew each epoch. Frames are 16 ms for the log-mel encoder."""

    streams: tuple[str, ...] = ("speech",)
    """Streams whose frames are changed, which must be bands over time (`logmel`); the others are heard whole."""
    crop_frames: tuple[int, int] = (95, 375)
    """Shortest and longest stretch of its clips that a batch holds."""
    trim: float = 0.5
    """Probability that silence at the edges is cut off, as speech activity will have done."""
    tempo: float = 0.15
    """Largest change of tempo, as a share."""
    warp: float = 0.08
    """Largest stretching of the band axis, as a share: longer and shorter throats. 0 where features are no bands."""
    shift_bands: float = 2.0
    """Largest move along the band axis."""
    masked_frames: int = 25
    """Longest run of frames that is masked, twice per clip (SpecAugment)."""
    masked_bands: int = 12
    """Widest run of bands that is masked, twice per clip."""
    narrow: float = 0.2
    """Probability that all bands above a random one are empty, as in a narrow-band recording."""

    def __post_init__(self) -> None:
        if len(self.crop_frames) != 2 or not 0 < self.crop_frames[0] <= self.crop_frames[1]:
            raise ValueError(f"crop_frames={self.crop_frames} must be a shortest and a longest length, above 0.")


def augment_bands(bands: Bands, longest: int, config: SpectrumConfig, rng: np.random.Generator) -> Bands:
    """One random version of a clip, at most ``longest`` frames."""
    if rng.random() < config.trim:
        bands = trim_silence(bands, margin=int(rng.integers(0, 20)))
    bands = resample(
        bands,
        tempo=rng.uniform(1 - config.tempo, 1 + config.tempo),
        stretch=rng.uniform(1 - config.warp, 1 + config.warp),
        shift=rng.uniform(-config.shift_bands, config.shift_bands),
    )
    if len(bands) > longest:
        start = int(rng.integers(0, len(bands) - longest + 1))
        bands = bands[start : start + longest]
    if rng.random() < config.narrow:
        first = int(rng.integers(bands.shape[1] // 2, bands.shape[1]))
        floor = bands.min()
        bands = bands.clone()
        bands[:, first:] = floor
    return mask_runs(bands, config, rng)


def trim_silence(bands: Bands, *, margin: int) -> Bands:
    """Drop frames before the first and after the last that is within 35 dB of the loudest, but ``margin`` of them."""
    loudness = bands.amax(dim=1)
    loud = torch.nonzero(loudness > loudness.max() - 8.0)[:, 0]
    return bands[max(int(loud[0]) - margin, 0) : int(loud[-1]) + 1 + margin]


def resample(bands: Bands, *, tempo: float, stretch: float, shift: float) -> Bands:
    """Linear interpolation: ``tempo`` times as fast, bands stretched and shifted; edge bands are repeated."""
    num_frames, num_bands = bands.shape
    if tempo != 1:
        wanted = max(int(num_frames / tempo), 1)
        bands = torch.nn.functional.interpolate(bands.T[None], size=wanted, mode="linear", align_corners=False)[0].T
    place = ((torch.arange(num_bands) * stretch) + shift).clamp(0, num_bands - 1)
    low = place.floor().long()
    share = (place - low).to(bands.dtype)
    high = (low + 1).clamp(max=num_bands - 1)
    return bands[:, low] * (1 - share) + bands[:, high] * share


def mask_runs(bands: Bands, config: SpectrumConfig, rng: np.random.Generator) -> Bands:
    """Two runs of frames and two runs of bands replaced by each band's mean (Park et al. 2019)."""
    mean = bands.mean(dim=0, keepdim=True)
    num_frames, num_bands = bands.shape
    masked = bands.clone()
    for _ in range(2):
        width = int(rng.integers(0, min(config.masked_frames, num_frames // 4) + 1))
        start = int(rng.integers(0, num_frames - width + 1))
        masked[start : start + width] = mean
        width = int(rng.integers(0, min(config.masked_bands, num_bands // 2) + 1))
        start = int(rng.integers(0, num_bands - width + 1))
        masked[:, start : start + width] = mean[:, start : start + width]
    return masked
