"""A training on Ray: its cluster, and Ray Train's workers on it."""

from pathlib import Path
from typing import Any

import ray
from ray.train import CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from emosphere.clips.manifest import Clip
from emosphere.errors import EmosphereError, MachineError, UsageError
from pipelines.cluster.ray_cluster import connect
from pipelines.train.config import TrainConfig
from pipelines.train.place import FOLDER_NAME, RAY_NAME
from pipelines.train.worker import FEATURES, train_on_worker

ALONE_S = 6 * 3600
"""How long a rank may work alone before the others give it up."""


def join_cluster(num_workers: int) -> bool:
    """Connect; whether the workers train on GPUs. Raises UsageError where the cluster has no room for so many."""
    connect()
    cluster = ray.cluster_resources()
    gpus = int(cluster.get("GPU", 0))
    if 0 < gpus < num_workers:
        raise UsageError(f"workers={num_workers}, but the cluster has {gpus} GPUs; each worker takes one.")
    room = int(cluster.get("CPU", 1)) - 1
    if not 1 <= num_workers <= room:
        raise UsageError(f"workers={num_workers} must lie in 1..{room}, the CPUs of this cluster less one for Ray.")
    return gpus > 0


def fit_on_ray(config: TrainConfig, clips: list[Clip], features: Any, *, num_workers: int, use_gpu: bool) -> None:
    """Train on the connected cluster; ``features``: a dataset of Ray's, or None where clips are streamed.

    Raises MachineError where the training breaks off, and what a worker reported on purpose.
    """
    trainer = TorchTrainer(
        train_on_worker,
        train_loop_config={"config": config, "clips": clips},
        # The first rank writes and cross-validates alone, while the others wait for it.
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo", timeout_s=ALONE_S),
        scaling_config=ScalingConfig(num_workers=num_workers, use_gpu=use_gpu),
        datasets={} if features is None else {FEATURES: features},
        # Every worker keeps all clips: which of them a batch needs is drawn anew each epoch.
        dataset_config=DataConfig(datasets_to_split=[]),
        run_config=RunConfig(
            # The same name and place again: Ray finds the last reported epoch there and goes on from it.
            name=RAY_NAME,
            storage_path=str(Path(config.out) / FOLDER_NAME),
            failure_config=FailureConfig(max_failures=3),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
    )
    try:
        trainer.fit()
    except SystemExit:
        # Ray Train handles Ctrl-C itself: it ends its workers, then the process, without a word.
        raise KeyboardInterrupt from None
    except TrainingFailedError as error:
        _raise_own(error)
        raise MachineError(f"{config.out}: the training broke off ({error}); the same command resumes it.") from error


def _raise_own(error: Any) -> None:
    """Raise what a worker reported on purpose, if that was the reason."""
    for failure in getattr(error, "worker_failures", {}).values():
        cause = getattr(failure, "cause", failure)
        if isinstance(cause, EmosphereError):
            raise cause from error
