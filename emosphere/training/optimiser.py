"""The optimiser of a fit, and its learning rate over the updates."""

import math
from typing import Any

import torch

from emosphere.model.network import Network
from emosphere.training.fit_config import PARTS, FitConfig
from emosphere.training.loss import LearntWeights


def build_optimiser(network: Network, weights: LearntWeights | None, config: FitConfig) -> torch.optim.AdamW:
    """AdamW over all that learns: a rate per part of the network, no decay on vectors.

    Learnt weights of the terms go with the heads' rate.
    """
    groups: list[dict[str, Any]] = []
    for part in PARTS:
        parameters = [tensor for member in network.members for tensor in getattr(member, part).parameters()]
        learnt = [tensor for tensor in parameters if tensor.requires_grad]
        rate = config.learning_rates.get(part, config.learning_rate)
        groups.append({"params": [tensor for tensor in learnt if tensor.dim() > 1], "lr": rate})
        vectors = [tensor for tensor in learnt if tensor.dim() <= 1]
        if part == "heads" and weights is not None:
            vectors += list(weights.parameters())
        groups.append({"params": vectors, "lr": rate, "weight_decay": 0.0})
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)


def rate_at(step: int, num_steps: int, config: FitConfig) -> float:
    """Share of the full learning rate in zero-based update ``step`` of ``num_steps``, in [0, 1]."""
    share = config.warm_up
    if share is None:
        share = 0.0 if config.schedule == "constant" else 0.05
    warm_up = max(int(share * num_steps), 1) if share else 0
    if step < warm_up:
        return (step + 1) / warm_up
    if config.schedule == "constant":
        return 1.0
    progress = min((step - warm_up) / max(num_steps - warm_up, 1), 1.0)
    return 1 - progress if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
