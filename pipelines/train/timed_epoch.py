"""One rank's round over the clips: what it learnt, how fast, and how much of it was waiting."""

import resource
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch

from emosphere.clips.batches import Clips
from emosphere.clips.epoch import plan_epoch, training_shares
from emosphere.clips.prefetch import prefetch
from emosphere.training import Fit
from pipelines.train.config import TrainConfig

Item = TypeVar("Item")


def run_epoch(
    fit: Fit, clips: Clips, rows: list[int], config: TrainConfig, *, stage: int, epoch: int, rank: int, num_ranks: int
) -> dict[str, Any]:
    """Fit ``rows`` once, in zero-based ``epoch`` of ``stage``; returns the loss terms and what the round cost."""
    plan = plan_epoch(
        clips, rows, config.spectrum, batch_size=config.fit.batch_size, pool_batches=config.fit.pool_batches,
        seed=config.seed, epoch=epoch,
    )  # fmt: skip
    shares = training_shares(
        clips, plan, config.spectrum, micro_batch_size=config.fit.micro_batch_size, seed=config.seed, epoch=epoch,
        rank=rank, num_ranks=num_ranks,
    )  # fmt: skip
    # Keyed by the epoch, so that a resumed run draws what an undisturbed one would have drawn.
    seed = int(np.random.SeedSequence([config.seed, stage, epoch, rank]).generate_state(1)[0])
    torch.manual_seed(seed)
    np.random.seed(seed)
    timed_shares = TimedIterable(prefetch(shares))
    started = time.monotonic()
    loss = fit.epoch(timed_shares, epoch)
    wall_s = time.monotonic() - started
    return {
        "loss": loss,
        "clips_per_s": round(sum(len(batch.rows) for batch in plan) / wall_s, 1),
        "waiting": round(timed_shares.waited_s / wall_s, 4),
        "wall_s": round(wall_s, 2),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


class TimedIterable(Iterable[Item]):
    """Hands on what another iterable gives, and adds up the time until it comes."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = items
        self.waited_s = 0.0

    def __iter__(self) -> Iterator[Item]:
        items = iter(self._items)
        while True:
            started = time.monotonic()
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                self.waited_s += time.monotonic() - started
            yield item
