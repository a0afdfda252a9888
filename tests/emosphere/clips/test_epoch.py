"""Batches are shared among workers without loss; neither order, worker nor piece changes a clip's fate."""

import numpy as np
import pytest
import torch

from emosphere.clips.batches import InMemoryClips
from emosphere.clips.epoch import num_batches, plan_epoch, training_shares
from emosphere.clips.manifest import Clip
from emosphere.clips.spectrum import SpectrumConfig, augment_bands
from emosphere.tasks import tasks_of

LENGTHS = [30, 81, 5, 60, 45, 12, 33, 90, 71, 22, 50]


def clips() -> InMemoryClips:
    torch.manual_seed(0)
    labelled = tuple(
        Clip(uri=f"{row}.wav", speaker="s", corpus="c", split="train", vad=(0.0, 0.0, 0.0))
        for row in range(len(LENGTHS))
    )
    versions = tuple(tuple({"speech": torch.randn(n, 16).half()} for n in LENGTHS) for _ in range(2))
    return InMemoryClips(labelled, versions, tasks_of({"vad": "vad"}, {}))


def drawn(*, rank: int = 0, num_ranks: int = 1, micro: int | None = None, pool: int = 1) -> list[torch.Tensor]:
    config = SpectrumConfig(crop_frames=(20, 40))
    plan = plan_epoch(clips(), range(11), config, batch_size=5, pool_batches=pool, seed=1, epoch=2)
    shares = training_shares(
        clips(), plan, config, micro_batch_size=micro, seed=1, epoch=2, rank=rank, num_ranks=num_ranks
    )  # fmt: skip
    return [
        piece.features["speech"].values[row][piece.features["speech"].is_valid[row]]
        for share in shares
        for piece in share
        for row in range(len(piece.features["speech"].values))
    ]


def same(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return len(some) == len(others) and all(
        any(one.shape == other.shape and torch.equal(one, other) for other in others) for one in some
    )


def test_two_ranks_together_get_the_features_that_one_gets_alone() -> None:
    alone = drawn()
    assert len(alone) == 11
    assert same(drawn(rank=0, num_ranks=2) + drawn(rank=1, num_ranks=2), alone)


def test_pieces_hold_the_same_clips() -> None:
    assert same(drawn(micro=3), drawn())


def test_pieces_are_nearly_equal_so_that_none_is_left_alone() -> None:
    plan = plan_epoch(clips(), range(11), None, batch_size=11, seed=0, epoch=0)
    (share,) = training_shares(clips(), plan, None, micro_batch_size=5, seed=0, epoch=0)
    assert [len(piece.features["speech"].values) for piece in share] == [4, 4, 3]
    (share,) = training_shares(clips(), plan, None, micro_batch_size=2, seed=0, epoch=0)
    assert [len(piece.features["speech"].values) for piece in share] == [3, 2, 2, 2, 2]


def test_pools_bring_like_lengths_together_and_lose_nobody() -> None:
    plan = plan_epoch(clips(), range(8), None, batch_size=4, pool_batches=2, seed=0, epoch=0)
    groups = [sorted(LENGTHS[row] for row in batch.rows) for batch in plan]
    assert sorted(groups) == [sorted(LENGTHS[:8])[:4], sorted(LENGTHS[:8])[4:]]
    orders = {tuple(plan_epoch(clips(), range(8), None, batch_size=4, pool_batches=2, seed=0, epoch=epoch)[0].rows)
              for epoch in range(8)}  # fmt: skip
    assert len(orders) > 1


def test_every_clip_is_in_an_epoch_once() -> None:
    """And each epoch has its own order."""
    plans = [plan_epoch(clips(), range(11), None, batch_size=4, seed=0, epoch=epoch) for epoch in range(3)]
    rows = [[row for batch in plan for row in batch.rows] for plan in plans]
    assert all(sorted(order) == list(range(11)) for order in rows)
    assert len({tuple(order) for order in rows}) == 3


@pytest.mark.parametrize("pool", [1, 2, 5])
def test_the_number_of_batches_is_known_beforehand(pool: int) -> None:
    """And no small rest is left over."""
    for count in range(2, 12):
        plan = plan_epoch(clips(), range(count), None, batch_size=4, pool_batches=pool, seed=0, epoch=0)
        sizes = [len(batch.rows) for batch in plan]
        assert len(plan) == num_batches(count, 4)
        assert sum(sizes) == count
        assert max(sizes) <= 4
        assert max(sizes) - min(sizes) <= 1


def test_only_the_streams_that_are_named_are_changed() -> None:
    """And the first one is changed as it would be alone."""
    one = clips()
    two = InMemoryClips(one.clips, tuple(tuple(clip | {"other": clip["speech"]} for clip in version)
                                         for version in one.versions), one.tasks)  # fmt: skip
    config = SpectrumConfig(crop_frames=(20, 40))
    plan = plan_epoch(one, range(11), config, batch_size=11, seed=1, epoch=2)
    [[alone]], [[both]] = (list(training_shares(held, plan, config, seed=1, epoch=2)) for held in (one, two))
    assert torch.equal(both.features["speech"].values, alone.features["speech"].values)
    lengths = both.features["other"].is_valid.sum(dim=1).tolist()
    assert sorted(lengths) == sorted(LENGTHS)


def test_a_clip_is_changed_by_the_dice_that_follow_those_of_its_version() -> None:
    held, config = clips(), SpectrumConfig(crop_frames=(20, 40))
    [planned] = plan = plan_epoch(held, range(11), config, batch_size=11, seed=1, epoch=2)
    [[batch]] = training_shares(held, plan, config, seed=1, epoch=2)
    versions = set()
    for place, row in enumerate(planned.rows):
        rng = np.random.default_rng([1, 2, row])
        version = int(rng.integers(2))
        expected = augment_bands(held.versions[version][row]["speech"].float(), planned.longest, config, rng)
        frames = batch.features["speech"]
        assert torch.equal(frames.values[place][frames.is_valid[place]], expected)
        versions.add(version)
    assert versions == {0, 1}


def test_each_clip_of_a_piece_has_its_own_target() -> None:
    labelled = tuple(
        Clip(uri=f"{row}", speaker="s", corpus="c", split="train", vad=(row / 16, 0.0, 0.0)) for row in range(11)
    )
    features = tuple({"speech": torch.full((3, 16), row / 16)} for row in range(11))
    held = InMemoryClips(labelled, (features,), tasks_of({"vad": "vad"}, {}))
    plan = plan_epoch(held, range(11), None, batch_size=6, seed=0, epoch=0)
    seen = []
    for num_ranks in (1, 2):
        for rank in range(num_ranks):
            for share in training_shares(
                held, plan, None, micro_batch_size=2, seed=0, epoch=0, rank=rank, num_ranks=num_ranks
            ):
                assert len(share) > 1 or num_ranks > 1
                for piece in share:
                    values = piece.targets["vad"].values[:, 0].tolist()
                    assert values == piece.features["speech"].values[:, 0, 0].tolist()
                    seen += values
    assert sorted(seen) == sorted(2 * [row / 16 for row in range(11)])
