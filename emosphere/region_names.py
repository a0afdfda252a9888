"""How many regions the sphere may be cut into, and what they are called."""

from typing import Final

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
