"""An update is the same however its clips are cut into pieces and shared among workers; a fit can be resumed."""

import pytest
import torch
from torch import Tensor

from emosphere.clips.batches import Batch
from emosphere.errors import UsageError
from emosphere.losses.ccc import EPSILON, ccc, ccc_loss
from emosphere.training import Fit
from emosphere.training.balance import UncertaintyConfig
from emosphere.training.terms import Concordance, CrossEntropy
from tests.emosphere.training.small_fits import (
    WEIGHTS,
    assert_same,
    batches,
    config,
    cut,
    gradients,
    gradients_over_two_ranks,
    in_float64,
    known,
    network,
    shares,
    terms,
    textbook_gradients,
)


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


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size=1 at least 2"):
        config(batch_size=1)


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


def test_two_ranks_with_unequal_shares_have_the_gradients_of_one() -> None:
    """That of one concordance over all clips."""
    batch = in_float64(*batches(1))
    assert_same(gradients_over_two_ranks(cut(batch, 4, 8)), textbook_gradients(batch))


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


def test_a_concordance_of_pieces_needs_pieces_of_two() -> None:
    assert config(micro_batch_size=1).micro_batch_size == 1
    with pytest.raises(ValueError, match="micro_batch_size=1 is too small: concordance needs two clips"):
        config(micro_batch_size=1, terms=terms("piece"))


def test_bfloat16_learns_too() -> None:
    net, types = network(), set()
    net.heads["vad"].register_forward_hook(lambda *call: types.add(call[2].dtype))
    fit = Fit(net, config(precision="bfloat16"), WEIGHTS, steps_per_epoch=2)
    losses = [sum(fit.epoch(shares(), epoch).values()) for epoch in range(15)]
    assert losses[-1] < 0.7 * losses[0]
    assert types == {torch.bfloat16}
    assert all(tensor.dtype == torch.float32 for tensor in fit.network.parameters())


def test_what_needs_no_second_pass_has_none() -> None:
    """Batches that go through at once, each with its own concordance."""
    net, calls = network(), []
    net.heads["vad"].register_forward_hook(lambda *call: calls.append(call))
    Fit(net, config(terms=terms("batch")), WEIGHTS, steps_per_epoch=1).step(shares(2), epoch=0)
    assert len(calls) == 2
    Fit(net, config(), WEIGHTS, steps_per_epoch=1).step(shares(2), epoch=0)
    assert len(calls) == 2 + 4
