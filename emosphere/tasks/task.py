"""What every question put to a clip must be able to say. Imports no torch, which takes seconds: a plan does without."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Known = npt.NDArray[np.bool_]
Columns = dict[str, npt.NDArray[Any]]
"""Name of a column of ``segments`` -> one value per clip."""


class Labelled(Protocol):
    """A clip, as far as its labels go; :class:`emosphere.clips.manifest.Clip` says what they mean."""

    @property
    def vad(self) -> tuple[float, float, float]: ...
    @property
    def weak(self) -> bool: ...
    @property
    def category(self) -> str | None: ...
    @property
    def categories(self) -> tuple[str, ...]: ...
    @property
    def ratings(self) -> str | None: ...
    @property
    def intensity(self) -> str | None: ...
    @property
    def gender(self) -> str | None: ...
    @property
    def transcript(self) -> str | None: ...


class Target(NamedTuple):
    """What a head should answer to some clips, and where that is known."""

    values: "Tensor"
    """(clip, ...): what holds where nothing is known has no meaning."""
    is_known: "Tensor"
    """Of the same shape: False where a label is missing."""

    def take(self, rows: Any) -> "Target":
        """Some of the clips."""
        return Target(self.values[rows], self.is_known[rows])


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A question put to each clip: the table ``[labels.NAME]`` of a training, and of a checkpoint.

    A task is what one head answers. Network, batches, loss, calibration, tables, evaluation and export loop over the
    tasks of a model, and know of them what stands here.
    """

    KINDS: ClassVar[dict[str, type["Task"]]] = {}
    """By what a table calls it; filled in :mod:`emosphere.tasks`."""
    level: ClassVar[Literal["clip", "frame"]] = "clip"
    """What its head reads: the clip's vector, or the frames of a stream."""
    term: ClassVar[str]
    """Kind of the term of the loss that usually teaches it."""
    columns_filled: ClassVar[tuple[str, ...]] = ()
    """Columns of ``segments`` that its answers fill; none where it serves training only."""
    plural: ClassVar[str] = "labels"
    """What its dimensions or classes are called."""
    prefix: ClassVar[str | None] = None
    """Before the names of its figures; None: the head's name and ``_``."""
    has_weak_targets: ClassVar[bool] = False
    """Whether its targets follow from an emotion word's mean, and not from a rating, where a clip is ``weak``."""

    kind: str

    @property
    def outputs(self) -> int:
        """Numbers that its head gives, for a clip or for each frame."""
        raise NotImplementedError

    def key(self, head: str, figure: str) -> str:
        """Name of one of its figures, whose head is ``head``."""
        return f"{head}_{figure}" if self.prefix is None else f"{self.prefix}{figure}"

    def says(self, tasks: Mapping[str, "Task"], head: str) -> str:
        """What its head says of a voice, as part of a card's sentence; ``tasks`` by head."""
        return head

    def labels(self, clips: Sequence[Labelled]) -> tuple[npt.NDArray[Any], Known]:
        """What the head should answer, (clip, ...), and where that is known, of the same shape."""
        raise NotImplementedError

    def target(self, clips: Sequence[Labelled]) -> Target:
        """The same as tensors."""
        import torch

        values, is_known = self.labels(clips)
        return Target(torch.from_numpy(values), torch.from_numpy(is_known))

    def class_weights(self, target: Target) -> "Tensor | None":
        """(class,): weights against the imbalance of the classes among clips to learn from; None without classes."""
        return None

    def agree(self, answers: "Tensor") -> "Tensor":
        """(member, ..., output) -> (..., output): several members' answers made one."""
        raise NotImplementedError

    def summarise(self, values: "Tensor", is_valid: "Tensor") -> "Tensor":
        """(clip, frame, output) and (clip, frame) -> (clip, output): what a head of level "frame" says of the clip."""
        raise NotImplementedError

    def published(self, answers: "Tensor") -> "Tensor":
        """(clip, output) as the head gave it -> (clip, number) as it leaves the model: clipped, or calibrated."""
        raise NotImplementedError

    def calibrated(self, answers: "Tensor", target: Target) -> Self:
        """The same task with what can be calibrated by answers to clips that were not learnt from, if anything."""
        return self

    def columns(self, model: "Published", head: str) -> Columns:
        """``columns_filled``, from what the model's heads published; ``head`` is the one of this task."""
        return {}

    def wanted(self, clips: Sequence[Labelled]) -> str:
        """In words, which labels it would take, and which these clips have instead."""
        return f"labels of kind {self.kind!r}"

    def untaught(self, target: Target) -> list[str]:
        """Names of the dimensions or classes of which none of these clips is labelled."""
        raise NotImplementedError

    def choice_figures(self, answers: "Tensor", target: Target) -> dict[str, float]:
        """Short figures of (clip, output) answers; the first of them, higher for better, may choose an epoch.

        Empty where no label is known.
        """
        raise NotImplementedError

    def report(
        self, tasks: Mapping[str, "Task"], answers: Mapping[str, "Tensor"], head: str, clips: Sequence[Labelled]
    ) -> dict[str, Any]:
        """JSON-ready figures of ``answers[head]`` for the evaluation that a training writes; ``tasks`` by head."""
        raise NotImplementedError

    def graph_output(self, head: str) -> str:
        """Name of what is published in an exported graph."""
        return head

    def graph_metadata(self, head: str) -> dict[str, str]:
        """What must be known to use it there: texts and JSON."""
        return {}


class Published(NamedTuple):
    """What a model's heads published of some clips."""

    tasks: Mapping[str, Task]
    """By head."""
    answers: Mapping[str, Float32]
    """(clip, number) by head."""

    def of_kind(self, kind: str) -> Float32 | None:
        """Answers of the first task of that kind; None where the model has none."""
        return next((self.answers[head] for head, task in self.tasks.items() if task.kind == kind), None)
