"""Which rate what learns has, and how rates rise and fall."""

import pytest

from emosphere.config import from_mapping
from emosphere.model.architecture import NetworkConfig
from emosphere.model.network import Network
from emosphere.training.balance import Sum, UncertaintyConfig
from emosphere.training.optimiser import build_optimiser, rate_at
from tests.emosphere.training.small_fits import config, network


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


def test_rates_warm_up_and_fall() -> None:
    cosine = config(schedule="cosine", warm_up=0.1)
    assert [rate_at(step, 100, cosine) for step in (0, 9, 10, 55, 100)] == pytest.approx([0.1, 1, 1, 0.5, 0], abs=1e-12)
    line = config(schedule="linear", warm_up=0.0)
    assert [rate_at(step, 100, line) for step in (0, 25, 100)] == [1, 0.75, 0]
    assert rate_at(0, 100, config()) == rate_at(99, 100, config()) == 1
    assert rate_at(0, 100, config(warm_up=0.5)) == pytest.approx(0.02)
