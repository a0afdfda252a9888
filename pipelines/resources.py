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
    cpus_per_actor: int | None = None
    """Cores of one actor, shared by torch and its decoders; None takes 2, or with GPUs an equal share of all cores."""
    gpus_per_actor: float | None = None
    """GPUs of one actor, fractions allowed; None takes one where the cluster has any."""
    decoders_per_actor: int | None = None
    """Decoder processes of one actor; None takes half its cores, or with a GPU all but one."""

    def __post_init__(self) -> None:
        for name in ("actors", "cpus_per_actor", "decoders_per_actor"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1, or left out.")
        if self.gpus_per_actor is not None and self.gpus_per_actor < 0:
            raise ValueError(f"gpus_per_actor={self.gpus_per_actor} must not be below 0.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """An actor pool as Ray wants to hear it, and how each actor shares out its cores."""

    size: int
    num_cpus: float
    num_gpus: float
    decoders: int
    threads: int


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
    # A local Ray counts logical CPUs, at least 4: the machine's own cores decide how many actors are worth having.
    cpus = cluster.get("CPU", 1.0)
    cores = min(cpus, os.cpu_count() or 1) if len(ray.nodes()) == 1 else cpus
    return share_out(resources, num_tasks, cpus=int(cpus), cores=int(cores), gpus=cluster.get("GPU", 0.0))


def share_out(resources: Resources, num_tasks: int, *, cpus: int, cores: int, gpus: float) -> Pool:
    """Actors for ``cores`` real cores and ``gpus`` GPUs, of which Ray counts ``cpus``.

    >>> share_out(Resources(), 100, cpus=4, cores=2, gpus=0)
    Pool(size=1, num_cpus=2.0, num_gpus=0.0, decoders=1, threads=1)
    >>> share_out(Resources(), 100, cpus=16, cores=16, gpus=1)
    Pool(size=1, num_cpus=15.0, num_gpus=1.0, decoders=15, threads=1)
    """
    per_gpu = resources.gpus_per_actor if resources.gpus_per_actor is not None else (1.0 if gpus else 0.0)
    if per_gpu:
        size = resources.actors or max(1, int(gpus // per_gpu))
        wanted = resources.cpus_per_actor or max(2, cores // size)
    else:
        wanted = resources.cpus_per_actor or 2
        size = resources.actors or max(1, cores // wanted)
    size = max(1, min(size, num_tasks))
    decoders = resources.decoders_per_actor or max(1, wanted - 1 if per_gpu else wanted // 2)
    # One CPU stays free for whatever else the plan of Ray Data has to run.
    num_cpus = max(0.0, min(float(wanted), (cpus - 1) / size))
    return Pool(size=size, num_cpus=num_cpus, num_gpus=per_gpu, decoders=decoders, threads=max(1, wanted - decoders))
