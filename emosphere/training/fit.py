"""A network in training: one update at a time.

Concordance is a statistic of many clips, but a network may hold only a few at once, and several ranks share them. So
an update has two passes. The first computes all answers, without gradient. Then the loss over all of them, and its
gradient with respect to each answer, is taken once. The second pass computes the answers again, with the same random
draws, and continues from each answer's gradient. Where all clips fit at once the first pass keeps its graph and there
is no second.
"""

import contextlib
import copy
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from emosphere.clips.batches import Batch, to_device
from emosphere.errors import UsageError
from emosphere.model.network import Network
from emosphere.training.answers import Answers, MemberAnswers
from emosphere.training.fit_config import FitConfig
from emosphere.training.loss import LearntWeights, detached_heads, loss_terms, total
from emosphere.training.optimiser import build_optimiser, rate_at
from emosphere.training.replay import random_state, wind_back

Share = Sequence[Batch]
"""This rank's part of one batch, in pieces that go through the network at once."""


class Ranks(Protocol):
    """The ranks of a fit: what one of them needs of the others."""

    count: int
    """How many they are, this one included."""

    def gather(self, own: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
        """Rows of all ranks, in one order everywhere; gradient reaches this rank's own."""
        ...

    def mean(self, value: Tensor) -> Tensor:
        """Mean of a value over the ranks."""
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
        parallel: Callable[[nn.Module], nn.Module] | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        """``parallel`` puts a module inside DistributedDataParallel, with the ``ranks`` it averages gradients over."""
        self.network = network
        self.config = config
        self._members = MemberAnswers(network)
        self._synced = self._members if parallel is None else parallel(self._members)
        """The same, with gradients averaged over the ranks."""
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
        """One round over this rank's shares of the batches; returns each term's mean over the updates."""
        self._synced.train()
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
        groups = self._groups(shares)
        self._optimiser.zero_grad(set_to_none=True)
        sums: defaultdict[str, float] = defaultdict(float)
        for number, group in enumerate(groups):
            on_device = [to_device(piece, self._device) for piece in group]
            is_last = number == len(groups) - 1
            terms = self._add_gradients(on_device, epoch, num_groups=len(groups), is_last=is_last)
            for name, term in terms.items():
                sums[name] += float(term.detach()) / len(groups)
        if not all(math.isfinite(term) for term in sums.values()):
            raise UsageError(
                f"the loss became {dict(sums)} in epoch {epoch + 1}: lower learning_rate or set clip_norm."
            )
        if self._learnt_weights is not None and self._ranks is not None:
            for weight in self._learnt_weights.parameters():
                weight.grad = self._ranks.mean(cast(Tensor, weight.grad))
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        self._optimiser.step()
        self._scheduler.step()
        self._update_mean()
        return dict(sums)

    def _groups(self, shares: Sequence[Share]) -> list[Share]:
        """Pieces by the loss that they share."""
        pieces = [piece for share in shares for piece in share]
        if self.config.concordance == "global":
            return [pieces]
        return list(shares) if self.config.concordance == "batch" else [[piece] for piece in pieces]

    def _add_gradients(self, pieces: Share, epoch: int, *, num_groups: int, is_last: bool) -> dict[str, Tensor]:
        """Add to the network's gradients those of one loss over these clips, one of ``num_groups`` of this update.

        Returns the terms of that loss. ``is_last``: no gradient is added afterwards.
        """
        if len(pieces) == 1:
            with self._synced_if(is_last):
                answers = self._member_answers(self._synced, pieces[0], epoch)
                terms, gradients = self._loss_gradients(answers, pieces, epoch, num_groups)
                _backward(answers, gradients)
            return terms
        states, first_pass = [], []
        with torch.no_grad():
            for piece in pieces:
                states.append(random_state())
                first_pass.append(self._member_answers(self._members, piece, epoch))
        answers = {name: torch.cat([answers[name] for answers in first_pass]) for name in first_pass[0]}
        terms, gradients = self._loss_gradients(answers, pieces, epoch, num_groups)
        start = 0
        for number, (piece, state) in enumerate(zip(pieces, states, strict=True)):
            wind_back(state)
            with self._synced_if(is_last and number == len(pieces) - 1):
                answers = self._member_answers(self._synced, piece, epoch)
                stop = start + len(answers["vad"])
                _backward(answers, {name: gradient[start:stop] for name, gradient in gradients.items()})
                start = stop
        return terms

    def _loss_gradients(
        self, answers: Answers, pieces: Share, epoch: int, num_groups: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Terms of one loss over these clips, and its gradient with respect to this rank's answers, by head.

        A head that is in no term has no gradient.
        """
        own = {name: answer.detach().double().requires_grad_() for name, answer in answers.items()}
        targets = self._member_targets(pieces)
        all_answers, all_targets, num_ranks = own, targets, 1
        if self._ranks is not None and self.config.concordance != "micro-batch":
            (all_answers, all_targets), num_ranks = self._ranks.gather([own, targets]), self._ranks.count
        terms = loss_terms(
            all_answers,
            all_targets,
            self._class_weights,
            self.config.loss,
            epoch=epoch,
            num_epochs=self.config.epochs,
        )
        loss = total(terms) if self._learnt_weights is None else self._learnt_weights(terms)
        (loss / num_groups).backward()  # into `own` and the learnt weights, not yet into the network
        # DistributedDataParallel averages gradients, while a shared loss is one over the clips of all ranks.
        gradients = {name: tensor.grad * num_ranks for name, tensor in own.items() if tensor.grad is not None}
        return terms, gradients

    def _member_targets(self, pieces: Share) -> dict[str, Tensor]:
        """Targets in the order of the members' answers: piece by piece, in each the same for every member."""
        num_members = self.network.config.members
        return {
            name: torch.cat([piece.targets[name] for piece in pieces for _ in range(num_members)])
            for name in pieces[0].targets
        }

    def _member_answers(self, module: nn.Module, piece: Batch, epoch: int) -> Answers:
        detached = detached_heads(self.config.loss, epoch, self.config.epochs)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            answers: Answers = module(piece.features, detached)
        return answers

    def _synced_if(self, is_last: bool) -> contextlib.AbstractContextManager[Any]:
        """Gradients are averaged over the ranks once per update, at its last backward pass."""
        if not is_last and isinstance(self._synced, nn.parallel.DistributedDataParallel):
            manager: contextlib.AbstractContextManager[Any] = self._synced.no_sync()
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
    def _update_mean(self) -> None:
        if self._mean is None:
            return
        # A young mean forgets faster, so that it does not drag the initial weights along.
        age = self._scheduler.last_epoch
        decay = min(cast(float, self.config.ema_decay), (1 + age) / (10 + age))
        for mean, tensor in zip(self._mean.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(tensor, 1 - decay)


def _backward(answers: Answers, gradients: Mapping[str, Tensor]) -> None:
    """Continue from the gradients of the answers down into the network."""
    heads = [name for name in answers if answers[name].requires_grad and name in gradients]
    torch.autograd.backward([answers[name] for name in heads], [gradients[name].to(answers[name]) for name in heads])


def _in_groups(shares: Iterable[Share], size: int) -> Iterable[list[Share]]:
    group: list[Share] = []
    for share in shares:
        group.append(share)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
