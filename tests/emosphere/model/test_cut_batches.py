"""Batches: every row once, none too large, and no cut of the sorted rows that costs less."""

import itertools

import numpy as np
import pytest

from emosphere.model.cut_batches import BATCH_COST, cut_batches


def cost(batches: list[list[int]], lengths: list[int], most: int) -> float:
    return sum(len(batch) * max(lengths[row] for row in batch) + BATCH_COST * most for batch in batches)


def slow(lengths: list[int], most: int) -> float:
    """Cost of the best of all cuts of the sorted rows."""
    rows = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    costs = []
    for cuts in itertools.product([False, True], repeat=len(rows) - 1):
        batches = [[rows[0]]]
        for row, is_cut in zip(rows[1:], cuts, strict=True):
            if is_cut:
                batches.append([])
            batches[-1].append(row)
        if all(len(batch) * lengths[batch[0]] <= most or len(batch) == 1 for batch in batches):
            costs.append(cost(batches, lengths, most))
    return min(costs)


@pytest.mark.parametrize("most", [50, 400, 4000])
@pytest.mark.parametrize("seed", range(5))
def test_no_cut_of_the_sorted_rows_costs_less(seed, most):
    lengths = np.random.default_rng(seed).integers(1, 200, 10).tolist()
    batches = cut_batches(lengths, most)
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
    assert [lengths[row] for batch in batches for row in batch] == sorted(lengths, reverse=True)
    assert all(len(batch) * lengths[batch[0]] <= most or len(batch) == 1 for batch in batches)
    assert cost(batches, lengths, most) == pytest.approx(slow(lengths, most))


@pytest.mark.parametrize(
    ("lengths", "most", "wanted"),
    [
        ([], 400, []),
        ([5], 1, [[0]]),  # longer than a batch may be: alone
        ([0, 0], 400, [[0, 1]]),
        ([100] * 5, 400, [[0], [1, 2, 3, 4]]),  # four fill a batch
        ([100, 99, 98], 400, [[0, 1, 2]]),  # padding costs less than another batch
        ([100, 10], 400, [[0], [1]]),  # padding costs more
    ],
)
def test_known_cuts(lengths, most, wanted):
    assert cut_batches(lengths, most) == wanted


def test_segments_of_any_length_lose_little_to_padding():
    """A part of a plan may hold a handful of clips, or thousands."""
    for count in (4, 40, 4000):
        lengths = np.random.default_rng(count).integers(16_000, 192_000, count).tolist()
        batches = cut_batches(lengths, 640_000)
        padded = sum(len(batch) * lengths[batch[0]] for batch in batches)
        assert 1 - sum(lengths) / padded < 0.05
