"""Pure maths on VAD: scales, the sphere and its regions. No audio, no labels, no weights."""

from emosphere.geometry.regions import region_of
from emosphere.geometry.scale import centre, uncentre
from emosphere.geometry.sphere import SphericalVad, direction_distance, from_spherical, to_spherical
from emosphere.region_names import NUM_AZIMUTH_BINS, REGION_NAMES

__all__ = [
    "NUM_AZIMUTH_BINS",
    "REGION_NAMES",
    "SphericalVad",
    "centre",
    "direction_distance",
    "from_spherical",
    "region_of",
    "to_spherical",
    "uncentre",
]
