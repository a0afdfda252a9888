"""How loud a clip is: one dimension, rated as a level such as "-23.5 dB" in the manifest's column `intensity`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from emosphere.tasks.rated import RatedTask
from emosphere.tasks.task import Columns, Float32, Known, Labelled, Published

DEEPEST_DB = -60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LoudnessTask(RatedTask):
    dims: ClassVar[tuple[str, ...]] = ("loudness",)
    columns_filled: ClassVar[tuple[str, ...]] = ("loudness",)

    kind: Literal["loudness"] = "loudness"

    def labels(self, clips: Sequence[Labelled]) -> tuple[Float32, Known]:
        """(clip, 1): -1 at 60 dB below full scale, 1 at full scale."""
        levels_db = [np.nan if clip.intensity is None else float(clip.intensity.removesuffix(" dB")) for clip in clips]
        is_known = ~np.isnan(levels_db)
        values = 1 - 2 * np.where(is_known, levels_db, 0.0) / DEEPEST_DB
        return values.astype(np.float32)[:, None], is_known[:, None]

    def columns(self, model: Published, head: str) -> Columns:
        return {"loudness": model.answers[head][:, 0]}
