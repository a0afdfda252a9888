"""The region of the sphere in which the point lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np

from emosphere.region_names import REGION_NAMES
from emosphere.tasks.classes import ClassesTask, Ints, Named
from emosphere.tasks.task import Columns, Float32, Known, Labelled, Published, Task
from emosphere.vad import VAD_DIMS

REGION: Final = "region"
"""The kind, and what its head is called where nobody calls it otherwise."""
NumRegions = Literal[8, 18, 32]
DEFAULT_REGIONS: Final[NumRegions] = 8
"""Regions into which a model without a region head sorts its points."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionTask(ClassesTask):
    """The paper's auxiliary question: in which region the rated point lies."""

    plural: ClassVar[str] = "regions"
    prefix: ClassVar[str | None] = ""
    columns_filled: ClassVar[tuple[str, ...]] = ("region_prob",)

    kind: Literal["region"] = REGION
    regions: NumRegions = DEFAULT_REGIONS
    """Regions of the table: the paper's 8, or 18 or 32 by angles."""

    @property
    def classes(self) -> tuple[str, ...]:
        return REGION_NAMES[self.regions]

    def labels(self, clips: Sequence[Labelled]) -> tuple[Ints, Known]:
        """(clip,) indices; unknown where not all three are rated, or where the middle only stands for "neutral"."""
        import torch

        from emosphere.geometry import region_of

        # In float64: regions are decided by signs and angles of the published numbers.
        points = np.array([clip.vad for clip in clips], np.float64).reshape(-1, 3)
        weak = np.array([clip.weak for clip in clips], np.bool_)
        is_known = ~np.isnan(points).any(axis=1) & ~(weak & (points == 0).all(axis=1))
        return region_of(torch.from_numpy(np.nan_to_num(points)), self.regions).numpy(), is_known

    def columns(self, model: Published, head: str) -> Columns:
        """The probability of the region in which the answered point lies; the head itself may favour another one."""
        vad = model.of_kind("vad")
        if vad is None:
            return {}
        region = located(vad, self.regions)["region"]
        return {"region_prob": model.answers[head][np.arange(len(region)), region].astype(np.float32)}

    def named(self, model: Published, head: str) -> Named:
        vad = model.of_kind("vad")
        return {
            "head": model.answers[head].argmax(axis=1),
            "of_vad": None if vad is None else located(vad, self.regions)["region"].astype(np.int64),
        }

    def ways(self, head: str) -> dict[str, str]:
        return {"head": "the region head", "of_vad": "the region of the regressed VAD"}


def num_regions(tasks: Mapping[str, Task]) -> NumRegions:
    """Regions of the table into which a model with these tasks, by head, sorts its points."""
    return next((task.regions for task in tasks.values() if isinstance(task, RegionTask)), DEFAULT_REGIONS)


def located(vad: Float32, num_regions: int) -> Columns:
    """VAD, spherical coordinates and region of ``(n, 3)`` centred, clipped VAD, as columns of ``segments``.

    Angles and region are computed in float64 from the published float32 values, so that anyone can compute them again.
    """
    import torch

    from emosphere.geometry import region_of, to_spherical

    points = torch.from_numpy(np.ascontiguousarray(vad))
    radius, azimuth_rad, polar_rad = to_spherical(points)
    region = region_of(points, num_regions).numpy().astype(np.int32)
    azimuth_deg = torch.rad2deg(azimuth_rad).numpy().astype(np.float32)
    # Just above -180 rounds to -180 in float32, which is the same direction as 180 and outside the half-open range.
    azimuth_deg[azimuth_deg <= -180] = 180
    return {
        **{dim: vad[:, column] for column, dim in enumerate(VAD_DIMS)},
        "radius": radius.numpy().astype(np.float32),
        "azimuth_deg": azimuth_deg,
        "polar_deg": torch.rad2deg(polar_rad).numpy().astype(np.float32),
        "region": region,
        "region_name": np.array(REGION_NAMES[num_regions], dtype=object)[region],
    }
