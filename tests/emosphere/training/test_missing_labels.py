"""Labels that are missing are masks: over pieces and ranks alike, and where a batch has none at all."""

import pytest
import torch

from emosphere.clips.batches import Batch
from emosphere.tasks import Target
from emosphere.training import Fit
from emosphere.training.balance import UncertaintyConfig
from emosphere.training.terms import Scope
from tests.emosphere.training.small_fits import (
    WEIGHTS,
    assert_same,
    batches,
    config,
    cut,
    gradients,
    gradients_over_two_ranks,
    in_float64,
    network,
    shares,
    terms,
    textbook_gradients,
)


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
    assert_same(gradients_over_two_ranks(cut(batch, 4, 8)), textbook_gradients(batch))


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
