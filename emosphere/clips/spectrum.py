"""Random changes to heard clips while training: another stretch, another tempo, another throat, cells missing."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Cells = Float[Tensor, "frame band"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpectrumConfig:
    """Changes to the frames of a clip, all drawn anew each epoch. Frames are 16 ms for the log-mel encoder."""

    crop_frames: tuple[int, int] = (95, 375)
    """Shortest and longest stretch that a batch hears of its clips."""
    trim: float = 0.5
    """Probability that silence at the edges is cut off, as speech activity will have done."""
    tempo: float = 0.15
    """Largest change of tempo, as a share."""
    warp: float = 0.08
    """Largest stretching of the band axis, as a share: longer and shorter throats. 0 where features are no bands."""
    shift_bands: float = 2.0
    """Largest move along the band axis."""
    masked_frames: int = 25
    """Longest run of frames that is blanked, twice per clip (SpecAugment)."""
    masked_bands: int = 12
    """Widest run of bands that is blanked, twice per clip."""
    narrow: float = 0.2
    """Probability that all bands above a random one are empty, as in a narrow-band recording."""

    def __post_init__(self) -> None:
        if len(self.crop_frames) != 2 or not 0 < self.crop_frames[0] <= self.crop_frames[1]:
            raise ValueError(f"crop_frames={self.crop_frames} must be a shortest and a longest length, above 0.")


def change(cells: Cells, longest: int, config: SpectrumConfig, rng: np.random.Generator) -> Cells:
    """One random version of a clip, at most ``longest`` frames."""
    if rng.random() < config.trim:
        cells = trim_silence(cells, margin=int(rng.integers(0, 20)))
    cells = resample(
        cells,
        tempo=rng.uniform(1 - config.tempo, 1 + config.tempo),
        stretch=rng.uniform(1 - config.warp, 1 + config.warp),
        shift=rng.uniform(-config.shift_bands, config.shift_bands),
    )
    if len(cells) > longest:
        start = int(rng.integers(0, len(cells) - longest + 1))
        cells = cells[start : start + longest]
    cells = cells.clone()
    if rng.random() < config.narrow:
        first = int(rng.integers(cells.shape[1] // 2, cells.shape[1]))
        cells[:, first:] = cells.min()
    return blank(cells, config, rng)


def trim_silence(cells: Cells, *, margin: int) -> Cells:
    """Drop frames before the first and after the last that is within 35 dB of the loudest, but ``margin`` of them."""
    loudness = cells.amax(dim=1)
    loud = torch.nonzero(loudness > loudness.max() - 8.0)[:, 0]
    return cells[max(int(loud[0]) - margin, 0) : int(loud[-1]) + 1 + margin]


def resample(cells: Cells, *, tempo: float, stretch: float, shift: float) -> Cells:
    """Linear interpolation: ``tempo`` times as fast, bands stretched and shifted; edge bands are repeated."""
    num_frames, num_bands = cells.shape
    if tempo != 1:
        wanted = max(int(num_frames / tempo), 1)
        cells = torch.nn.functional.interpolate(cells.T[None], size=wanted, mode="linear", align_corners=False)[0].T
    place = ((torch.arange(num_bands) * stretch) + shift).clamp(0, num_bands - 1)
    low = place.floor().long()
    share = (place - low).to(cells.dtype)
    high = (low + 1).clamp(max=num_bands - 1)
    return cells[:, low] * (1 - share) + cells[:, high] * share


def blank(cells: Cells, config: SpectrumConfig, rng: np.random.Generator) -> Cells:
    """Two runs of frames and two runs of bands set to each band's mean (Park et al. 2019), in place."""
    mean = cells.mean(dim=0, keepdim=True)
    num_frames, num_bands = cells.shape
    for _ in range(2):
        width = int(rng.integers(0, min(config.masked_frames, num_frames // 4) + 1))
        start = int(rng.integers(0, num_frames - width + 1))
        cells[start : start + width] = mean
        width = int(rng.integers(0, min(config.masked_bands, num_bands // 2) + 1))
        start = int(rng.integers(0, num_bands - width + 1))
        cells[:, start : start + width] = mean[:, start : start + width]
    return cells
