"""A training by several ranks without Ray: what its workers do, in processes that this one starts."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing

from pipelines.train.config import TrainConfig
from pipelines.train.features import decode_here
from pipelines.train.training_clips import read_clips
from pipelines.train.worker import Worker

NUM_RANKS = 2


class Spawned:
    """A rank's place that keeps no state."""

    num_ranks = NUM_RANKS
    device = torch.device("cpu")

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def saved_state(self) -> None:
        return None

    def report(self, metrics: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        pass


def train_by_spawned_ranks(config: TrainConfig) -> None:
    """Train ``config``, whose paths are absolute, to the end."""
    Path(config.out).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_as_rank, (config, folder), nprocs=NUM_RANKS)


def _as_rank(rank: int, config: TrainConfig, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=NUM_RANKS)
    clips = read_clips(config)
    Worker(config, clips, decode_here(clips, config), Spawned(rank)).run()
    dist.destroy_process_group()
