"""Where predicted VAD lies on the sphere, as the columns of ``segments``."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from emosphere.geometry import REGION_NAMES, region_of, to_spherical

Float32 = npt.NDArray[np.float32]


def located(vad: Float32, region_probs: Float32 | None, num_regions: int) -> dict[str, npt.NDArray[Any]]:
    """VAD, spherical and region columns of ``(n, 3)`` centred, clipped VAD.

    Angles and region are computed in float64 from the published float32 values, so that anyone can compute them again.
    ``region_probs`` is ``(n, num_regions)`` or None, which leaves ``region_prob`` null.
    """
    points = torch.from_numpy(np.ascontiguousarray(vad))
    radius, azimuth_rad, polar_rad = to_spherical(points)
    region = region_of(points, num_regions).numpy().astype(np.int32)
    azimuth_deg = torch.rad2deg(azimuth_rad).numpy().astype(np.float32)
    # Just above -180 rounds to -180 in float32, which is the same direction as 180 and outside the half-open range.
    azimuth_deg[azimuth_deg <= -180] = 180
    names = np.array(REGION_NAMES[num_regions], dtype=object)
    probability = None if region_probs is None else region_probs[np.arange(len(region)), region]
    return {
        "valence": vad[:, 0],
        "arousal": vad[:, 1],
        "dominance": vad[:, 2],
        "radius": radius.numpy().astype(np.float32),
        "azimuth_deg": azimuth_deg,
        "polar_deg": torch.rad2deg(polar_rad).numpy().astype(np.float32),
        "region": region,
        "region_name": names[region],
        "region_prob": np.full(len(region), None) if probability is None else probability.astype(np.float32),
    }
