"""Where a rank runs: a worker of Ray Train, or, alone and small, the command's own process."""

import os
import tempfile
from pathlib import Path
from typing import Any, Protocol

import torch

FOLDER_NAME = "_training"
"""Below the folder of the model, until it is finished: what an interrupted training goes on from."""
RAY_NAME = "fit"
"""What Ray Train keeps in that folder."""
STATE_NAME = "state.pt"

State = dict[str, Any]
"""Tensors and plain containers."""


class Place(Protocol):
    """What a rank asks of where it runs."""

    rank: int
    num_ranks: int
    device: torch.device

    def saved_state(self) -> State | None:
        """The state that the last report of this training left; None where it begins."""

    def report(self, metrics: dict[str, Any], state: State) -> None:
        """Keep ``state`` for a training that has to go on from here. Every rank reports equally often."""


class OwnProcess:
    """The only rank, on the CPU."""

    rank = 0
    num_ranks = 1
    device = torch.device("cpu")

    def __init__(self, out: Path) -> None:
        """``out``: the folder of the model."""
        self._path = own_state(out)

    def saved_state(self) -> State | None:
        return _read(self._path) if self._path.exists() else None

    def report(self, metrics: dict[str, Any], state: State) -> None:
        self._path.parent.mkdir(exist_ok=True)
        unfinished = self._path.with_suffix(".new")
        torch.save(state, unfinished)
        os.replace(unfinished, self._path)


class RayWorker:
    """A worker of Ray Train; only the first has a state to keep."""

    def __init__(self, out: Path) -> None:
        """``out``: the folder of the model."""
        import ray.train
        from ray.train.torch import get_device

        context = ray.train.get_context()
        self.rank, self.num_ranks = context.get_world_rank(), context.get_world_size()
        self.device = get_device()
        self._own_state = own_state(out)

    def saved_state(self) -> State | None:
        import ray.train

        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            # The command may have begun in its own process, before it was asked for more workers.
            return _read(self._own_state) if self._own_state.exists() else None
        with checkpoint.as_directory() as folder:
            return _read(Path(folder) / STATE_NAME)

    def report(self, metrics: dict[str, Any], state: State) -> None:
        import ray.train

        if self.rank:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            torch.save(state, Path(folder) / STATE_NAME)
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def own_state(out: Path) -> Path:
    """File of the state of a training into ``out`` that runs in the command's own process."""
    return out / FOLDER_NAME / STATE_NAME


def _read(path: Path) -> State:
    # weights_only: nothing but tensors and plain containers is unpickled.
    state: State = torch.load(path, weights_only=True, map_location="cpu")
    return state
