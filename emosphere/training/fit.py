"""A network in training: one update at a time.

Concordance is a statistic of many clips, but a network may hold only a few at once, and several workers share them. So
an update has two passes. The first asks the network for all answers, without gradient. Then the loss over all of them,
and its gradient with respect to each answer, is taken once. The second pass asks again, with the same random draws, and
hands each answer's gradient down. Where all clips fit at once the first pass keeps its graph and there is no second.
"""

import contextlib
import copy
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from emosphere.clips.batches import Batch, to_device
from emosphere.errors import UsageError
from emosphere.model.network import Network
from emosphere.training.answers import Answers
from emosphere.training.config import FitConfig
from emosphere.training.loss import LearntWeights, detached_heads, loss_terms, total
from emosphere.training.optimiser import build_optimiser, rate_at
from emosphere.training.replay import random_state, wind_back

Share = Sequence[Batch]
"""This worker's part of one batch, in pieces that go through the network at once."""


class Ranks(Protocol):
    """The other workers of a fit."""

    count: int
    """Workers, this one included."""

    def gather(self, own: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
        """Rows of all workers, in one order everywhere; gradient reaches this worker's own."""
        ...

    def average(self, value: Tensor) -> None:
        """Replace a value by its mean over the workers."""
        ...


class Fit:
    """Network, optimiser, schedule, running mean of the weights."""

    def __init__(
        self,
        network: Network,
        config: FitConfig,
        class_weights: Mapping[str, Tensor],
        *,
        steps_per_epoch: int,
        wrapped: nn.Module | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        """``wrapped``: the network inside DistributedDataParallel, with the ``ranks`` it averages gradients over."""
        self.network = network
        self.config = config
        self._wrapped = network if wrapped is None else wrapped
        self._ranks = ranks
        self._device = next(network.parameters()).device
        self._class_weights = {name: weights.to(self._device) for name, weights in class_weights.items()}
        self._learnt_weights: LearntWeights | None = None
        if config.loss.region_schedule == "uncertainty":
            self._learnt_weights = LearntWeights(["vad", config.loss.joint_head, *config.loss.auxiliary])
            self._learnt_weights.to(self._device)
        self._optimiser = build_optimiser(network, self._learnt_weights, config)
        num_steps = steps_per_epoch * config.epochs
        self._scheduler = torch.optim.lr_scheduler.LambdaLR(
            self._optimiser, lambda step: rate_at(step, num_steps, config)
        )
        self._mean = copy.deepcopy(network).eval() if config.ema_decay is not None else None

    def result(self) -> Network:
        """The network that counts: the running mean where there is one. In eval mode."""
        return (self._mean or self.network).eval()

    def epoch(self, shares: Iterable[Share], epoch: int) -> dict[str, float]:
        """One round over this worker's shares of the batches; returns each term's mean over the updates."""
        self._wrapped.train()
        sums: defaultdict[str, float] = defaultdict(float)
        num_steps = 0
        for step_shares in _in_groups(shares, self.config.accumulate):
            for name, term in self.step(step_shares, epoch).items():
                sums[name] += term
            num_steps += 1
        return {name: value / max(num_steps, 1) for name, value in sums.items()}

    def step(self, shares: Sequence[Share], epoch: int) -> dict[str, float]:
        """One update from the shares of one or more batches; returns the loss terms before it.

        Raises UsageError when the loss is not finite: the same settings would end there again.
        """
        alone = self.config.concordance == "micro-batch"
        pieces = [piece for share in shares for piece in share]
        groups: list[Share] = [[piece] for piece in pieces] if alone else [pieces]
        if self.config.concordance == "batch":
            groups = list(shares)
        self._optimiser.zero_grad(set_to_none=True)
        sums: defaultdict[str, float] = defaultdict(float)
        for number, group in enumerate(groups):
            terms = self._group(group, epoch, alone=alone, num_groups=len(groups), last=number == len(groups) - 1)
            for name, term in terms.items():
                sums[name] += term / len(groups)
        if not all(math.isfinite(term) for term in sums.values()):
            raise UsageError(
                f"the loss became {dict(sums)} in epoch {epoch + 1}: lower learning_rate or set clip_norm."
            )
        if self._learnt_weights is not None and self._ranks is not None:
            for weight in self._learnt_weights.parameters():
                self._ranks.average(cast(Tensor, weight.grad))
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        self._optimiser.step()
        self._scheduler.step()
        self._follow()
        return dict(sums)

    def _group(self, group: Share, epoch: int, *, alone: bool, num_groups: int, last: bool) -> dict[str, float]:
        """Add to the gradients what one concordance, over this group of all workers, asks for."""
        pieces = [to_device(piece, self._device) for piece in group]
        replays = len(pieces) > 1
        states, asked = [], []
        for piece in pieces:
            states.append(random_state() if replays else None)
            with torch.no_grad() if replays else self._without_sync(not last):
                asked.append(self._ask(self.network if replays else self._wrapped, piece, epoch))
        answers = {name: torch.cat([one[name] for one in asked]) for name in asked[0]}
        # Each member of the network has a row of its own for every clip, with the same target.
        num_members = self.network.config.members
        goals = [
            {name: torch.cat([target] * num_members) for name, target in piece.targets.items()} for piece in pieces
        ]
        targets = {name: torch.cat([goal[name] for goal in goals]) for name in goals[0]}
        terms, pulls = self._pulls(answers, targets, epoch, alone=alone, num_groups=num_groups)
        start = 0
        for number, piece in enumerate(pieces):
            final = last and number == len(pieces) - 1
            with self._without_sync(not final):
                if replays:
                    wind_back(cast(Any, states[number]))
                    answer = self._ask(self._wrapped, piece, epoch)
                else:
                    answer = asked[number]
                stop = start + len(answer["vad"])
                heads = [name for name in answer if answer[name].requires_grad and pulls[name] is not None]
                torch.autograd.backward(
                    [answer[name] for name in heads],
                    [cast(Tensor, pulls[name])[start:stop].to(answer[name]) for name in heads],
                )
                start = stop
        return {name: float(term.detach()) for name, term in terms.items()}

    def _pulls(
        self, answers: Answers, targets: dict[str, Tensor], epoch: int, *, alone: bool, num_groups: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor | None]]:
        """Loss terms over a group, and the loss's gradient with respect to this worker's answers."""
        own = {name: answer.detach().double().requires_grad_() for name, answer in answers.items()}
        every, goals, count = own, targets, 1
        if self._ranks is not None and not alone:
            (every, goals), count = self._ranks.gather([own, targets]), self._ranks.count
        terms = loss_terms(
            every, goals, self._class_weights, self.config.loss, epoch=epoch, num_epochs=self.config.epochs
        )
        loss = total(terms) if self._learnt_weights is None else self._learnt_weights(terms)
        (loss / num_groups).backward()  # into `own` and the learnt weights, not yet into the network
        # DistributedDataParallel averages gradients, while a shared loss is one over the clips of all workers.
        return terms, {name: None if tensor.grad is None else tensor.grad * count for name, tensor in own.items()}

    def _ask(self, network: nn.Module, piece: Batch, epoch: int) -> Answers:
        detached = detached_heads(self.config.loss, epoch, self.config.epochs)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            answers: Answers = network(piece.features, detached=detached)
        return answers

    def _without_sync(self, quiet: bool) -> contextlib.AbstractContextManager[Any]:
        """Gradients are averaged over the workers once per update, at its last backward pass."""
        if quiet and isinstance(self._wrapped, nn.parallel.DistributedDataParallel):
            manager: contextlib.AbstractContextManager[Any] = self._wrapped.no_sync()
            return manager
        return contextlib.nullcontext()

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs, for :meth:`restore`."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "scheduler": self._scheduler.state_dict(),
            "mean": self._mean.state_dict() if self._mean else None,
            "weights": self._learnt_weights.state_dict() if self._learnt_weights else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._scheduler.load_state_dict(state["scheduler"])
        if self._mean:
            self._mean.load_state_dict(state["mean"])
        if self._learnt_weights:
            self._learnt_weights.load_state_dict(state["weights"])

    @torch.no_grad()
    def _follow(self) -> None:
        if self._mean is None:
            return
        # A young mean forgets faster, so that it does not drag the initial weights along.
        age = self._scheduler.last_epoch
        decay = min(cast(float, self.config.ema_decay), (1 + age) / (10 + age))
        for mean, tensor in zip(self._mean.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(tensor, 1 - decay)


def _in_groups(shares: Iterable[Share], size: int) -> Iterable[list[Share]]:
    group: list[Share] = []
    for share in shares:
        group.append(share)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
