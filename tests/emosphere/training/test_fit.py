"""An update is the same however its clips are cut into pieces and shared among workers; a fit goes on where it stopped.

The textbook twin: one pass over all clips, one CCC over them in plain autograd.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from emosphere.clips.batches import Batch
from emosphere.config import from_mapping
from emosphere.errors import UsageError
from emosphere.losses.ccc import EPSILON, ccc, ccc_loss
from emosphere.model.architecture import NetworkConfig
from emosphere.model.frames import Frames, validity
from emosphere.model.network import Network
from emosphere.tasks import Target
from emosphere.training import Fit, FitConfig
from emosphere.training.balance import Sum, UncertaintyConfig
from emosphere.training.optimiser import build_optimiser, rate_at
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


def test_two_batches_are_learnt() -> None:
    fit = Fit(network(), config(), WEIGHTS, steps_per_epoch=2)
    losses = [sum(fit.epoch(shares(), epoch).values()) for epoch in range(20)]
    assert fit.epoch(shares(), 19)["vad"] < 0.4 * losses[0]


def test_a_run_in_two_parts_ends_where_an_undisturbed_one_does() -> None:
    settings = config(epochs=4, schedule="cosine", ema_decay=0.9, clip_norm=1.0)
    whole = Fit(network(), settings, WEIGHTS, steps_per_epoch=2)
    for epoch in range(4):
        whole.epoch(shares(), epoch)
    first = Fit(network(), settings, WEIGHTS, steps_per_epoch=2)
    for epoch in range(2):
        first.epoch(shares(), epoch)
    second = Fit(network(), settings, WEIGHTS, steps_per_epoch=2)
    second.restore(first.state())
    for epoch in range(2, 4):
        second.epoch(shares(), epoch)
    for one, two in zip(whole.result().parameters(), second.result().parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


@pytest.mark.parametrize("members", [1, 2])
def test_after_the_fall_the_region_term_leaves_the_shared_parts_alone(members: int) -> None:
    """With the VAD term silenced, only the region heads may still move."""
    fit = Fit(network(members=members), config(weight_decay=0.0), WEIGHTS, steps_per_epoch=1)
    before = {name: tensor.clone() for name, tensor in fit.network.named_parameters()}
    batch = batches(1)[0]
    flat = Batch(batch.features, batch.targets | {"vad": known(torch.zeros(12, 3))})
    with torch.no_grad():
        for member in fit.network.members:
            *_, weight, bias = member.heads["vad"].parameters()
            weight.zero_()
            bias.zero_()
    fit.step([[flat]], epoch=10)
    moved = {name for name, tensor in fit.network.named_parameters() if not torch.equal(tensor, before[name])}
    for number in range(members):
        prefix = f"others.{number - 1}." if number else ""
        assert any(name.startswith(prefix + "heads.region") for name in moved)
        assert not any(name.startswith((prefix + "streams", prefix + "poolings")) for name in moved)


def test_the_running_mean_lags_behind_the_weights() -> None:
    fit = Fit(network(), config(ema_decay=0.9), WEIGHTS, steps_per_epoch=2)
    for epoch in range(3):
        fit.epoch(shares(), epoch)
    assert fit.result() is not fit.network
    distance = sum(
        float((mean - now).detach().abs().sum())
        for mean, now in zip(fit.result().parameters(), fit.network.parameters(), strict=True)
    )
    assert distance > 0


@pytest.mark.parametrize("scope", ["update", "piece"])
def test_a_learnt_weight_does_not_move_while_nobody_labels_its_term(scope: Scope) -> None:
    settings = config(balance=UncertaintyConfig(), terms=terms(scope))
    fit = Fit(network(), settings, WEIGHTS, steps_per_epoch=1)
    [[batch]] = shares(1)
    values = batch.targets["region"].values
    without = Batch(batch.features, batch.targets | {"region": Target(values, torch.zeros_like(values).bool())})
    fit.step([[without]], epoch=0)
    state = fit.state()["balance"]
    assert state["log_variances.vad"] != 0
    assert state["log_variances.region"] == 0


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size=1 at least 2"):
        config(batch_size=1)


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


def test_pieces_of_any_size_have_the_gradients_of_one_batch() -> None:
    batch = in_float64(*batches(1))
    expected = textbook_gradients(batch)
    for sizes in ((12,), (5, 7), (1, 4, 4, 3)):
        fit = Fit(network().double(), config(), WEIGHTS, steps_per_epoch=2)
        fit.step([cut(batch, *sizes)], epoch=0)
        assert_same(gradients(fit), expected)


def test_accumulated_batches_are_one_concordance_or_one_each() -> None:
    batch = in_float64(*batches(1))
    halves = cut(batch, 6, 6)
    together = Fit(network().double(), config(accumulate=2), WEIGHTS, steps_per_epoch=2)
    together.step([[half] for half in halves], epoch=0)
    assert_same(gradients(together), textbook_gradients(batch))

    apart = Fit(network().double(), config(accumulate=2, terms=terms("batch")), WEIGHTS, steps_per_epoch=2)
    apart.step([[half] for half in halves], epoch=0)
    each = [textbook_gradients(half) for half in halves]
    assert_same(gradients(apart), {name: (each[0][name] + each[1][name]) / 2 for name in each[0]})
    assert not torch.allclose(*(gradients(fit)["poolings.speech.out.weight"] for fit in (apart, together)))


def test_micro_batches_each_have_their_own_concordance() -> None:
    """As in the authors' code; it is another loss than one over the batch."""
    batch = in_float64(*batches(1))
    pieces = cut(batch, 4, 8)
    fit = Fit(network().double(), config(terms=terms("piece"), micro_batch_size=8), WEIGHTS, steps_per_epoch=2)
    fit.step([pieces], epoch=0)
    each = [textbook_gradients(piece) for piece in pieces]
    assert_same(gradients(fit), {name: (each[0][name] + each[1][name]) / 2 for name in each[0]})


def test_the_second_pass_draws_what_the_first_drew() -> None:
    """With dropout on, answers whose loss was taken must be those whose gradient is handed down."""
    drawn_answers: list[Tensor] = []
    net = network()
    net.poolings["speech"].attention.dropout.p = 0.5  # type: ignore[union-attr]
    net.heads["vad"].register_forward_hook(lambda *call: drawn_answers.append(call[2].detach().clone()))
    (batch,) = batches(1)
    Fit(net, config(), WEIGHTS, steps_per_epoch=2).step([cut(batch, 5, 7)], epoch=0)
    assert len(drawn_answers) == 4
    for first, second in zip(drawn_answers[:2], drawn_answers[2:], strict=True):
        assert torch.equal(first, second)
    torch.manual_seed(1)
    assert not torch.equal(net(batch.features)["vad"][:5], drawn_answers[0])


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


def test_two_ranks_with_unequal_shares_have_the_gradients_of_one() -> None:
    """Each worker's gradient, averaged as DistributedDataParallel does, is that of one concordance over all clips."""
    batch = in_float64(*batches(1))
    pieces = cut(batch, 4, 8)
    of_ranks = []
    for mine, other in (pieces, pieces[::-1]):
        net = network().double()
        with torch.no_grad():
            answers = net.train()(other.features)
        fit = Fit(net, config(), WEIGHTS, steps_per_epoch=2, ranks=Pretended(answers, other.targets))
        fit.step([[mine]], epoch=0)
        of_ranks.append(gradients(fit))
    assert_same({name: (of_ranks[0][name] + of_ranks[1][name]) / 2 for name in of_ranks[0]}, textbook_gradients(batch))


def test_every_member_is_held_to_the_targets() -> None:
    """The twin: plain autograd over what each member answers alone, not over their mean."""
    batch = in_float64(*batches(1))
    twin = network(members=3).double().train()
    alone = [member.poolings["speech"](member.streams["speech"](batch.features["speech"])) for member in twin.members]
    vad, region = (
        torch.cat([member.heads[name](vector) for member, vector in zip(twin.members, alone, strict=True)])
        for name in ("vad", "region")
    )
    loss = ccc_loss(vad, batch.targets["vad"].values.repeat(3, 1))
    labels, is_known = (part.repeat(3) for part in batch.targets["region"])
    (loss + torch.nn.functional.cross_entropy(region[is_known], labels[is_known])).backward()
    expected = {name: tensor.grad for name, tensor in twin.named_parameters() if tensor.grad is not None}
    assert {name.split(".")[1] for name in expected if name.startswith("others.")} == {"0", "1"}
    for sizes in ((12,), (5, 7)):
        fit = Fit(network(members=3).double(), config(), WEIGHTS, steps_per_epoch=2)
        fit.step([cut(batch, *sizes)], epoch=0)
        assert_same(gradients(fit), expected)


def test_the_gradient_of_concordance_is_the_closed_form() -> None:
    """dCCC/dx_i = 2 / (N D) [(y_i - m_y) - CCC (x_i - m_y)], D the denominator (design notes 4.4a)."""
    torch.manual_seed(0)
    x, y = torch.randn(9, 1, dtype=torch.float64, requires_grad=True), torch.randn(9, 1, dtype=torch.float64)
    value = ccc(x, y)
    value.sum().backward()
    with torch.no_grad():
        spread = x.var(correction=0) + y.var(correction=0) + (x.mean() - y.mean()) ** 2 + EPSILON
        expected = 2 / (9 * spread) * ((y - y.mean()) - value * (x - y.mean()))
    assert x.grad is not None
    torch.testing.assert_close(x.grad, expected, rtol=1e-12, atol=1e-15)


def test_concordance_keeps_its_digits_far_from_zero() -> None:
    """float32 answers around .5 with a deviation of .001: raw moments in float32 would be off by percents."""
    torch.manual_seed(0)
    target = torch.randn(500, 3) * 1e-3 + 0.5
    answers = target + torch.randn(500, 3) * 5e-4
    exact = 3 - ccc(answers.double(), target.double(), epsilon=EPSILON).sum()
    assert float(ccc_loss(answers, target)) == pytest.approx(float(exact), rel=1e-12)


def test_a_loss_that_is_no_number_stops_the_fit() -> None:
    (batch,) = batches(1)
    broken = Batch(batch.features, batch.targets | {"vad": known(torch.full((12, 3), torch.nan))})
    with pytest.raises(UsageError, match="the loss became"):
        Fit(network(), config(), WEIGHTS, steps_per_epoch=1).step([[broken]], epoch=0)


def test_learnt_weights_fall_for_the_larger_term() -> None:
    learnt = {"vad": Concordance(), "region": CrossEntropy()}
    settings = config(terms=learnt, balance=UncertaintyConfig(), learning_rate=0.05, schedule="constant")
    fit = Fit(network(), settings, WEIGHTS, steps_per_epoch=2)
    for epoch in range(3):
        fit.epoch(shares(), epoch)
    weights = fit.state()["balance"]
    assert weights["log_variances.vad"] > 0.05  # a term of about 2.5 lowers its weight below 1
    again = Fit(network(), settings, WEIGHTS, steps_per_epoch=2)
    again.restore(fit.state())
    torch.testing.assert_close(again.state()["balance"], weights)


@pytest.mark.parametrize("part", ["streams", "speech"])
@pytest.mark.parametrize("members", [1, 3])
def test_parts_have_their_own_rates(members: int, part: str) -> None:
    """And all that learns is in one group of the optimiser."""
    net = network(members=members)
    optimiser = build_optimiser(net, Sum(), config(learning_rates={part: 1e-5}))
    rate_of = {id(tensor): group["lr"] for group in optimiser.param_groups for tensor in group["params"]}
    assert len(rate_of) == sum(1 for _ in net.parameters())
    for member in net.members:
        assert {rate_of[id(tensor)] for tensor in member.streams.parameters()} == {1e-5}
        assert {rate_of[id(tensor)] for tensor in member.heads.parameters()} == {3e-3}


def test_fusion_learns_with_the_poolings_and_a_balance_with_the_heads_without_decay() -> None:
    stream = {"kind": "logmel", "num_mels": 16, "dim": 8, "num_blocks": 1}
    values = {
        "streams": {"a": stream, "b": stream},
        "pooling": {"kind": "statistics"},
        "fusion": {"kind": "co-attention", "dim": 8},
        "heads": {"vad": {"hidden": 8}},
        "members": 2,
    }
    net = Network(from_mapping(NetworkConfig, values, source="test"))
    balance = UncertaintyConfig().build(["vad"])
    rates = {"pooling": 1e-4, "heads": 1e-2}
    optimiser = build_optimiser(net, balance, config(learning_rates=rates, weight_decay=0.5))
    group_of = {id(tensor): group for group in optimiser.param_groups for tensor in group["params"]}
    assert len(group_of) == sum(1 for _ in net.parameters()) + 1
    for member in net.members:
        assert {group_of[id(tensor)]["lr"] for tensor in member.fusion.parameters()} == {1e-4}
        for tensor in member.parameters():
            assert group_of[id(tensor)]["weight_decay"] == (0.5 if tensor.dim() > 1 else 0.0)
    [log_variance] = balance.parameters()
    assert (group_of[id(log_variance)]["lr"], group_of[id(log_variance)]["weight_decay"]) == (1e-2, 0.0)


def test_a_concordance_of_pieces_needs_pieces_of_two() -> None:
    assert config(micro_batch_size=1).micro_batch_size == 1
    with pytest.raises(ValueError, match="micro_batch_size=1 is too small: concordance needs two clips"):
        config(micro_batch_size=1, terms=terms("piece"))


def test_rates_warm_up_and_fall() -> None:
    cosine = config(schedule="cosine", warm_up=0.1)
    assert [rate_at(step, 100, cosine) for step in (0, 9, 10, 55, 100)] == pytest.approx([0.1, 1, 1, 0.5, 0], abs=1e-12)
    line = config(schedule="linear", warm_up=0.0)
    assert [rate_at(step, 100, line) for step in (0, 25, 100)] == [1, 0.75, 0]
    assert rate_at(0, 100, config()) == rate_at(99, 100, config()) == 1
    assert rate_at(0, 100, config(warm_up=0.5)) == pytest.approx(0.02)


def test_bfloat16_learns_too() -> None:
    net, types = network(), set()
    net.heads["vad"].register_forward_hook(lambda *call: types.add(call[2].dtype))
    fit = Fit(net, config(precision="bfloat16"), WEIGHTS, steps_per_epoch=2)
    losses = [sum(fit.epoch(shares(), epoch).values()) for epoch in range(15)]
    assert losses[-1] < 0.7 * losses[0]
    assert types == {torch.bfloat16}
    assert all(tensor.dtype == torch.float32 for tensor in fit.network.parameters())


def half_labelled(batch: Batch) -> Batch:
    """The first third has categories alone, the second valence and arousal alone, the rest everything."""
    is_rated = torch.ones(12, 3, dtype=torch.bool)
    is_rated[:4] = False
    is_rated[4:8, 2] = False
    region = batch.targets["region"]
    located = region.is_known & is_rated.all(dim=1)
    return Batch(
        batch.features,
        {"vad": Target(batch.targets["vad"].values, is_rated), "region": Target(region.values, located)},
    )


def test_labels_that_are_missing_are_masks_in_pieces_of_any_size() -> None:
    """Pieces in which a dimension, or everything, is unrated included."""
    batch = half_labelled(in_float64(*batches(1)))
    expected = textbook_gradients(batch)
    for sizes in ((12,), (4, 8), (1, 3, 4, 4)):
        fit = Fit(network().double(), config(), WEIGHTS, steps_per_epoch=2)
        fit.step([cut(batch, *sizes)], epoch=0)
        assert_same(gradients(fit), expected)


def test_two_ranks_whose_masks_differ_have_the_gradients_of_one() -> None:
    batch = half_labelled(in_float64(*batches(1)))
    pieces = cut(batch, 4, 8)
    of_ranks = []
    for mine, other in (pieces, pieces[::-1]):
        net = network().double()
        with torch.no_grad():
            answers = net.train()(other.features)
        fit = Fit(net, config(), WEIGHTS, steps_per_epoch=2, ranks=Pretended(answers, other.targets))
        fit.step([[mine]], epoch=0)
        of_ranks.append(gradients(fit))
    assert_same({name: (of_ranks[0][name] + of_ranks[1][name]) / 2 for name in of_ranks[0]}, textbook_gradients(batch))


@pytest.mark.parametrize("scope", ["piece", "batch", "update"])
def test_a_batch_without_any_label_moves_nothing_and_is_no_nan(scope: Scope) -> None:
    batch = batches(1)[0]
    unlabelled = Batch(
        batch.features,
        {name: Target(values, torch.zeros_like(is_known)) for name, (values, is_known) in batch.targets.items()},
    )
    fit = Fit(network(), config(terms=terms(scope), weight_decay=0.0), WEIGHTS, steps_per_epoch=1)
    before = {name: tensor.clone() for name, tensor in fit.network.named_parameters()}
    assert fit.step([cut(unlabelled, 5, 7)], epoch=0) == {"vad": 0, "region": 0}
    assert all(torch.equal(tensor, before[name]) for name, tensor in fit.network.named_parameters())


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


def test_what_needs_no_second_pass_has_none() -> None:
    """Batches that go through at once, each with its own concordance."""
    net, calls = network(), []
    net.heads["vad"].register_forward_hook(lambda *call: calls.append(call))
    Fit(net, config(terms=terms("batch")), WEIGHTS, steps_per_epoch=1).step(shares(2), epoch=0)
    assert len(calls) == 2
    Fit(net, config(), WEIGHTS, steps_per_epoch=1).step(shares(2), epoch=0)
    assert len(calls) == 2 + 4


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
