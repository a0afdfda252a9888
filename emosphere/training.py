"""One step, one epoch, one evaluation, over any iterator of batches. Knows neither Ray nor storage."""

import copy
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from emosphere.data.collate import Batch, HeardClips, evaluation_batches, to_device
from emosphere.losses.total import LossConfig, detached_heads, loss_terms, total
from emosphere.model.network import Network

Answers = dict[str, Tensor]
Gather = Callable[[Answers, dict[str, Tensor]], tuple[Answers, dict[str, Tensor]]]
"""This worker's answers and targets -> those of all workers, with gradient to this worker's own part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """How a network is fitted."""

    epochs: int = 20
    """Rounds over the training clips."""
    batch_size: int = 32
    """Clips per step, of all workers together."""
    learning_rate: float = 1e-5
    """AdamW's, at its highest."""
    weight_decay: float = 0.01
    """AdamW's; not applied to biases, norms and other vectors."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Learning rate over the steps: the paper's, or up in the first twentieth and then down to 0 along a cosine."""
    clip_norm: float | None = None
    """Largest norm of the gradient."""
    ema_decay: float | None = None
    """When set, what counts in the end is a running mean of the weights with this decay per step."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Terms and their weights."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise ValueError(f"epochs={self.epochs} must be at least 1 and batch_size={self.batch_size} at least 2.")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay={self.ema_decay} must lie between 0 and 1.")


class Fit:
    """A network in training: optimiser, schedule, running mean of the weights."""

    def __init__(
        self,
        network: Network,
        config: FitConfig,
        class_weights: Mapping[str, Tensor],
        *,
        steps_per_epoch: int,
        wrapped: nn.Module | None = None,
        gather: Gather | None = None,
        num_workers: int = 1,
    ) -> None:
        """``wrapped``: the same network inside DistributedDataParallel, with ``gather`` and ``num_workers``."""
        self.network = network
        self.config = config
        self._forward = network if wrapped is None else wrapped
        self._gather = gather
        self._num_workers = num_workers
        self._class_weights = class_weights
        self._num_steps = steps_per_epoch * config.epochs
        learned = [tensor for tensor in network.parameters() if tensor.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [tensor for tensor in learned if tensor.dim() > 1]},
            {"params": [tensor for tensor in learned if tensor.dim() <= 1], "weight_decay": 0.0},
        ]
        self._optimiser = torch.optim.AdamW(
            groups,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )
        self._scheduler = torch.optim.lr_scheduler.LambdaLR(self._optimiser, self._rate)
        self._mean = copy.deepcopy(network).eval() if config.ema_decay is not None else None
        self._device = next(network.parameters()).device

    def result(self) -> Network:
        """The network that counts: the running mean where there is one. In eval mode."""
        return (self._mean or self.network).eval()

    def epoch(self, batches: Iterable[Batch], epoch: int) -> dict[str, float]:
        """One round; returns each term's mean over the steps."""
        self._forward.train()
        sums: defaultdict[str, float] = defaultdict(float)
        num_steps = 0
        for batch in batches:
            for name, term in self.step(batch, epoch).items():
                sums[name] += term
            num_steps += 1
        return {name: value / max(num_steps, 1) for name, value in sums.items()}

    def step(self, batch: Batch, epoch: int) -> dict[str, float]:
        """One update; returns the loss terms before it."""
        batch = to_device(batch, self._device)
        loss_config, num_epochs = self.config.loss, self.config.epochs
        answers = self._forward(batch.heard, detached=detached_heads(loss_config, epoch, num_epochs))
        targets = batch.targets
        if self._gather:
            answers, targets = self._gather(answers, targets)
        terms = loss_terms(answers, targets, self._class_weights, loss_config, epoch=epoch, num_epochs=num_epochs)
        self._optimiser.zero_grad(set_to_none=True)
        # DistributedDataParallel averages gradients, while this loss is one over the clips of all workers.
        (total(terms) * self._num_workers).backward()  # type: ignore[no-untyped-call]
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        self._optimiser.step()
        self._scheduler.step()
        self._follow()
        return {name: float(term.detach()) for name, term in terms.items()}

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs, for :meth:`restore`."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "scheduler": self._scheduler.state_dict(),
            "mean": self._mean.state_dict() if self._mean else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._scheduler.load_state_dict(state["scheduler"])
        if self._mean:
            self._mean.load_state_dict(state["mean"])

    def _rate(self, step: int) -> float:
        if self.config.schedule == "constant":
            return 1.0
        warm_up = max(self._num_steps // 20, 1)
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * min((step - warm_up) / max(self._num_steps - warm_up, 1), 1.0)))

    @torch.no_grad()
    def _follow(self) -> None:
        if self._mean is None:
            return
        # A young mean forgets faster, so that it does not drag the initial weights along.
        age = self._scheduler.last_epoch
        decay = min(cast(float, self.config.ema_decay), (1 + age) / (10 + age))
        for mean, tensor in zip(self._mean.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(tensor, 1 - decay)


@torch.inference_mode()
def answers_for(network: Network, heard: HeardClips, rows: list[int], *, version: int = 0) -> Answers:
    """Each head's answers for whole clips, in the order of ``rows``, on the CPU."""
    network.eval()
    device = next(network.parameters()).device
    place = {row: index for index, row in enumerate(rows)}
    found: defaultdict[str, list[Tensor]] = defaultdict(list)
    order: list[int] = []
    for batch_rows, batch in evaluation_batches(heard, rows, version=version):
        for name, answer in network(to_device(batch, device).heard).items():
            found[name].append(answer.cpu())
        order += [place[row] for row in batch_rows]
    back = torch.argsort(torch.tensor(order))
    return {name: torch.cat(parts)[back] for name, parts in found.items()}
