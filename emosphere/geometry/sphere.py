"""Centred VAD to and from radius and direction: x = arousal, y = valence, z = dominance."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class SphericalVad(NamedTuple):
    """A VAD point by its strength and its direction, float64."""

    radius: Float[Tensor, "*batch"]
    """Distance from the middle of the scale; a corner of the VAD cube lies at sqrt(3)."""
    azimuth_rad: Float[Tensor, "*batch"]
    """Angle in the arousal-valence plane, from +arousal to +valence, in (-pi, pi]."""
    polar_rad: Float[Tensor, "*batch"]
    """Angle from +dominance, in [0, pi]; the paper calls it elevation."""


def to_spherical(vad: Float[Tensor, "*batch 3"]) -> SphericalVad:
    """Radius, azimuth and polar angle of centred VAD.

    Finite for every finite input, also where a square would overflow or vanish. A point at the middle has no
    direction: both its angles are 0. Not for use inside a loss: the gradient of ``hypot`` at 0 is NaN.
    """
    # + 0.0 turns -0.0 into 0.0: atan2 would read the sign of a zero and jump to -pi.
    valence, arousal, dominance = (vad.double() + 0.0).unbind(dim=-1)
    planar = torch.hypot(arousal, valence)
    azimuth_rad = torch.atan2(valence, arousal)
    return SphericalVad(
        radius=torch.hypot(planar, dominance),
        azimuth_rad=torch.where(azimuth_rad == -torch.pi, torch.pi, azimuth_rad),
        polar_rad=torch.atan2(planar, dominance),
    )


def from_spherical(point: SphericalVad) -> Float[Tensor, "*batch 3"]:
    """Centred VAD (float64) of a point on the sphere; inverse of :func:`to_spherical`."""
    radius, azimuth_rad, polar_rad = (part.double() for part in point)
    planar = radius * torch.sin(polar_rad)
    return torch.stack(
        [planar * torch.sin(azimuth_rad), planar * torch.cos(azimuth_rad), radius * torch.cos(polar_rad)], dim=-1
    )


def direction_distance(one: SphericalVad, other: SphericalVad) -> Float[Tensor, "*batch"]:
    """Great-circle angle between two directions in [0, pi] radians (radii do not matter).

    A point at the middle has no direction; by its angles of 0 it counts as +dominance here. Vincenty's form of the
    great-circle distance, accurate for near and for opposite points alike.
    """
    latitude_one, latitude_other = torch.pi / 2 - one.polar_rad.double(), torch.pi / 2 - other.polar_rad.double()
    turn = other.azimuth_rad.double() - one.azimuth_rad.double()
    across = torch.cos(latitude_other) * torch.sin(turn)
    up = torch.cos(latitude_one) * torch.sin(latitude_other)
    up = up - torch.sin(latitude_one) * torch.cos(latitude_other) * torch.cos(turn)
    along = torch.sin(latitude_one) * torch.sin(latitude_other)
    along = along + torch.cos(latitude_one) * torch.cos(latitude_other) * torch.cos(turn)
    return torch.atan2(torch.hypot(across, up), along)
