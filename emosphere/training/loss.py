"""The training loss: a sum of terms, each by the name of the head it belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from emosphere.losses.ccc import Reduction, ccc_loss
from emosphere.losses.classification import weighted_cross_entropy

CLASS_HEADS = ("region", "category")
"""Heads that tell classes apart, and for which clips have labels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """How the terms are weighed. The concordance term over VAD has weight 1, unless weights are learnt."""

    reduction: Reduction = "sum"
    """Of ``1 - CCC`` over the three dimensions; the authors sum."""
    joint_head: Literal["region", "category"] = "region"
    """The head whose term is scheduled: the paper's regions, or emotion categories as in its ablation."""
    region_schedule: Literal["falling", "linear", "constant", "uncertainty", "off"] = "falling"
    """Weight of that term: the paper's fall from 1 over the first epochs; a straight line from 1 to 0 over all epochs;
    always 1 (the paper's ablation); all weights learnt, ``exp(-s) term + s`` (Kendall et al. 2018); no such term."""
    lambda_span: float = 0.25
    """Share of the epochs over which "falling" falls (the paper: 5 of 20)."""
    lambda_epochs: float | None = None
    """The same in epochs; when given, it counts instead of the share."""
    class_weighted: bool = True
    """Weigh classes by their inverse frequency; without, plain cross entropy (the paper's ablation)."""
    afterwards: Literal["head", "freeze"] = "head"
    """When the weight has fallen to 0: go on teaching that head alone, so that its probabilities stay true to the
    encoder, or leave it as it is, as the authors' code does."""
    auxiliary: dict[str, float] = field(default_factory=dict)
    """Constant weights of further classification heads, by name."""

    def __post_init__(self) -> None:
        if not 0 <= self.lambda_span <= 1:
            raise ValueError(f"lambda_span={self.lambda_span} must lie in 0..1, a share of all epochs.")
        if self.lambda_epochs is not None and self.lambda_epochs < 0:
            raise ValueError(f"lambda_epochs={self.lambda_epochs} must not be negative.")
        if {"vad", self.joint_head} & self.auxiliary.keys():
            raise ValueError(f"auxiliary names further heads; 'vad' and '{self.joint_head}' have their own terms.")
        unknown = self.auxiliary.keys() - set(CLASS_HEADS)
        if unknown:
            raise ValueError(f"auxiliary names {sorted(unknown)}; clips have labels for {', '.join(CLASS_HEADS)}.")


def dynamic_weight(epoch: int, span_epochs: float) -> float:
    """Weight of the region term in zero-based ``epoch``: ``1 - 0.99 epoch / span``, and 0 from ``span`` on.

    EmoSphere-SER, equation 4, where the span is 5: 1, .802, .604, .406, .208, then 0.
    """
    return 1 - 0.99 * epoch / span_epochs if epoch < span_epochs else 0.0


def region_weight(config: LossConfig, epoch: int, num_epochs: int) -> float:
    """Weight with which the scheduled term reaches encoder and pooling in ``epoch``."""
    if config.region_schedule == "falling":
        share = config.lambda_span * num_epochs
        return dynamic_weight(epoch, share if config.lambda_epochs is None else config.lambda_epochs)
    if config.region_schedule == "linear":
        return 1 - epoch / num_epochs
    return 0.0 if config.region_schedule == "off" else 1.0


def detached_heads(config: LossConfig, epoch: int, num_epochs: int) -> frozenset[str]:
    """Heads that in ``epoch`` learn from the clip's vector without shaping it."""
    fallen = config.region_schedule == "falling" and region_weight(config, epoch, num_epochs) == 0
    return frozenset({config.joint_head}) if fallen and config.afterwards == "head" else frozenset()


def loss_terms(
    answers: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    weights_of_classes: Mapping[str, Tensor],
    config: LossConfig,
    *,
    epoch: int,
    num_epochs: int,
) -> dict[str, Float[Tensor, ""]]:
    """Weighted terms by head; their sum is the loss. ``targets``: VAD (batch, 3), class labels (batch,), -1 for none.

    Where the scheduled head is detached its term has weight 1: it can then move nothing but the head itself.
    """
    terms = {"vad": ccc_loss(answers["vad"], targets["vad"], reduction=config.reduction)}
    weights = dict(config.auxiliary)
    if config.joint_head in answers:
        detached = config.joint_head in detached_heads(config, epoch, num_epochs)
        weights[config.joint_head] = 1.0 if detached else region_weight(config, epoch, num_epochs)
    for name, weight in weights.items():
        if weight:
            class_weights = weights_of_classes[name]
            if not config.class_weighted:
                class_weights = (class_weights > 0).to(class_weights)  # a class without a clip keeps its weight of 0
            terms[name] = weight * weighted_cross_entropy(answers[name], targets[name], class_weights)
    return terms


class LearntWeights(nn.Module):
    """Weights of the terms by their uncertainty: ``sum exp(-s) term + s``, one learnt ``s`` per term, 0 at first.

    Kendall, Gal and Cipolla (CVPR 2018), with ``s`` the logarithm of a term's variance.
    """

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.log_variances = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in names})

    def forward(self, terms: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """The loss; a term that is absent takes its ``s`` with it."""
        parts = [torch.exp(-self.log_variances[name]) * term + self.log_variances[name] for name, term in terms.items()]
        return torch.stack(parts).sum()


def total(terms: Mapping[str, Tensor]) -> Float[Tensor, ""]:
    """Sum of the terms."""
    return torch.stack(list(terms.values())).sum()
