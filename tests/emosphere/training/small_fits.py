"""A network, batches and settings as small as they can be, and their gradients by the textbook.

The textbook twin: one pass over all clips, one CCC over them in plain autograd.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from emosphere.clips.batches import Batch
from emosphere.config import from_mapping
from emosphere.losses.ccc import EPSILON
from emosphere.model.architecture import NetworkConfig
from emosphere.model.frames import Frames, validity
from emosphere.model.network import Network
from emosphere.tasks import Target
from emosphere.training import Fit, FitConfig
from emosphere.training.terms import Concordance, CrossEntropy, Scope, Term
from tests.rounding import assert_close, num_terms, rounding_bound

WEIGHTS = {"region": torch.ones(8)}


def network(seed: int = 0, dropout: float = 0.0, members: int = 1) -> Network:
    torch.manual_seed(seed)
    heads = {name: {"hidden": 8, "dropout": dropout} for name in ("vad", "region")}
    values: dict[str, Any] = {
        "streams": {"speech": {"kind": "logmel", "num_mels": 16, "dim": 8, "num_blocks": 1, "dropout": 0.0}},
        "pooling": {"kind": "style", "dim": 8, "dropout": 0.0},
        "heads": heads,
        "members": members,
    }
    return Network(from_mapping(NetworkConfig, values, source="test"))


def known(values: Tensor) -> Target:
    return Target(values, torch.ones_like(values, dtype=torch.bool))


def batches(count: int = 2) -> list[Batch]:
    """Clips whose loudest band tells their target."""
    torch.manual_seed(5)
    made = []
    for _ in range(count):
        band = torch.randint(0, 4, (12,))
        values = torch.randn(12, 30, 16) * 0.3
        for row, number in enumerate(band):
            values[row, ::3, 4 * number : 4 * number + 4] += 4
        centred = (band.float() - 1.5) / 1.5
        frames = Frames(values, validity(torch.randint(15, 31, (12,)), 30))
        vad = torch.stack([centred, -centred, centred.abs() - 0.5], dim=1)
        made.append(Batch({"speech": frames}, {"vad": known(vad), "region": Target(band.clamp(max=2), band < 3)}))
    return made


def shares(count: int = 2) -> list[list[Batch]]:
    return [[batch] for batch in batches(count)]


def terms(scope: Scope = "update") -> dict[str, Term]:
    return {"vad": Concordance(scope=scope), "region": CrossEntropy(schedule="falling", scope=scope)}


def config(**settings: Any) -> FitConfig:
    return FitConfig(**({"terms": terms(), "epochs": 20, "learning_rate": 3e-3, "batch_size": 12} | settings))


def cut(batch: Batch, *sizes: int) -> list[Batch]:
    """The same clips in pieces."""
    pieces, start = [], 0
    for size in sizes:
        part = slice(start, start + size)
        features = {name: Frames(*(tensor[part] for tensor in frames)) for name, frames in batch.features.items()}
        pieces.append(Batch(features, {name: target.take(part) for name, target in batch.targets.items()}))
        start += size
    assert start == len(batch.features["speech"].values)
    return pieces


def gradients(fit: Fit) -> dict[str, Tensor]:
    return {name: tensor.grad.clone() for name, tensor in fit.network.named_parameters() if tensor.grad is not None}


def in_float64(batch: Batch) -> Batch:
    targets = {
        name: Target(values.double() if values.is_floating_point() else values, is_known)
        for name, (values, is_known) in batch.targets.items()
    }
    features = {name: Frames(values.double(), is_valid) for name, (values, is_valid) in batch.features.items()}
    return Batch(features, targets)


def assert_same(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    """But for rounding: there and back through the network, over the frames that a clip and that a batch has."""
    assert one.keys() == two.keys()
    bound = rounding_bound(torch.float64, 2 * num_terms(network(), 30) + 12 * 30)
    assert_close(*(torch.cat([tensors[name].flatten() for name in one]) for tensors in (one, two)), bound)


def textbook_gradients(batch: Batch, *, vad_only: bool = False) -> dict[str, Tensor]:
    """One pass, plain autograd, Lin's formula as it is printed but for the constant that keeps it finite."""
    twin = network().double().train()
    answers = twin(batch.features)
    loss = torch.zeros((), dtype=torch.float64)
    for dim in range(3):
        rows = batch.targets["vad"].is_known[:, dim]
        if not rows.any():
            continue
        x, y = answers["vad"][rows, dim], batch.targets["vad"].values[rows, dim]
        covariance = ((x - x.mean()) * (y - y.mean())).mean()
        spread = x.var(correction=0) + y.var(correction=0) + (x.mean() - y.mean()) ** 2 + EPSILON
        loss = loss + 1 - 2 * covariance / spread
    if not vad_only:
        labels, is_known = batch.targets["region"]
        loss = loss + torch.nn.functional.cross_entropy(answers["region"][is_known], labels[is_known])
    loss.backward()
    return {name: tensor.grad for name, tensor in twin.named_parameters() if tensor.grad is not None}


class Pretended:
    """Another worker whose rows never change: this one sees all rows and learns from its own."""

    count = 2

    def __init__(self, answers: dict[str, Tensor], targets: dict[str, Target]) -> None:
        self.others = (answers, *({name: target[part] for name, target in targets.items()} for part in range(2)))

    def gather(self, own: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
        return [
            {name: torch.cat([tensor, others[name].to(tensor)]) for name, tensor in mine.items()}
            for mine, others in zip(own, self.others, strict=True)
        ]

    def mean(self, value: Tensor) -> Tensor:
        return value


def gradients_over_two_ranks(pieces: Sequence[Batch]) -> dict[str, Tensor]:
    """Of two ranks that have a piece each: averaged, as DistributedDataParallel does."""
    of_ranks = []
    for mine, other in (pieces, pieces[::-1]):
        net = network().double()
        with torch.no_grad():
            answers = net.train()(other.features)
        fit = Fit(net, config(), WEIGHTS, steps_per_epoch=2, ranks=Pretended(answers, other.targets))
        fit.step([[mine]], epoch=0)
        of_ranks.append(gradients(fit))
    return {name: (of_ranks[0][name] + of_ranks[1][name]) / 2 for name in of_ranks[0]}
