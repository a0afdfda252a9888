"""What a stage costs: CPUs, GPUs, processes. No numbers of one certain cluster."""

import logging
import os
import sys
from dataclasses import dataclass

import ray

MIN_LOCAL_CPUS = 4
"""Logical CPUs of a local Ray: with fewer, an actor pool can hold them all and leave none for the rest of the plan."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """Resources of the scoring actors."""

    actors: int | None = None
    """Scoring actors; None takes as many as the cluster holds."""
    cpus_per_actor: int = 2
    """Cores of one actor: torch threads and decoder processes share them."""
    gpus_per_actor: float | None = None
    """GPUs of one actor, fractions allowed; None takes one where the cluster has any."""
    decoders_per_actor: int | None = None
    """Decoder processes of one actor; None takes half its cores, at least one."""

    def __post_init__(self) -> None:
        if self.cpus_per_actor < 1 or (self.actors is not None and self.actors < 1):
            raise ValueError(f"cpus_per_actor={self.cpus_per_actor} and actors={self.actors} must be above 0.")

    @property
    def decoders(self) -> int:
        return self.decoders_per_actor or max(1, self.cpus_per_actor // 2)

    @property
    def threads(self) -> int:
        """Threads of torch in one actor: the cores that its decoders leave."""
        return max(1, self.cpus_per_actor - self.decoders)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """An actor pool as Ray wants to hear it."""

    size: int
    num_cpus: float
    num_gpus: float


def connect() -> None:
    """Join the cluster this process belongs to (``RAY_ADDRESS``, set by ``ray job submit``), else start a local one."""
    if ray.is_initialized():
        return
    # Its plans and per-operator figures are of no use to whoever scores; warnings stay.
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    # Without this Ray would wrap the interpreter with `uv run` where it finds one, and ship the working directory.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False, logging_level="WARNING")
        return
    # Native code would report to the terminal that Ray Data's own actors could not be restarted under all conditions.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray.init(
        address="local",
        num_cpus=max(MIN_LOCAL_CPUS, os.cpu_count() or 1),
        include_dashboard=False,
        log_to_driver=False,
        logging_level="WARNING",
        # Workers import the same rooms, also from a folder that is not installed.
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}},
    )


def pool_for(resources: Resources, num_tasks: int) -> Pool:
    """Actor pool on the connected cluster: never more actors than tasks, never more than the machines hold."""
    cluster = ray.cluster_resources()
    gpus = cluster.get("GPU", 0.0)
    per_actor = resources.gpus_per_actor if resources.gpus_per_actor is not None else (1.0 if gpus else 0.0)
    # Local Ray counts logical CPUs (at least 4), so the machine's own cores decide how many actors are worth having.
    cores = min(cluster.get("CPU", 1.0), os.cpu_count() or 1) if _is_local() else cluster.get("CPU", 1.0)
    fit = gpus // per_actor if per_actor else cores // resources.cpus_per_actor
    size = resources.actors or max(1, int(fit))
    num_cpus = min(float(resources.cpus_per_actor), max(1.0, cluster.get("CPU", 1.0) - 1) / size)
    return Pool(size=max(1, min(size, num_tasks)), num_cpus=num_cpus, num_gpus=per_actor)


def _is_local() -> bool:
    return len([node for node in ray.nodes() if node["Alive"]]) == 1
