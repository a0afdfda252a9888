"""Regions of the sphere: the paper's 8 octants, or 18 or 32 of equal angular step."""

import math
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emosphere.region_names import NUM_AZIMUTH_BINS


def region_of(vad: Float[Tensor, "*batch 3"], num_regions: int = 8) -> Int[Tensor, "*batch"]:
    """Index into ``REGION_NAMES[num_regions]`` of each centred VAD point, computed in float64.

    Azimuth bins are [k step, (k + 1) step) degrees, polar bins upper-inclusive, so a polar angle of exactly 90
    belongs to the upper half. For 8 regions the signs decide (EmoSphere-SER's rule): averaged ratings often lie
    exactly on an axis.

    >>> region_of(torch.tensor([0.5, -0.5, 0.0])).item()
    1
    """
    if num_regions not in NUM_AZIMUTH_BINS:
        raise ValueError(f"num_regions={num_regions} is not one of {', '.join(map(str, NUM_AZIMUTH_BINS))}.")
    valence, arousal, dominance = vad.double().unbind(dim=-1)
    if num_regions == 8:
        right = torch.where(valence >= 0, 0, 3)
        left = torch.where(valence >= 0, 1, 2)
        return torch.where(arousal >= 0, right, left) + 4 * (dominance < 0).long()
    return _polar_bin(valence, arousal, dominance, num_regions) * NUM_AZIMUTH_BINS[num_regions] + _azimuth_bin(
        valence, arousal, num_regions
    )


# The borders of 18 and 32 regions run through ordinary values (valence = arousal lies at 45 degrees). There an angle
# decides by luck: no library promises atan2 to the last digit, on every processor and in every vectorised loop. So
# points are compared with the border lines themselves, which is exact at 45 degrees and its multiples. The other
# slope, the root of 3, is met by no floating-point number.
_BORDERS: Final[dict[int, tuple[tuple[float, float], ...]]] = {
    18: ((1.0, math.sqrt(3)), (-1.0, math.sqrt(3))),
    32: ((1.0, 1.0), (0.0, 1.0), (-1.0, 1.0)),
}
"""Directions (along, across) of the borders strictly between 0 and 180 degrees, any length."""


def _azimuth_bin(valence: Tensor, arousal: Tensor, num_regions: int) -> Tensor:
    is_lower = (valence < 0) | ((valence == 0) & (arousal < 0))
    across, along = torch.where(is_lower, -valence, valence), torch.where(is_lower, -arousal, arousal)
    index = (NUM_AZIMUTH_BINS[num_regions] // 2) * is_lower.long()
    for border_along, border_across in _BORDERS[num_regions]:
        index = index + (border_along * across >= border_across * along).long()
    return torch.where((valence == 0) & (arousal == 0), 0, index)


def _polar_bin(valence: Tensor, arousal: Tensor, dominance: Tensor, num_regions: int) -> Tensor:
    planar = torch.hypot(arousal, valence)
    index = torch.zeros_like(planar, dtype=torch.long)
    for border_along, border_across in _BORDERS[num_regions]:
        index = index + (border_along * planar > border_across * dominance).long()
    return index
