"""The emotion category: which word a corpus, or its raters, gave to the clip."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np

from emosphere.emotion_words import EMOTIONS
from emosphere.tasks.classes import ClassesTask, Ints, indices
from emosphere.tasks.task import Columns, Known, Labelled, Published

CATEGORY: Final = "category"
"""The kind, and what its head is called where nobody calls it otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CategoryTask(ClassesTask):
    """Which of some emotion words fits the voice."""

    plural: ClassVar[str] = "categories"
    columns_filled: ClassVar[tuple[str, ...]] = ("category", "category_prob", "category_probs")

    kind: Literal["category"] = CATEGORY
    words: tuple[str, ...] = EMOTIONS
    """Words of the manifest's column `category`, in the order of the head's outputs; other words teach it nothing."""

    noun: ClassVar[str] = "category"
    left_out: ClassVar[str] = "clips of no category or another one are left out"
    none_known: ClassVar[str] = "no clip is of a category that the model knows"

    def __post_init__(self) -> None:
        super(CategoryTask, self).__post_init__()
        repeated = [word for word, count in Counter(self.words).items() if count > 1]
        if len(self.words) < 2 or repeated:
            raise ValueError(f"words={list(self.words)} must be two or more different words.")

    @property
    def classes(self) -> tuple[str, ...]:
        return self.words

    def wanted(self, clips: Sequence[Labelled]) -> str:
        found = sorted({clip.category for clip in clips if clip.category})
        return f"wanted one of {', '.join(self.words)}; found {', '.join(found) or 'none'}"

    def labels(self, clips: Sequence[Labelled]) -> tuple[Ints, Known]:
        """(clip,) indices into ``words``."""
        return indices([clip.category for clip in clips], self.words)

    def columns(self, model: Published, head: str) -> Columns:
        """The most probable word, its probability, and all of them as a JSON object."""
        probs = model.answers[head]
        best = probs.argmax(axis=1)
        objects = [
            json.dumps({word: round(prob, 6) for word, prob in zip(self.words, row, strict=True)})
            for row in probs.tolist()
        ]
        return {
            "category": np.array(self.words, dtype=object)[best],
            "category_prob": probs[np.arange(len(probs)), best],
            "category_probs": np.array(objects, dtype=object),
        }
