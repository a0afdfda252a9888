"""Cells of the sphere: the paper's 8 octants, or 18 or 32 cells of equal angular step."""

from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emosphere.geometry.sphere import to_spherical

NUM_AZIMUTH_BINS: Final = {8: 4, 18: 6, 32: 8}
"""Azimuth bins of each region table; polar bins are half as many, so both steps are 360 / bins degrees."""

REGION_NAMES: Final[dict[int, tuple[str, ...]]] = {
    8: ("A+V+D+", "A-V+D+", "A-V-D+", "A+V-D+", "A+V+D-", "A-V+D-", "A-V-D-", "A+V-D-"),
    **{
        num_regions: tuple(
            f"az{azimuth * step:03d}-{(azimuth + 1) * step:03d} pol{polar * step:03d}-{(polar + 1) * step:03d}"
            for polar in range(bins // 2)
            for azimuth in range(bins)
        )
        for num_regions, bins in NUM_AZIMUTH_BINS.items()
        if num_regions != 8
        for step in (360 // bins,)
    },
}
"""Name of each region. The 8 spell the signs of arousal, valence, dominance (0 counts as +), in the paper's order
I to VIII; the 18 and 32 spell their azimuth (0 to 360 degrees) and polar range."""


def region_of(vad: Float[Tensor, "*batch 3"], num_regions: int = 8) -> Int[Tensor, "*batch"]:
    """Index into ``REGION_NAMES[num_regions]`` of each centred VAD point, computed in float64.

    Azimuth cells are [k step, (k + 1) step) degrees, polar cells upper-inclusive, so a polar angle of exactly 90
    belongs to the upper half. For 8 regions the signs decide (EmoSphere-SER's rule): averaged ratings often lie
    exactly on an axis.
    """
    if num_regions not in NUM_AZIMUTH_BINS:
        raise ValueError(f"num_regions={num_regions} is not one of {', '.join(map(str, NUM_AZIMUTH_BINS))}.")
    if num_regions == 8:
        valence, arousal, dominance = vad.double().unbind(dim=-1)
        right = torch.where(valence >= 0, 0, 3)
        left = torch.where(valence >= 0, 1, 2)
        return torch.where(arousal >= 0, right, left) + 4 * (dominance < 0).long()
    num_azimuth = NUM_AZIMUTH_BINS[num_regions]
    step_deg = 360 / num_azimuth
    _, azimuth_rad, polar_rad = to_spherical(vad)
    azimuth_deg = torch.rad2deg(azimuth_rad).remainder(360)
    azimuth = torch.floor(azimuth_deg / step_deg).clamp(max=num_azimuth - 1).long()
    polar = (torch.ceil(torch.rad2deg(polar_rad) / step_deg) - 1).clamp(0, num_azimuth // 2 - 1).long()
    return polar * num_azimuth + azimuth
