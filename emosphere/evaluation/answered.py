"""Labelled clips and one model's answers to them, side by side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emosphere.clips.manifest import Clip
from emosphere.errors import UsageError
from emosphere.tasks import Published, Task, questions
from emosphere.tasks.classes import ClassesTask, Named
from emosphere.tasks.rated import RatedTask, dimension_names

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SPREAD_FLOOR = 1e-6
"""A standard deviation below it is none, on a scale of -1 to 1: float32 rounding alone makes equal answers differ by
as much."""


class Dimension(NamedTuple):
    """One dimension of a rated task, on the clips that are rated in it alone."""

    target: Float64
    """(rated,)"""
    predicted: Float64 | None
    """(rated,): answers as they are published; None where the model does not answer it."""
    speaker: Ints
    """(rated,): index of each clip's."""
    num_unrated: int
    """Clips left out."""
    lowest: float
    """Of the scale; finite."""
    highest: float

    @property
    def half(self) -> float:
        """Half the length of the scale."""
        return (self.highest - self.lowest) / 2

    def centred(self, values: Float64) -> Float64:
        """``values`` on a scale of -1 to 1."""
        # Where that is the scale already (valence, arousal, dominance) both steps are exact.
        return (values - (self.lowest + self.highest) / 2) / self.half


@dataclass(frozen=True, kw_only=True)
class AnsweredClips:
    """Clips of a split and a model's answers, one row per clip."""

    clips: tuple[Clip, ...]
    duration_s: Float64
    """(n,): what was decoded of each."""
    level_db: Float64
    """(n,): level of it, in dB of full scale."""
    tasks: Mapping[str, Task]
    """By head: what the model answers."""
    answers: Mapping[str, Float32]
    """By head, (n, number): as they are published."""
    at_weight_zero: Mapping[str, Float32] | None = None
    """The same of the network as it was when the weight of its auxiliary loss reached 0; None if that was not saved."""

    def __post_init__(self) -> None:
        if len({len(self.clips), len(self.duration_s), len(self.level_db), *map(len, self.answers.values())}) > 1:
            raise ValueError("clips, duration_s, level_db and answers differ in length.")

    @property
    def questions(self) -> dict[str, Task]:
        """By head: what figures are asked for; the model may lack some of these heads."""
        return questions(self.tasks)

    @property
    def rated(self) -> dict[str, RatedTask]:
        """Those of the questions that are answered by ratings."""
        return {head: task for head, task in self.questions.items() if isinstance(task, RatedTask)}

    @property
    def classified(self) -> dict[str, ClassesTask]:
        """Those of the questions that are answered by a class."""
        return {head: task for head, task in self.questions.items() if isinstance(task, ClassesTask)}

    @property
    def published(self) -> Published:
        """The answers, as the tasks take them."""
        return Published(self.tasks, self.answers)

    @property
    def speakers(self) -> tuple[list[str], Ints]:
        """Names of the speakers, sorted, and the index of each row's."""
        names, index = np.unique([clip.speaker for clip in self.clips], return_inverse=True)
        return names.tolist(), index.astype(np.int64)

    def ratings(self, head: str) -> tuple[Float64, npt.NDArray[np.bool_]]:
        """(n, dimension) of a rated question: targets, and where they are known."""
        values, is_known = self.rated[head].labels(self.clips)
        shape = len(self.clips), len(self.rated[head].dims)
        return values.astype(np.float64).reshape(shape), is_known.reshape(shape)

    def dimension_names(self, head: str) -> tuple[str, ...]:
        """What the figures call the dimensions of a rated question."""
        return dimension_names(self.questions)[head]

    def dimensions(self, head: str) -> dict[str, Dimension]:
        """The dimensions of a rated question, by name."""
        values, is_known = self.ratings(head)
        answers = self.answers.get(head)
        _, speaker = self.speakers
        dimensions = {}
        for column, name in enumerate(self.dimension_names(head)):
            rows = is_known[:, column]
            target = values[rows, column]
            lowest, highest = _scale(self.rated[head], target)
            dimensions[name] = Dimension(
                target,
                None if answers is None else answers[rows, column].astype(np.float64),
                speaker[rows],
                int((~rows).sum()),
                lowest,
                highest,
            )
        return dimensions

    def named(self, head: str) -> Named:
        """The class of each clip by every way of naming it, of a question that is answered by a class."""
        at_weight_zero = None if self.at_weight_zero is None else self.at_weight_zero.get(head)
        return self.classified[head].named(self.published, head, at_weight_zero)

    def take(self, rows: Sequence[int] | npt.NDArray[Any]) -> "AnsweredClips":
        """Some of the rows."""
        picked = [int(row) for row in rows]
        at_zero = self.at_weight_zero
        return AnsweredClips(
            clips=tuple(self.clips[row] for row in picked),
            duration_s=self.duration_s[picked],
            level_db=self.level_db[picked],
            tasks=self.tasks,
            answers={head: values[picked] for head, values in self.answers.items()},
            at_weight_zero=None if at_zero is None else {head: values[picked] for head, values in at_zero.items()},
        )


def refuse_useless(answered: AnsweredClips, *, model: str, split: str) -> None:
    """Raise UsageError for answers that are not finite, or the same for every clip: a 0 would hide a broken model."""
    where = f"of the {len(answered.clips)} clips of split {split!r}"
    for head, answers in answered.answers.items():
        task = answered.tasks[head]
        if isinstance(task, RatedTask):
            scale = _scale(task, np.zeros(0))
            for name, values in zip(answered.dimension_names(head), answers.T.astype(np.float64), strict=True):
                _refuse_broken(answered, values[:, None], f"NaN or infinity as {name}", model, where)
                if len(values) > 1 and values.std() < SPREAD_FLOOR * (scale[1] - scale[0]) / 2:
                    raise UsageError(_all_the_same(model, f"same {name}, {values[0]:.4f},", where))
        else:
            _refuse_broken(answered, answers, f"NaN as {head} probability", model, where)
            if len(answers) > 1 and (answers.std(axis=0, dtype=np.float64) < SPREAD_FLOOR).all():
                raise UsageError(_all_the_same(model, f"same {head} probabilities", where))
    for head, answers in (answered.at_weight_zero or {}).items():
        if head in answered.classified:
            _refuse_broken(answered, answers, f"NaN as {head} probability", model, where)


def _scale(task: RatedTask, target: Float64) -> tuple[float, float]:
    """Where the scale begins and ends; as far as the targets reach where it has no end."""
    reach = (float(target.min()), float(target.max())) if len(target) else (-1.0, 1.0)
    lowest, highest = (
        end if math.isfinite(end) else reached for end, reached in zip((task.lowest, task.highest), reach, strict=True)
    )
    return (lowest, highest) if lowest < highest else (lowest, lowest + 2)


def _refuse_broken(answered: AnsweredClips, answers: npt.NDArray[Any], what: str, model: str, where: str) -> None:
    broken = np.flatnonzero(~np.isfinite(answers).all(axis=1))
    if len(broken):
        raise UsageError(
            f"{model}: predicts {what} for {len(broken)} {where}, first {answered.clips[broken[0]].uri}. "
            "The weights are broken: train or convert the model again."
        )


def _all_the_same(model: str, what: str, where: str) -> str:
    return (
        f"{model}: predicts the {what} for all {where}, so there is no agreement to report. "
        "The training failed or the weights are broken: train or convert the model again."
    )
