"""Questions that are answered by real numbers: ratings along one or more dimensions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from emosphere.tasks.task import Labelled, Target, Task

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class RatedTask(Task):
    """Dimensions that listeners rate. Members agree on their mean; concordance teaches them."""

    term: ClassVar[str] = "concordance"
    plural: ClassVar[str] = "dimensions"
    dims: ClassVar[tuple[str, ...]]
    """Names of the outputs, in order."""
    lowest: ClassVar[float] = -1.0
    """Answers below are published as this."""
    highest: ClassVar[float] = 1.0
    """Answers above are published as this."""

    radius_90: float | None = None
    """Radius of the ball around an answer that holds the target with 90 %, on speakers like those it was calibrated
    on; None where that was not measured, or says no more than a constant answer would. Written by training."""

    def __post_init__(self) -> None:
        if self.radius_90 is not None and not self.radius_90 > 0:
            raise ValueError(f"radius_90={self.radius_90} must be above 0, or left out.")

    @property
    def outputs(self) -> int:
        return len(self.dims)

    def untaught(self, target: Target) -> list[str]:
        is_rated = target.is_known.any(dim=0).tolist()
        return [dim for dim, is_known in zip(self.dims, is_rated, strict=True) if not is_known]

    def says(self, tasks: Mapping[str, Task], head: str) -> str:
        scale = f"in [{self.lowest:g}, {self.highest:g}]"
        if len(self.dims) == 1:
            return f"{head} {scale}"
        return f"{', '.join(self.dims[:-1])} and {self.dims[-1]}, each {scale}"

    def target(self, clips: Sequence[Labelled]) -> Target:
        """In float32, whatever the labels are in."""
        values, is_known = super(RatedTask, self).target(clips)
        return Target(values.float(), is_known)

    def agree(self, answers: "Tensor") -> "Tensor":
        return answers.mean(0)

    def published(self, answers: "Tensor") -> "Tensor":
        return answers.clamp(self.lowest, self.highest)

    def choice_figures(self, answers: "Tensor", target: Target) -> dict[str, float]:
        from emosphere.metrics import known_ccc

        agreement = known_ccc(answers, target.values, target.is_known)
        rated = [dim for dim, is_known in zip(self.dims, target.is_known.any(dim=0), strict=True) if is_known]
        if not rated:
            return {}
        of_dim = dict(zip(self.dims, agreement.tolist(), strict=True))
        figures = {"ccc": round(sum(of_dim[dim] for dim in rated) / len(rated), 6)}
        if len(self.dims) > 1:
            figures |= {f"ccc_{dim}": round(of_dim[dim], 4) for dim in rated}
        return figures

    def report(
        self, tasks: Mapping[str, Task], answers: Mapping[str, "Tensor"], head: str, clips: Sequence[Labelled]
    ) -> dict[str, Any]:
        from emosphere.metrics import known_ccc

        target = self.target(clips)
        agreement = known_ccc(self.published(answers[head]), target.values, target.is_known)
        figures = {
            dim: round(value, 4) if is_rated else None
            for dim, value, is_rated in zip(
                self.dims, agreement.tolist(), target.is_known.any(dim=0).tolist(), strict=True
            )
        }
        return {self.key(head, "ccc"): figures}


def dimension_names(tasks: Mapping[str, Task]) -> dict[str, tuple[str, ...]]:
    """By head that is answered by ratings: what its dimensions are called beside those of the other heads.

    A single dimension is called like its head. Others keep their names, after the head's where two heads share one.
    """
    rated = {head: task for head, task in tasks.items() if isinstance(task, RatedTask)}
    shared = Counter(name for head, task in rated.items() for name in _short_names(head, task))
    names = {}
    for head, task in rated.items():
        short = _short_names(head, task)
        collides = task.prefix is None and len(short) > 1 and any(shared[name] > 1 for name in short)
        names[head] = tuple(f"{head}_{dim}" for dim in task.dims) if collides else short
    return names


def _short_names(head: str, task: RatedTask) -> tuple[str, ...]:
    if task.prefix is not None:
        return tuple(f"{task.prefix}{dim}" for dim in task.dims)
    return (head,) if len(task.dims) == 1 else task.dims
