"""Questions that are answered by real numbers: ratings along one or more dimensions."""

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
        return {f"{head}_ccc" if self.prefix is None else f"{self.prefix}ccc": figures}
