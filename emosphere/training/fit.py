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
from emosphere.model.frames import Frames
from emosphere.model.network import Network
from emosphere.tasks import Target
from emosphere.training.answers import MemberAnswers
from emosphere.training.fit_config import FitConfig
from emosphere.training.optimiser import build_optimiser, rate_at
from emosphere.training.replay import random_state, wind_back
from emosphere.training.terms import SCOPES, Answer, Scope, detached_heads, head_of, weights_in, widest_scope

Share = Sequence[Batch]
"""This rank's part of one batch, in pieces that go through the network at once."""
PieceAnswers = Mapping[str, Answer]
"""Of every member to one piece, by head."""


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
        names = [name for name, term in config.terms.items() if term.weight]
        self._balance = config.balance.build(names).to(self._device)
        self._optimiser = build_optimiser(network, self._balance, config)
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
        groups = _grouped(shares, widest_scope(self.config.terms))
        num_pieces = sum(len(share) for share in shares)
        parts: dict[Scope, int] = {"piece": num_pieces, "batch": len(shares), "update": 1}
        self._optimiser.zero_grad(set_to_none=True)
        sums: defaultdict[str, float] = defaultdict(float)
        for number, group in enumerate(groups):
            on_device = [[to_device(piece, self._device) for piece in share] for share in group]
            terms = self._add_gradients(on_device, epoch, parts, is_last=number == len(groups) - 1)
            for name, term in terms.items():
                sums[name] += term
        if not all(math.isfinite(term) for term in sums.values()):
            raise UsageError(
                f"the loss became {dict(sums)} in epoch {epoch + 1}: lower learning_rate or set clip_norm."
            )
        if self._ranks is not None:
            for weight in self._balance.parameters():
                if weight.grad is not None:
                    weight.grad = self._ranks.mean(weight.grad)
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        self._optimiser.step()
        self._scheduler.step()
        self._update_mean()
        return dict(sums)

    def _add_gradients(
        self, group: Sequence[Share], epoch: int, parts: Mapping[Scope, int], *, is_last: bool
    ) -> dict[str, float]:
        """Add to the network's gradients those of the loss over these clips, which share its widest term.

        Returns what the clips add to each term of the update, which has so many ``parts`` per scope. ``is_last``: no
        gradient is added afterwards.
        """
        pieces = [piece for share in group for piece in share]
        if len(pieces) == 1:
            with self._synced_if(is_last):
                answers = self._member_answers(self._synced, pieces[0], epoch)
                terms, [gradients] = self._loss_gradients([answers], group, epoch, parts)
                _backward(answers, gradients)
            return terms
        states, first_pass = [], []
        with torch.no_grad():
            for piece in pieces:
                states.append(random_state())
                first_pass.append(self._member_answers(self._members, piece, epoch))
        terms, gradients_of = self._loss_gradients(first_pass, group, epoch, parts)
        for number, (piece, state) in enumerate(zip(pieces, states, strict=True)):
            wind_back(state)
            with self._synced_if(is_last and number == len(pieces) - 1):
                _backward(self._member_answers(self._synced, piece, epoch), gradients_of[number])
        return terms

    def _loss_gradients(
        self, answers: Sequence[PieceAnswers], group: Sequence[Share], epoch: int, parts: Mapping[Scope, int]
    ) -> tuple[dict[str, float], list[dict[str, Tensor]]]:
        """Terms of the loss over these clips, and its gradient with respect to this rank's answers, piece by piece.

        A head that is in no term has no gradient.
        """
        weights = weights_in(self.config.terms, epoch, self.config.epochs)
        targets = [self._member_targets(piece) for share in group for piece in share]
        terms: defaultdict[str, float] = defaultdict(float)
        gradients: list[dict[str, Tensor]] = [{} for _ in answers]
        for scope in SCOPES:
            names = [name for name in weights if self.config.terms[name].scope == scope]
            for numbers in _numbers_of_pieces(group, scope) if names else ():
                own = [(answers[number], targets[number]) for number in numbers]
                values, of_pieces = self._part_of_the_loss(own, {name: weights[name] for name in names}, scope, parts)
                for name, value in values.items():
                    terms[name] += value / parts[scope]
                for number, of_piece in zip(numbers, of_pieces, strict=True):
                    for head, gradient in of_piece.items():
                        before = gradients[number].get(head)
                        gradients[number][head] = gradient if before is None else before + gradient
        return terms, gradients

    def _part_of_the_loss(
        self,
        pieces: Sequence[tuple[PieceAnswers, Mapping[str, Target]]],
        weights: Mapping[str, float],
        scope: Scope,
        parts: Mapping[Scope, int],
    ) -> tuple[dict[str, float], list[dict[str, Tensor]]]:
        """Terms of one scope over some pieces together, and the gradient with respect to each piece's answers."""
        heads = {head_of(name, self.config.terms[name]) for name in weights}
        own = {head: _joined([answers[head] for answers, _ in pieces]) for head in self.network.tasks if head in heads}
        targets = {
            head: Target(*(torch.cat(part) for part in zip(*(of_piece[head] for _, of_piece in pieces), strict=True)))
            for head in own
        }
        all_answers: Mapping[str, Answer] = own
        all_targets, num_ranks = targets, 1
        if self._ranks is not None and scope != "piece":
            all_answers, all_targets = self._gathered(cast(Mapping[str, Tensor], own), targets)
            num_ranks = self._ranks.count
        terms = {}
        for name, weight in weights.items():
            term = self.config.terms[name]
            head = head_of(name, term)
            value = term.loss(all_answers[head], all_targets[head], self._class_weights.get(head))
            terms[name] = weight * value
        unlabelled = {name for name in terms if not all_targets[head_of(name, self.config.terms[name])].is_known.any()}
        loss = self._balance(terms, unlabelled) / parts[scope]
        loss.backward()  # into `own` and the balance, not yet into the network
        sizes = [len(_values(next(iter(answers.values())))) for answers, _ in pieces]
        gradients: list[dict[str, Tensor]] = [{} for _ in pieces]
        for head, answer in own.items():
            if (gradient := _values(answer).grad) is not None:
                # DistributedDataParallel averages gradients, while a shared loss is one over the clips of all ranks.
                for of_piece, rows in zip(gradients, torch.split(gradient * num_ranks, sizes), strict=True):
                    of_piece[head] = rows
        return {name: float(term.detach()) for name, term in terms.items()}, gradients

    def _gathered(
        self, answers: Mapping[str, Tensor], targets: Mapping[str, Target]
    ) -> tuple[dict[str, Tensor], dict[str, Target]]:
        """The same of all ranks."""
        assert self._ranks is not None
        own = [answers, *({head: target[part] for head, target in targets.items()} for part in range(2))]
        all_answers, values, is_known = self._ranks.gather(own)
        return all_answers, {head: Target(values[head], is_known[head]) for head in targets}

    def _member_targets(self, piece: Batch) -> dict[str, Target]:
        """Targets in the order of the members' answers: the same for every member."""
        num_members = self.network.config.members
        return {
            head: Target(*(torch.cat([part] * num_members) for part in target))
            for head, target in piece.targets.items()
        }

    def _member_answers(self, module: nn.Module, piece: Batch, epoch: int) -> PieceAnswers:
        detached = detached_heads(self.config.terms, epoch, self.config.epochs)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            answers: PieceAnswers = module(piece.features, detached)
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
            "balance": self._balance.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._scheduler.load_state_dict(state["scheduler"])
        if self._mean:
            self._mean.load_state_dict(state["mean"])
        self._balance.load_state_dict(state["balance"])

    @torch.no_grad()
    def _update_mean(self) -> None:
        if self._mean is None:
            return
        # A young mean forgets faster, so that it does not drag the initial weights along.
        age = self._scheduler.last_epoch
        decay = min(cast(float, self.config.ema_decay), (1 + age) / (10 + age))
        for mean, tensor in zip(self._mean.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(tensor, 1 - decay)


def _grouped(shares: Sequence[Share], scope: Scope) -> list[list[Share]]:
    """Shares of batches, or pieces of them, by the widest term that they share."""
    if scope == "update":
        return [list(shares)]
    return [[share] for share in shares] if scope == "batch" else [[[piece]] for share in shares for piece in share]


def _numbers_of_pieces(group: Sequence[Share], scope: Scope) -> list[list[int]]:
    """Which pieces of a group, counted through, share one value of a term of ``scope``."""
    count, of_shares = 0, []
    for share in group:
        of_shares.append(list(range(count, count + len(share))))
        count += len(share)
    if scope == "update":
        return [list(range(count))]
    return of_shares if scope == "batch" else [[number] for number in range(count)]


def _joined(answers: Sequence[Answer]) -> Answer:
    """Answers to several pieces as one leaf in float64; only those to clips can be more than one."""
    if len(answers) == 1 and isinstance(answers[0], Frames):
        return Frames(answers[0].values.detach().double().requires_grad_(), answers[0].is_valid)
    return torch.cat([_values(answer) for answer in answers]).detach().double().requires_grad_()


def _values(answer: Answer) -> Tensor:
    return answer.values if isinstance(answer, Frames) else answer


def _backward(answers: PieceAnswers, gradients: Mapping[str, Tensor]) -> None:
    """Continue from the gradients of the answers down into the network."""
    values = {head: _values(answer) for head, answer in answers.items()}
    heads = [head for head in values if values[head].requires_grad and head in gradients]
    torch.autograd.backward([values[head] for head in heads], [gradients[head].to(values[head]) for head in heads])


def _in_groups(shares: Iterable[Share], size: int) -> Iterable[list[Share]]:
    group: list[Share] = []
    for share in shares:
        group.append(share)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
