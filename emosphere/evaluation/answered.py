"""Labelled clips and one model's answers to them, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from emosphere.clips.manifest import Clip
from emosphere.errors import UsageError
from emosphere.geometry import region_of
from emosphere.vad import VAD_DIMS

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SPREAD_FLOOR = 1e-6
"""A standard deviation below it is none: float32 rounding alone makes equal answers differ by as much."""


@dataclass(frozen=True, kw_only=True)
class AnsweredClips:
    """Clips of a split, their targets and a model's answers, one row per clip."""

    clips: tuple[Clip, ...]
    duration_s: Float64
    """(n,): what was decoded of each."""
    level_db: Float64
    """(n,): level of it, in dB of full scale."""
    vad: Float64
    """(n, 3): answers, centred (V, A, D), clipped to [-1, 1] as they are published."""
    num_regions: int
    """Regions that the model tells apart; 8 for one without a region head."""
    region_probs: Float32 | None
    """(n, num_regions): the region head's calibrated probabilities; None without such a head."""
    probs_at_weight_zero: Float32 | None = None
    """The same of the network as it was when the weight of its region loss reached 0; None if that was not saved."""
    vad_radius_90: float | None = None
    """Radius of the ball around an answer that should hold 90 % of the targets; None for a model that claims none."""

    def __post_init__(self) -> None:
        if not len(self.clips) == len(self.duration_s) == len(self.level_db) == len(self.vad):
            raise ValueError("clips, duration_s, level_db and vad differ in length.")

    @property
    def target(self) -> Float64:
        """(n, 3): targets, centred; NaN where nobody rated."""
        return np.array([clip.vad for clip in self.clips], dtype=np.float64).reshape(-1, 3)

    @property
    def true_region(self) -> Ints:
        """(n,): region of each target; -1 where it has none."""
        return np.array([clip.region for clip in self.clips], dtype=np.int64)

    @property
    def region_of_vad(self) -> Ints:
        """(n,): region of each answer."""
        regions: Ints = region_of(torch.from_numpy(self.vad), self.num_regions).numpy()
        return regions

    @property
    def speakers(self) -> tuple[list[str], Ints]:
        """Names of the speakers, sorted, and the index of each row's."""
        names, index = np.unique([clip.speaker for clip in self.clips], return_inverse=True)
        return names.tolist(), index.astype(np.int64)

    def take(self, rows: Sequence[int] | npt.NDArray[Any]) -> "AnsweredClips":
        """Some of the rows."""
        picked = [int(row) for row in rows]
        probs, at_zero = self.region_probs, self.probs_at_weight_zero
        return AnsweredClips(
            clips=tuple(self.clips[row] for row in picked),
            duration_s=self.duration_s[picked],
            level_db=self.level_db[picked],
            vad=self.vad[picked],
            num_regions=self.num_regions,
            region_probs=None if probs is None else probs[picked],
            probs_at_weight_zero=None if at_zero is None else at_zero[picked],
            vad_radius_90=self.vad_radius_90,
        )


def refuse_useless(answered: AnsweredClips, *, model: str, split: str) -> None:
    """Raise UsageError for answers that are not finite, or the same for every clip: a 0 would hide a broken model."""
    where = f"of the {len(answered.clips)} clips of split {split!r}"
    for column, dim in enumerate(VAD_DIMS):
        values = answered.vad[:, column]
        broken = np.flatnonzero(~np.isfinite(values))
        if len(broken):
            first = answered.clips[broken[0]].uri
            raise UsageError(
                f"{model}: predicts NaN or infinity as {dim} for {len(broken)} {where}, first {first}. "
                "The weights are broken: train or convert the model again."
            )
        if len(values) > 1 and values.std() < SPREAD_FLOOR:
            raise UsageError(
                f"{model}: predicts the same {dim}, {values[0]:.4f}, for all {where}, so there is no agreement to "
                "report. The training failed or the weights are broken: train or convert the model again."
            )
    for probs in (answered.region_probs, answered.probs_at_weight_zero):
        if probs is not None and not np.isfinite(probs).all():
            broken = np.flatnonzero(~np.isfinite(probs).all(axis=1))
            raise UsageError(
                f"{model}: predicts NaN as region probability for {len(broken)} {where}, first "
                f"{answered.clips[broken[0]].uri}. The weights are broken: train or convert the model again."
            )
