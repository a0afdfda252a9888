"""Which clips go through the network together: padding against the price of one more batch."""

from collections.abc import Sequence

import numpy as np

BATCH_COST = 1 / 40
"""What a batch costs besides its samples, as a share of a full one. Measured on 2 cores with batches of up to 40 s: as
much as 0.6 s of audio with WavLM-Base, 4.5 s with the bundled model."""


def cut_batches(lengths: Sequence[int], most_samples: int) -> list[list[int]]:
    """Row numbers by batch, longest clips first: the cheapest cut of the rows sorted by length.

    A batch costs its rows times its longest, plus :data:`BATCH_COST`, and holds at most ``most_samples``, padding
    included, or one row. Where clips are alike that makes full batches, where few are it makes small ones.

    >>> cut_batches([100, 10, 100, 10], most_samples=400)
    [[0, 2], [1, 3]]
    """
    rows = sorted(range(len(lengths)), key=lambda row: lengths[row], reverse=True)
    size = np.maximum([lengths[row] for row in rows], 1)
    fixed = most_samples * BATCH_COST
    # best[i]: cost of the first i rows; begin[i]: where their last batch begins.
    best, begin = np.zeros(len(rows) + 1), np.zeros(len(rows) + 1, np.int64)
    for stop in range(1, len(rows) + 1):
        first = np.arange(max(0, stop - max(1, most_samples // int(size[stop - 1]))), stop)
        samples = (stop - first) * size[first]
        cost = best[first] + samples + fixed
        cost[:-1][samples[:-1] > most_samples] = np.inf
        chosen = int(cost.argmin())
        best[stop], begin[stop] = cost[chosen], first[chosen]
    batches: list[list[int]] = []
    stop = len(rows)
    while stop:
        batches.append(rows[begin[stop] : stop])
        stop = int(begin[stop])
    return batches[::-1]
