"""How many syllables are spoken: the head answers frame by frame, and the answers of a clip's frames add up."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from emosphere.model.frames import Frames, silence_padding
from emosphere.tasks import Target
from emosphere.tasks.rated import RatedTask
from emosphere.tasks.task import Columns, Float32, Known, Labelled, Published
from emosphere.training.terms import Answer, Term


@dataclass(frozen=True, kw_only=True, slots=True)
class SyllablesTask(RatedTask):
    level: ClassVar[Literal["clip", "frame"]] = "frame"
    term: ClassVar[str] = "squared-error"
    dims: ClassVar[tuple[str, ...]] = ("syllables",)
    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float] = math.inf
    columns_filled: ClassVar[tuple[str, ...]] = ("syllables",)

    kind: Literal["syllables"] = "syllables"

    def labels(self, clips: Sequence[Labelled]) -> tuple[Float32, Known]:
        """(clip, 1): groups of vowels in the transcript."""
        is_known = np.array([clip.transcript is not None for clip in clips])
        counts = [len(re.findall("[aeiouy]+", clip.transcript or "")) for clip in clips]
        return np.array(counts, np.float32)[:, None], is_known[:, None]

    def summarise(self, values: Tensor, is_valid: Tensor) -> Tensor:
        return silence_padding(Frames(values, is_valid)).sum(dim=1)

    def columns(self, model: Published, head: str) -> Columns:
        return {"syllables": model.answers[head][:, 0]}


@dataclass(frozen=True, kw_only=True, slots=True)
class SquaredError(Term):
    """Mean over the clips whose count is known."""

    teaches: ClassVar[type[SyllablesTask]] = SyllablesTask

    kind: Literal["squared-error"] = "squared-error"

    def loss(self, answers: Answer, target: Target, class_weights: Tensor | None) -> Tensor:
        assert isinstance(answers, Frames)
        errors = (silence_padding(answers).sum(dim=1) - target.values).square()
        return errors.masked_fill(~target.is_known, 0.0).sum() / target.is_known.sum().clamp(min=1)
