"""The terms of a training's loss: what each head is held to, how much that weighs in each epoch, and over which clips.

A term is a table ``[fit.terms.NAME]``; its ``kind`` chooses the class.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from emosphere.losses.ccc import Reduction, ccc_loss
from emosphere.losses.classification import weighted_cross_entropy
from emosphere.model.frames import Frames
from emosphere.tasks import Target, Task
from emosphere.tasks.classes import ClassesTask
from emosphere.tasks.rated import RatedTask

Scope = Literal["piece", "batch", "update"]
SCOPES: Final[tuple[Scope, ...]] = ("piece", "batch", "update")
"""From the narrowest to the widest."""
Answer = Tensor | Frames
"""(clip, output) of a head that reads the clip's vector; frames of a head that reads those of a stream."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """One term of the loss."""

    KINDS: ClassVar[dict[str, type["Term"]]] = {}
    """By what a table calls it."""
    teaches: ClassVar[type[Task]] = Task
    """Tasks that it fits."""

    kind: str
    head: str = ""
    """Head that it teaches; empty: the one of the term's own name."""
    weight: float = 1.0
    """Of the term in the sum; 0 switches it off."""
    schedule: Literal["constant", "falling", "linear"] = "constant"
    """Share of the weight in each epoch: always all of it; the paper's fall from 1 over the first epochs, then 0; a
    straight line from 1 to 0 over all epochs."""
    span: float = 0.25
    """Share of the epochs over which "falling" falls (the paper: 5 of 20)."""
    span_epochs: float | None = None
    """The same in epochs; when given, it counts instead of the share."""
    afterwards: Literal["head", "freeze"] = "head"
    """When the weight has fallen to 0: go on teaching that head alone, so that its probabilities stay true to the
    encoder, or leave it as it is, as the authors' code does."""
    scope: Scope = "update"
    """Over which clips one value of the term is taken: those that go through the network at once on one worker (the
    authors' code, 16), those of a batch over all workers (the paper's text, 32), or all clips of an update, over all
    workers and accumulated batches (ours). A concordance over a piece is biased towards 0 and depends on the number of
    workers. Heads that read frames have terms over a piece."""

    def __post_init__(self) -> None:
        if not 0 <= self.weight < torch.inf:
            raise ValueError(f"weight={self.weight} must be at least 0 and finite.")
        if not 0 <= self.span <= 1:
            raise ValueError(f"span={self.span} must lie in 0..1, a share of all epochs.")
        if self.span_epochs is not None and self.span_epochs < 0:
            raise ValueError(f"span_epochs={self.span_epochs} must not be negative.")

    def loss(self, answers: Answer, target: Target, class_weights: Tensor | None) -> Float[Tensor, ""]:
        """Its value for some clips, over those whose target is known; 0, with a gradient of 0, where none is."""
        raise NotImplementedError

    def share(self, epoch: int, num_epochs: int) -> float:
        """Share of the weight with which it reaches what its head reads, in zero-based ``epoch``."""
        if self.schedule == "falling":
            span = self.span * num_epochs
            return dynamic_weight(epoch, span if self.span_epochs is None else self.span_epochs)
        return 1 - epoch / num_epochs if self.schedule == "linear" else 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Concordance(Term):
    """``1 - CCC`` of every dimension."""

    teaches: ClassVar[type[Task]] = RatedTask

    kind: Literal["concordance"] = "concordance"
    reduction: Reduction = "sum"
    """Over the dimensions; the authors sum."""

    def loss(self, answers: Answer, target: Target, class_weights: Tensor | None) -> Float[Tensor, ""]:
        return ccc_loss(_of_clips(answers), target.values, target.is_known, reduction=self.reduction)


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossEntropy(Term):
    """Cross entropy of the classes."""

    teaches: ClassVar[type[Task]] = ClassesTask

    kind: Literal["cross-entropy"] = "cross-entropy"
    class_weighted: bool = True
    """Weigh classes by their inverse frequency; without, plain cross entropy (the paper's ablation)."""

    def loss(self, answers: Answer, target: Target, class_weights: Tensor | None) -> Float[Tensor, ""]:
        assert class_weights is not None  # a ClassesTask has some
        if not self.class_weighted:
            class_weights = (class_weights > 0).to(class_weights)  # a class without a clip keeps its weight of 0
        return weighted_cross_entropy(_of_clips(answers), target.values, target.is_known, class_weights)


Term.KINDS.update({"concordance": Concordance, "cross-entropy": CrossEntropy})


def _of_clips(answers: Answer) -> Tensor:
    if isinstance(answers, Frames):
        raise ValueError("this term is about clips, and its head reads frames.")
    return answers


def dynamic_weight(epoch: int, span_epochs: float) -> float:
    """Weight of a falling term in zero-based ``epoch``: ``1 - 0.99 epoch / span``, and 0 from ``span`` on.

    EmoSphere-SER, equation 4, where the span is 5: 1, .802, .604, .406, .208, then 0.
    """
    return 1 - 0.99 * epoch / span_epochs if epoch < span_epochs else 0.0


def head_of(name: str, term: Term) -> str:
    """The head that the term ``name`` teaches."""
    return term.head or name


def widest_scope(terms: Mapping[str, Term]) -> Scope:
    """Of the terms that are not switched off."""
    return max((term.scope for term in terms.values() if term.weight), key=SCOPES.index, default="piece")


def detached_heads(terms: Mapping[str, Term], epoch: int, num_epochs: int) -> frozenset[str]:
    """Heads that in ``epoch`` learn from what they read without shaping it: all their terms have fallen to 0."""
    terms_of: defaultdict[str, list[Term]] = defaultdict(list)
    for name, term in terms.items():
        if term.weight:
            terms_of[head_of(name, term)].append(term)
    return frozenset(
        head
        for head, own in terms_of.items()
        if all(
            term.schedule == "falling" and term.afterwards == "head" and term.share(epoch, num_epochs) == 0
            for term in own
        )
    )


def weights_in(terms: Mapping[str, Term], epoch: int, num_epochs: int) -> dict[str, float]:
    """Weight of every term that counts in ``epoch``, by name.

    Where a head is detached its terms have their full weight: they can then move nothing but the head itself.
    """
    detached = detached_heads(terms, epoch, num_epochs)
    weights = {
        name: term.weight * (1.0 if head_of(name, term) in detached else term.share(epoch, num_epochs))
        for name, term in terms.items()
    }
    return {name: weight for name, weight in weights.items() if weight}
