"""The training loss: a sum of terms, each by the name of the head it belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from emosphere.losses.ccc import ccc_loss
from emosphere.losses.classification import weighted_cross_entropy


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """How the terms are weighed. The concordance term over VAD always has weight 1."""

    region_schedule: Literal["falling", "constant", "off"] = "falling"
    """Weight of the region term: the paper's fall from 1, its ablation (always 1), or no such term."""
    lambda_span: float = 0.25
    """Share of the epochs over which it falls (the paper: 5 of 20)."""
    afterwards: Literal["head", "freeze"] = "head"
    """When it has fallen to 0: go on teaching the region head alone, so that its probabilities stay true to the
    encoder, or leave it as it is, as the authors' code does."""
    auxiliary: dict[str, float] = field(default_factory=dict)
    """Constant weights of further classification heads, by name."""

    def __post_init__(self) -> None:
        if not 0 <= self.lambda_span <= 1:
            raise ValueError(f"lambda_span={self.lambda_span} must lie in 0..1, a share of all epochs.")
        if {"vad", "region"} & self.auxiliary.keys():
            raise ValueError("auxiliary names further heads; 'vad' and 'region' have their own terms.")


def dynamic_weight(epoch: int, span_epochs: float) -> float:
    """Weight of the region term in zero-based ``epoch``: ``1 - 0.99 epoch / span``, and 0 from ``span`` on.

    EmoSphere-SER, equation 4, where the span is 5: 1, .802, .604, .406, .208, then 0.
    """
    return 1 - 0.99 * epoch / span_epochs if epoch < span_epochs else 0.0


def region_weight(config: LossConfig, epoch: int, num_epochs: int) -> float:
    """Weight with which the region term reaches encoder and pooling in ``epoch``."""
    if config.region_schedule == "falling":
        return dynamic_weight(epoch, config.lambda_span * num_epochs)
    return 1.0 if config.region_schedule == "constant" else 0.0


def detached_heads(config: LossConfig, epoch: int, num_epochs: int) -> frozenset[str]:
    """Heads that in ``epoch`` learn from the clip's vector without shaping it."""
    fallen = config.region_schedule == "falling" and region_weight(config, epoch, num_epochs) == 0
    return frozenset({"region"}) if fallen and config.afterwards == "head" else frozenset()


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

    Where the region head is detached its term has weight 1: it can then move nothing but the head itself.
    """
    terms = {"vad": ccc_loss(answers["vad"], targets["vad"])}
    weights = dict(config.auxiliary)
    if "region" in answers:
        detached = "region" in detached_heads(config, epoch, num_epochs)
        weights["region"] = 1.0 if detached else region_weight(config, epoch, num_epochs)
    for name, weight in weights.items():
        if weight:
            term = weighted_cross_entropy(answers[name], targets[name], weights_of_classes[name])
            terms[name] = weight * term
    return terms


def total(terms: Mapping[str, Tensor]) -> Float[Tensor, ""]:
    """Sum of the terms."""
    return torch.stack(list(terms.values())).sum()
