"""Valence, arousal and dominance: the point on the sphere."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np

from emosphere.tasks.rated import RatedTask
from emosphere.tasks.region import RegionTask, located, num_regions
from emosphere.tasks.task import Columns, Float64, Known, Labelled, Published, Task
from emosphere.vad import VAD_DIMS

if TYPE_CHECKING:
    from torch import Tensor

VAD: Final = "vad"
"""The kind, and what its head is called where nobody calls it otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VadTask(RatedTask):
    """Perceived valence, arousal and dominance, centred, as listeners rate them."""

    dims: ClassVar[tuple[str, ...]] = VAD_DIMS
    prefix: ClassVar[str | None] = ""
    columns_filled: ClassVar[tuple[str, ...]] = (
        *VAD_DIMS, "radius", "azimuth_deg", "polar_deg", "region", "region_name", "vad_radius_90",
    )  # fmt: skip
    has_weak_targets: ClassVar[bool] = True

    kind: Literal["vad"] = VAD

    def says(self, tasks: Mapping[str, Task], head: str) -> str:
        return f"{super(VadTask, self).says(tasks, head)} with 0 as the middle of the rating scale"

    def labels(self, clips: Sequence[Labelled]) -> tuple[Float64, Known]:
        """(clip, 3) V, A, D; each dimension is known by itself."""
        values = np.array([clip.vad for clip in clips], np.float64).reshape(-1, 3)
        is_known = ~np.isnan(values)
        return np.where(is_known, values, 0.0), is_known

    def columns(self, model: Published, head: str) -> Columns:
        vad = model.answers[head]
        return located(vad, num_regions(model.tasks)) | {
            "vad_radius_90": np.full(len(vad), self.radius_90, object if self.radius_90 is None else np.float64)
        }

    def report(
        self, tasks: Mapping[str, Task], answers: Mapping[str, "Tensor"], head: str, clips: Sequence[Labelled]
    ) -> dict[str, Any]:
        from emosphere.geometry import region_of

        figures = super(VadTask, self).report(tasks, answers, head, clips)
        region = RegionTask(regions=num_regions(tasks))
        of_vad = region.class_figures(region_of(answers[head], region.regions), clips)
        return figures if of_vad is None else figures | {"region_of_vad": of_vad}

    def graph_metadata(self, head: str) -> dict[str, str]:
        radius = {} if self.radius_90 is None else {f"{head}_radius_90": str(self.radius_90)}
        return radius | {
            "dims": json.dumps(list(VAD_DIMS)),
            "scale": "centred: each of dims in [-1, 1], 0 is the middle of the rating scale",
        }
