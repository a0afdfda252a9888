"""The region of the sphere in which the point lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np

from emosphere.region_names import REGION_NAMES
from emosphere.tasks.classes import ClassesTask, Ints, Named, Way
from emosphere.tasks.task import Columns, Float32, Known, Labelled, Published, Task
from emosphere.vad import VAD_DIMS

REGION: Final = "region"
"""The kind, and what its head is called where nobody calls it otherwise."""
NumRegions = Literal[8, 18, 32]
DEFAULT_REGIONS: Final[NumRegions] = 8
"""Regions into which a model without a region head sorts its points."""
NOT_SAVED: Final = (
    "the training did not save that network (a checkpoint in the folder at_weight_zero inside the model's)"
)
"""Why a region is not named by the head as it was when its loss weight reached 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionTask(ClassesTask):
    """The paper's auxiliary question: in which region the rated point lies."""

    plural: ClassVar[str] = "regions"
    prefix: ClassVar[str | None] = ""
    columns_filled: ClassVar[tuple[str, ...]] = ("region_prob",)

    kind: Literal["region"] = REGION
    regions: NumRegions = DEFAULT_REGIONS
    """Regions of the table: the paper's 8, or 18 or 32 by angles."""

    noun: ClassVar[str] = "region"
    left_out: ClassVar[str] = "neutral clips and clips not rated in all dimensions have no region and are left out"
    none_known: ClassVar[str] = (
        "no clip has a region: neutral by its word alone has no direction, and all three dimensions must be rated"
    )
    has_weak_targets: ClassVar[bool] = True

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
        region = regions_of(vad, self.regions)
        return {"region_prob": model.answers[head][np.arange(len(region)), region].astype(np.float32)}

    def says(self, tasks: Mapping[str, Task], head: str) -> str:
        is_named = any(task.kind == "vad" for task in tasks.values())
        space = "that space" if is_named else "the space of valence, arousal and dominance"
        return f"a probability for each of {self.regions} regions of {space}"

    def named(self, model: Published, head: str, at_weight_zero: Float32 | None = None) -> Named:
        return {
            "head": self._favourite(model, head),
            "head_at_weight_zero": NOT_SAVED if at_weight_zero is None else at_weight_zero.argmax(axis=1),
            "of_vad": self._of_vad(model),
        }

    def ways(self, head: str) -> dict[str, Way]:
        """The three ways of naming a region (design/method.md, section 7, point 13)."""
        return {
            "head": Way("the region head", "head"),
            "head_at_weight_zero": Way("the region head when its loss weight reached 0"),
            "of_vad": Way("the region of the regressed VAD", "of VAD"),
        }

    def promised(self, model: Published, head: str) -> Named:
        """``region_prob`` is the head's probability of the region of the VAD; the head may favour another region."""
        favourite = self._favourite(model, head)
        return {"region_prob": favourite if isinstance(favourite, str) else self._of_vad(model), "head": favourite}

    def promises(self, head: str) -> dict[str, str]:
        return {
            "region_prob": "region_prob: the head's probability of the published region",
            "head": "the head's probability of its own favourite",
        }

    def _of_vad(self, model: Published) -> Ints | str:
        vad = model.of_kind("vad")
        if vad is None:
            return "the model does not answer valence, arousal, dominance"
        return regions_of(vad, self.regions)


def num_regions(tasks: Mapping[str, Task]) -> NumRegions:
    """Regions of the table into which a model with these tasks, by head, sorts its points."""
    return next((task.regions for task in tasks.values() if isinstance(task, RegionTask)), DEFAULT_REGIONS)


def regions_of(vad: Float32, num_regions: int) -> Ints:
    """(n,): region of ``(n, 3)`` centred, clipped VAD, in float64 from the published float32 values."""
    import torch

    from emosphere.geometry import region_of

    regions: Ints = region_of(torch.from_numpy(np.ascontiguousarray(vad)), num_regions).numpy()
    return regions


def located(vad: Float32, num_regions: int) -> Columns:
    """VAD, spherical coordinates and region of ``(n, 3)`` centred, clipped VAD, as columns of ``segments``.

    Angles and region are computed in float64 from the published float32 values, so that anyone can compute them again.
    """
    import torch

    from emosphere.geometry import to_spherical

    points = torch.from_numpy(np.ascontiguousarray(vad))
    radius, azimuth_rad, polar_rad = to_spherical(points)
    region = regions_of(vad, num_regions).astype(np.int32)
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
