"""Each term is taken over its own clips: a piece, a batch, an update; on whatever head, by whatever name."""

import pytest
import torch
from torch import Tensor

from emosphere.losses.ccc import EPSILON, ccc
from emosphere.training import Fit
from emosphere.training.balance import UncertaintyConfig
from emosphere.training.terms import Concordance, CrossEntropy, Scope, Term
from tests.emosphere.training.small_fits import (
    WEIGHTS,
    Pretended,
    assert_same,
    batches,
    config,
    cut,
    gradients,
    in_float64,
    network,
    terms,
    textbook_gradients,
)


def test_terms_of_two_scopes_add_up() -> None:
    """One concordance over all, cross entropy piece by piece."""
    batch = in_float64(*batches(1))
    pieces = cut(batch, 4, 8)
    mixed: dict[str, Term] = {"vad": Concordance(), "region": CrossEntropy(scope="piece")}
    fit = Fit(network().double(), config(terms=mixed), WEIGHTS, steps_per_epoch=2)
    fit.step([pieces], epoch=0)
    vad = textbook_gradients(batch, vad_only=True)
    apart = [(textbook_gradients(piece), textbook_gradients(piece, vad_only=True)) for piece in pieces]
    nothing = {name: torch.zeros_like(gradient) for name, gradient in apart[0][0].items()}
    expected = {
        name: (nothing | vad)[name] + sum((both[name] - (nothing | alone)[name] for both, alone in apart)) / 2
        for name in nothing
    }
    assert_same(gradients(fit), expected)


def test_two_terms_on_one_head_add_up() -> None:
    (batch,) = batches(1)
    once = Fit(network(), config(terms={"vad": Concordance(weight=3.0), "region": CrossEntropy(weight=0.0)}), WEIGHTS,
               steps_per_epoch=1)  # fmt: skip
    twice = Fit(network(), config(terms={"vad": Concordance(), "again": Concordance(head="vad", weight=2.0)}), WEIGHTS,
                steps_per_epoch=1)  # fmt: skip
    once.step([[batch]], epoch=0)
    twice.step([[batch]], epoch=0)
    for name, gradient in gradients(once).items():
        torch.testing.assert_close(gradients(twice)[name], gradient, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("scope", ["piece", "batch"])
def test_two_terms_of_one_head_may_have_two_scopes(scope: Scope) -> None:
    """Half the concordance over all, half that of each piece or batch."""
    batch = in_float64(*batches(1))
    parts = cut(batch, 4, 8)
    shares = [parts] if scope == "piece" else [cut(parts[0], 4), cut(parts[1], 3, 5)]
    halves: dict[str, Term] = {"vad": Concordance(weight=0.5), "own": Concordance(head="vad", weight=0.5, scope=scope)}
    fit = Fit(network().double(), config(terms=halves), WEIGHTS, steps_per_epoch=2)
    fit.step(shares, epoch=0)
    whole, first, second = (textbook_gradients(part, vad_only=True) for part in (batch, *parts))
    assert_same(gradients(fit), {name: whole[name] / 2 + (first[name] + second[name]) / 4 for name in whole})


def test_a_term_over_a_piece_stays_with_its_rank() -> None:
    """Averaged as DistributedDataParallel does, the gradients are those of the mean of both ranks' own losses."""
    pieces = cut(in_float64(*batches(1)), 4, 8)
    of_ranks = []
    for mine, other in (pieces, pieces[::-1]):
        net = network().double()
        with torch.no_grad():
            answers = net.train()(other.features)
        fit = Fit(
            net, config(terms=terms("piece")), WEIGHTS, steps_per_epoch=2, ranks=Pretended(answers, other.targets)
        )
        fit.step([[mine]], epoch=0)
        of_ranks.append(gradients(fit))
    for rank, piece in enumerate(pieces):
        assert_same(of_ranks[rank], textbook_gradients(piece))


def test_what_a_balance_learns_is_the_mean_over_the_ranks() -> None:
    """Its weights are not the network's, so DistributedDataParallel does not see to them."""

    class Opposed(Pretended):
        def mean(self, value: Tensor) -> Tensor:
            return (value - 3 * value) / 2

    (batch,) = batches(1)
    settings = config(terms={"vad": Concordance(scope="piece")}, balance=UncertaintyConfig(), learning_rate=0.05)
    moved = []
    for ranks in (None, Opposed({}, {})):
        fit = Fit(network(), settings, WEIGHTS, steps_per_epoch=1, ranks=ranks)
        fit.step([[batch]], epoch=0)
        moved.append(float(fit.state()["balance"]["log_variances.vad"]))
    assert moved == pytest.approx([0.05, -0.05], rel=1e-3)  # Adam's first step is one rate long


def test_a_term_of_another_name_has_the_class_weights_of_its_head() -> None:
    batch = in_float64(*batches(1))
    weights = torch.tensor([0.5, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    twin = network().double().train()
    labels, is_known = batch.targets["region"]
    answers = twin(batch.features)["region"][is_known]
    torch.nn.functional.cross_entropy(answers, labels[is_known], weights.double()).backward()
    expected = {name: tensor.grad for name, tensor in twin.named_parameters() if tensor.grad is not None}
    named: dict[str, Term] = {"where": CrossEntropy(head="region")}
    fit = Fit(network().double(), config(terms=named), {"region": weights}, steps_per_epoch=1)
    fit.step([cut(batch, 5, 7)], epoch=0)
    assert_same(gradients(fit), expected)


@pytest.mark.parametrize("scope", ["piece", "batch", "update"])
def test_a_logged_term_is_the_mean_over_the_parts_of_an_update(scope: Scope) -> None:
    batch = in_float64(*batches(1))
    first, *rest = cut(batch, 3, 4, 5)
    parts = {"piece": [first, *rest], "batch": [first, cut(batch, 3, 9)[1]], "update": [batch]}[scope]
    losses = []
    for part in parts:
        answers = network().double().train()(part.features)["vad"]
        losses.append(3 - float(ccc(answers, part.targets["vad"].values, epsilon=EPSILON).sum().detach()))
    fit = Fit(network().double(), config(terms={"vad": Concordance(scope=scope)}), WEIGHTS, steps_per_epoch=1)
    assert fit.step([[first], rest], epoch=0) == pytest.approx({"vad": sum(losses) / len(losses)})


@pytest.mark.parametrize("sizes", [(12,), (4, 8), (3, 4, 5)])
def test_a_balance_learns_from_the_mean_over_the_parts(sizes: tuple[int, ...]) -> None:
    """Kendall's ``exp(-s) term + s`` at s = 0 has the slope ``1 - term``, into however many pieces a batch is cut."""
    pieces = cut(in_float64(*batches(1)), *sizes)
    settings = config(terms={"vad": Concordance(scope="piece")}, balance=UncertaintyConfig())
    fit = Fit(network().double(), settings, WEIGHTS, steps_per_epoch=1)
    logged = fit.step([pieces], epoch=0)
    [log_variance] = fit._balance.parameters()
    assert log_variance.grad is not None
    assert float(log_variance.grad) == pytest.approx(1 - logged["vad"], abs=1e-6)
