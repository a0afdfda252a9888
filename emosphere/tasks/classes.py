"""Questions that are answered by one class of several."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from emosphere.tasks.task import Float32, Known, Labelled, Published, Target, Task

if TYPE_CHECKING:
    from torch import Tensor

Ints = npt.NDArray[np.int64]
Named = dict[str, Ints | str]
"""By a way of naming a class: (clip,), the class of each answer; or why the model does not offer that way."""


class Way(NamedTuple):
    """A way in which a model may name a class."""

    words: str
    """For people: whose answer it is."""
    short: str | None = None
    """Above a column of a narrow table; None where it has no room there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassesTask(Task):
    """Classes of which a clip has one. Members agree on the mean of their probabilities; cross entropy teaches them."""

    term: ClassVar[str] = "cross-entropy"
    plural: ClassVar[str] = "classes"
    noun: ClassVar[str] = "class"
    """What one of its classes is called."""
    left_out: ClassVar[str] = "clips that nobody labelled are left out"
    """Which clips take no part in its figures, in words."""
    none_known: ClassVar[str] = "no clip has a label"
    """Why a figure is not defined where no label is known."""

    temperature: float = 1.0
    """Logits are divided by it, so that their softmax is calibrated. Written by training."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature} must be above 0.")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        raise NotImplementedError

    @property
    def outputs(self) -> int:
        return len(self.classes)

    def says(self, tasks: Mapping[str, Task], head: str) -> str:
        return f"a probability for each of {self.outputs} {self.plural} ({', '.join(self.classes)})"

    def class_weights(self, target: Target) -> "Tensor":
        from emosphere.losses.classification import class_weights

        return class_weights(target.values[target.is_known], self.outputs)

    def agree(self, answers: "Tensor") -> "Tensor":
        return answers.log_softmax(-1).logsumexp(0)

    def published(self, answers: "Tensor") -> "Tensor":
        return (answers / self.temperature).softmax(dim=1)

    def calibrated(self, answers: "Tensor", target: Target) -> Self:
        from emosphere.metrics import calibrate_temperature

        known = target.is_known
        temperature = calibrate_temperature(answers[known], target.values[known]) if known.any() else 1.0
        return dataclasses.replace(self, temperature=round(temperature, 4))

    def untaught(self, target: Target) -> list[str]:
        labelled = set(target.values[target.is_known].tolist())
        return [name for number, name in enumerate(self.classes) if number not in labelled]

    def choice_figures(self, answers: "Tensor", target: Target) -> dict[str, float]:
        from emosphere.metrics import class_report

        if not target.is_known.any():
            return {}
        known = target.is_known
        report = class_report(answers[known].argmax(dim=1), target.values[known], self.outputs)
        return {"uar": report.uar, "macro_f1": report.macro_f1, "accuracy": report.accuracy}

    def report(
        self, tasks: Mapping[str, Task], answers: Mapping[str, "Tensor"], head: str, clips: Sequence[Labelled]
    ) -> dict[str, Any]:
        figures = self.class_figures(answers[head].argmax(dim=1), clips)
        return {} if figures is None else {f"{head}_head": figures}

    def class_figures(self, predicted: "Tensor", clips: Sequence[Labelled]) -> dict[str, Any] | None:
        """JSON-ready figures of the classes ``predicted``, (clip,); None where no label is known."""
        from emosphere.metrics import class_report

        target = self.target(clips)
        if not target.is_known.any():
            return None
        report = class_report(predicted[target.is_known], target.values[target.is_known], self.outputs)
        occurring = (report.confusion.sum(dim=1) > 0).tolist()
        return {
            "clips": int(report.confusion.sum()),
            "uar": round(report.uar, 4),
            "chance": round(1 / sum(occurring), 4),
            "macro_f1": round(report.macro_f1, 4),
            "accuracy": round(report.accuracy, 4),
            "names": list(self.classes),
            "confusion": {
                name: report.confusion[number].tolist() for number, name in enumerate(self.classes) if occurring[number]
            },
        }

    def named(self, model: Published, head: str, at_weight_zero: Float32 | None = None) -> Named:
        """The class of each clip, by every way of ``ways``; ``model`` may lack the head.

        ``at_weight_zero``: what the head published when the weight of its loss had reached 0, where that was saved.
        """
        return {head: self._favourite(model, head)}

    def ways(self, head: str) -> dict[str, Way]:
        """Ways of naming a class."""
        return {head: Way(f"the {head} head", head)}

    def promised(self, model: Published, head: str) -> Named:
        """The class whose probability is asked for, by every name of ``promises``; ``model`` may lack the head."""
        return {f"{head}_prob": self._favourite(model, head)}

    def promises(self, head: str) -> dict[str, str]:
        """Probabilities that should mean what they say, in words."""
        return {f"{head}_prob": f"{head}_prob: the head's probability of the {self.noun} that it favours"}

    def _favourite(self, model: Published, head: str) -> Ints | str:
        answers = model.answers.get(head)
        return f"the model has no {head} head" if answers is None else answers.argmax(axis=1)

    def graph_output(self, head: str) -> str:
        return f"{head}_probs"

    def graph_metadata(self, head: str) -> dict[str, str]:
        return {f"{head}_names": json.dumps(list(self.classes))}


def indices(words: Sequence[str | None], classes: Sequence[str]) -> tuple[Ints, Known]:
    """Index of each word among ``classes``, and whether it is one of them."""
    place = {word: number for number, word in enumerate(classes)}
    found = np.array([place.get(word or "", -1) for word in words], np.int64)
    return np.maximum(found, 0), found >= 0
