"""The optimiser of a fit, and its learning rate over the updates."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from emosphere.model.network import Network
from emosphere.training.balance import Balance
from emosphere.training.fit_config import PARTS, STREAMS, FitConfig

POOLING, HEADS = PARTS[1:]


def build_optimiser(network: Network, balance: Balance, config: FitConfig) -> torch.optim.AdamW:
    """AdamW over all that learns: a rate per part of the network, no decay on vectors.

    What the balance of the terms learns goes with the heads' rate.
    """
    groups: list[dict[str, Any]] = []
    for rate, modules in _parts(network, config):
        learnt = [tensor for module in modules for tensor in module.parameters() if tensor.requires_grad]
        groups.append({"params": [tensor for tensor in learnt if tensor.dim() > 1], "lr": rate})
        vectors = [tensor for tensor in learnt if tensor.dim() <= 1]
        groups.append({"params": vectors, "lr": rate, "weight_decay": 0.0})
    groups[-1]["params"] += list(balance.parameters())
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)


def _parts(network: Network, config: FitConfig) -> Iterator[tuple[float, list[nn.Module]]]:
    """The rate of each part, and what it is made of in every member; the heads come last."""
    rates, members = config.learning_rates, network.members
    of_streams = rates.get(STREAMS, config.learning_rate)
    for name in network.config.streams:
        yield rates.get(name, of_streams), [member.streams[name] for member in members]
    pooling: list[nn.Module] = [module for member in members for module in (member.poolings, member.fusion)]
    yield rates.get(POOLING, config.learning_rate), pooling
    yield rates.get(HEADS, config.learning_rate), [member.heads for member in members]


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
