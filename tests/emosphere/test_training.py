"""A network fits a handful of batches, goes on from a saved state, and keeps the phases of the loss."""

from typing import Any

import pytest
import torch

from emosphere.config import from_mapping
from emosphere.data.collate import Batch
from emosphere.model.frames import Frames, validity
from emosphere.model.network import Network, NetworkConfig
from emosphere.training import Fit, FitConfig

WEIGHTS = {"region": torch.ones(8)}


def network() -> Network:
    torch.manual_seed(0)
    heads = {name: {"outputs": outputs, "hidden": 8, "dropout": 0.0} for name, outputs in (("vad", 3), ("region", 8))}
    values: dict[str, Any] = {
        "encoder": {"kind": "logmel", "num_mels": 16, "channels": [4, 6], "dim": 8, "num_blocks": 1, "dropout": 0.0},
        "pooling": {"kind": "style", "dim": 8, "dropout": 0.0},
        "heads": heads,
    }
    return Network(from_mapping(NetworkConfig, values, source="test"))


def batches(count: int = 2) -> list[Batch]:
    """Clips whose loudest band tells their target."""
    torch.manual_seed(5)
    found = []
    for _ in range(count):
        band = torch.randint(0, 4, (12,))
        values = torch.randn(12, 30, 16) * 0.3
        for row, number in enumerate(band):
            values[row, ::3, 4 * number : 4 * number + 4] += 4
        centred = (band.float() - 1.5) / 1.5
        frames = Frames(values, validity(torch.randint(15, 31, (12,)), 30))
        vad = torch.stack([centred, -centred, centred.abs() - 0.5], dim=1)
        found.append(Batch(frames, {"vad": vad, "region": torch.where(band == 3, -1, band)}))
    return found


def config(**settings: Any) -> FitConfig:
    return FitConfig(**({"epochs": 20, "learning_rate": 3e-3, "batch_size": 12} | settings))


def test_eight_rounds_over_two_batches_are_learnt() -> None:
    fit = Fit(network(), config(), WEIGHTS, steps_per_epoch=2)
    losses = [sum(fit.epoch(batches(), epoch).values()) for epoch in range(20)]
    assert fit.epoch(batches(), 19)["vad"] < 0.4 * losses[0]


def test_a_run_in_two_parts_ends_where_an_undisturbed_one_does() -> None:
    settings = config(epochs=4, schedule="cosine", ema_decay=0.9, clip_norm=1.0)
    whole = Fit(network(), settings, WEIGHTS, steps_per_epoch=2)
    for epoch in range(4):
        whole.epoch(batches(), epoch)
    first = Fit(network(), settings, WEIGHTS, steps_per_epoch=2)
    for epoch in range(2):
        first.epoch(batches(), epoch)
    second = Fit(network(), settings, WEIGHTS, steps_per_epoch=2)
    second.restore(first.state())
    for epoch in range(2, 4):
        second.epoch(batches(), epoch)
    for one, two in zip(whole.result().parameters(), second.result().parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_after_the_fall_the_region_term_leaves_the_shared_parts_alone() -> None:
    """With the VAD term silenced, only the region head may still move."""
    fit = Fit(network(), config(weight_decay=0.0), WEIGHTS, steps_per_epoch=1)
    before = {name: tensor.clone() for name, tensor in fit.network.named_parameters()}
    batch = batches(1)[0]
    flat = Batch(batch.heard, batch.targets | {"vad": torch.zeros(12, 3)})
    with torch.no_grad():
        fit.network.heads["vad"].layers[-1].weight.zero_()  # type: ignore[union-attr,operator,index]
        fit.network.heads["vad"].layers[-1].bias.zero_()  # type: ignore[union-attr,operator,index]
    fit.step(flat, epoch=10)
    moved = {name for name, tensor in fit.network.named_parameters() if not torch.equal(tensor, before[name])}
    assert any(name.startswith("heads.region") for name in moved)
    assert not any(name.startswith(("encoder", "pooling")) for name in moved)


def test_the_running_mean_lags_behind_the_weights() -> None:
    fit = Fit(network(), config(ema_decay=0.9), WEIGHTS, steps_per_epoch=2)
    for epoch in range(3):
        fit.epoch(batches(), epoch)
    assert fit.result() is not fit.network
    distance = sum(
        float((mean - now).detach().abs().sum())
        for mean, now in zip(fit.result().parameters(), fit.network.parameters(), strict=True)
    )
    assert distance > 0


def test_gathering_nothing_changes_nothing() -> None:
    plain = Fit(network(), config(), WEIGHTS, steps_per_epoch=2)
    gathered = Fit(network(), config(), WEIGHTS, steps_per_epoch=2, gather=lambda answers, targets: (answers, targets))
    assert plain.epoch(batches(), 0) == gathered.epoch(batches(), 0)


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size=1 at least 2"):
        FitConfig(batch_size=1)
