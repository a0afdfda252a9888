"""What a stage costs: CPUs, GPUs, processes. No numbers of one certain cluster."""

import os
import threading
from dataclasses import dataclass, replace
from typing import Literal

from emosphere.errors import MachineError

MIN_LOCAL_CPUS = 4
"""Logical CPUs of a local Ray: with fewer, an actor pool can hold them all and leave none for the rest of the plan."""

MOST_LANES = 2
"""Parts an actor works at side by side: while one waits, or looks for speech, the other has the network."""

SMALLEST_GPU = 0.0001
"""Share of a GPU that Ray can still count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """Resources of the scoring actors, and what runs them."""

    engine: Literal["auto", "ray", "in-process"] = "auto"
    """What runs the actors: Ray, or, for a single one, the command's own process, which starts at once. ``auto`` takes
    Ray where a cluster is named (``RAY_ADDRESS``, ``ray job submit``) or several actors gain more than Ray's start
    costs. Rows are the same."""
    actors: int | None = None
    """Scoring actors; None takes as many as the cluster holds."""
    cpus_per_actor: int | None = None
    """Cores of one actor, shared by torch and its decoders; None takes 2, or with GPUs, and decoders beside the model,
    an equal share of all cores."""
    gpus_per_actor: float | None = None
    """GPUs of one actor, fractions allowed; None takes one where the cluster has any."""
    decoders_per_actor: int | None = None
    """Decoder processes of one actor; None takes half its cores but one for each part it works at, or with a GPU all
    cores but one; apart and with a GPU, all that the cluster has left."""
    decode: Literal["beside", "apart"] = "beside"
    """Where decoders run: beside the model, in its actor's machine, or apart, in Ray actors of one CPU per decoder that
    Ray spreads over all machines. Apart, every waveform goes through the object store: for GPUs whose own machine has
    too few cores."""
    stall_timeout_s: float = 1800.0
    """A run in which nothing was scored for so long, while it waited for machines or worked, ends with an error."""

    def __post_init__(self) -> None:
        for name in ("actors", "cpus_per_actor", "decoders_per_actor"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1, or left out.")
        if (gpus := self.gpus_per_actor) is not None and not (
            gpus == 0 or SMALLEST_GPU <= gpus <= 1 or (gpus > 1 and gpus % 1 == 0)
        ):
            raise ValueError(
                f"gpus_per_actor={gpus} must be 0, a fraction of at least {SMALLEST_GPU}, or a whole number: Ray gives "
                "out no others."
            )
        if self.engine == "in-process" and (self.decode == "apart" or (self.actors or 1) > 1):
            raise ValueError(
                f'engine="in-process" runs a single actor with its decoders beside it; decode={self.decode!r} and '
                f'actors={self.actors} want Ray: set engine to "ray" or "auto", or leave them out.'
            )
        if not 0 < self.stall_timeout_s <= threading.TIMEOUT_MAX:
            raise ValueError(
                f"stall_timeout_s={self.stall_timeout_s} must be above 0 and at most {threading.TIMEOUT_MAX:.0f}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """An actor pool, and how each actor shares out its cores."""

    size: int
    num_cpus: float
    num_gpus: float
    cores: int
    """Of one actor, decoders beside it included."""
    decoders: int
    """Of one actor, all lanes together."""
    lanes: int
    """Parts that one actor works at side by side, each in a thread of its own."""
    apart: bool = False
    """Whether the decoders are Ray actors of their own, with CPUs of their own."""

    @property
    def threads(self) -> int:
        """Threads of one lane that look for speech. The network has one on every core, shared by the lanes."""
        return max(1, (self.cores - (0 if self.apart else self.decoders)) // self.lanes)


def own_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def local_pool(resources: Resources, num_tasks: int, num_gpus: int) -> Pool:
    """The pool that a local Ray would be given on this machine."""
    cores = own_cores()
    return share_out(resources, num_tasks, nodes=[(max(MIN_LOCAL_CPUS, cores), float(num_gpus))], cores=cores)


def share_out(resources: Resources, num_tasks: int, *, nodes: list[tuple[int, float]], cores: int) -> Pool:
    """Actors for ``cores`` real cores on ``nodes``, each of which Ray gives (CPUs, GPUs).

    Raises MachineError when no node can hold a single actor: Ray would wait for one without a word.

    >>> share_out(Resources(), 100, nodes=[(4, 0.0)], cores=2)
    Pool(size=1, num_cpus=2.0, num_gpus=0.0, cores=2, decoders=2, lanes=2, apart=False)
    >>> share_out(Resources(), 100, nodes=[(4, 0.0), (8, 1.0), (8, 1.0)], cores=20)
    Pool(size=2, num_cpus=7.0, num_gpus=1.0, cores=8, decoders=7, lanes=2, apart=False)
    """
    any_gpu = any(gpus for _, gpus in nodes)
    per_gpu = float(any_gpu) if resources.gpus_per_actor is None else resources.gpus_per_actor
    apart = resources.decode == "apart"
    if per_gpu:
        holding = [(cpus, int(gpus // per_gpu)) for cpus, gpus in nodes if gpus >= per_gpu]
        fit = sum(actors for _, actors in holding)
        share = 2 if apart else min((cpus // actors for cpus, actors in holding), default=2)
        wanted = resources.cpus_per_actor or max(2, share)
    else:
        wanted = resources.cpus_per_actor or 2
        fit = cores // wanted
    largest = max((cpus for cpus, gpus in nodes if gpus >= per_gpu), default=0)
    if (per_gpu and not fit) or largest < 1:
        raise MachineError(
            f"No node of this cluster has {per_gpu:g} GPUs and a CPU for a scoring actor; found (CPUs, GPUs) {nodes}. "
            "Set gpus_per_actor in [resources], or start such a node."
        )
    size = max(1, min(resources.actors or fit, num_tasks))
    lanes = min(MOST_LANES, wanted, resources.decoders_per_actor or wanted, -(-num_tasks // size))
    decoders = resources.decoders_per_actor or max(lanes, wanted - 1 if per_gpu else wanted // 2)
    # One CPU of each node stays free for whatever else the plan of Ray Data has to run.
    num_cpus = float(max(1, min(wanted, largest - 1)))
    pool = Pool(size=size, num_cpus=num_cpus, num_gpus=per_gpu, cores=wanted, decoders=decoders, lanes=lanes)
    return _with_decoders_apart(pool, resources, nodes) if apart else pool


def _with_decoders_apart(pool: Pool, resources: Resources, nodes: list[tuple[int, float]]) -> Pool:
    """The same actors, or fewer, whose decoders take CPUs of their own: with GPUs all that the actors leave.

    The decoders of a lane are one Ray actor, which must find room on one node. Raises MachineError where none does.

    >>> resources = Resources(decode="apart")
    >>> share_out(resources, 100, nodes=[(4, 0.0)], cores=2)
    Pool(size=1, num_cpus=1.0, num_gpus=0.0, cores=2, decoders=2, lanes=2, apart=True)
    >>> share_out(resources, 100, nodes=[(8, 1.0), (33, 0.0)], cores=41)
    Pool(size=1, num_cpus=2.0, num_gpus=1.0, cores=2, decoders=32, lanes=2, apart=True)
    """
    is_all_given = None not in (resources.actors, resources.cpus_per_actor, resources.decoders_per_actor)
    if is_all_given and (len(nodes) > 1 or not nodes[0][0]):
        return replace(pool, apart=True)  # which asks an autoscaler for nodes that are not there yet
    wanted = -(-resources.decoders_per_actor // pool.lanes) if resources.decoders_per_actor else None
    # Rather fewer actors than fewer CPUs for each, but no GPU is left idle for want of a CPU.
    tries = [(size, num_cpus) for num_cpus in (int(pool.num_cpus), 1) for size in range(pool.size, 0, -1)]
    for size, num_cpus in sorted(tries, reverse=True) if pool.num_gpus else tries:
        rooms = _rooms_beside(nodes, size, num_cpus, pool.num_gpus)
        able = (n for n in range(max(rooms, default=0), 0, -1) if sum(room // n for room in rooms) >= size * pool.lanes)
        most = next(able, 0)
        each = wanted or (most if pool.num_gpus else pool.decoders // pool.lanes)
        if 1 <= each <= most:
            return replace(pool, size=size, num_cpus=float(num_cpus), decoders=each * pool.lanes, apart=True)
    raise MachineError(
        f'decode = "apart" needs a CPU for a scoring actor and, for each part it works at, {wanted or 1} on one '
        f"node, beside one CPU of every node that stays free; found (CPUs, GPUs) {nodes}. Lower "
        "decoders_per_actor in [resources], or start more nodes."
    )


def _rooms_beside(nodes: list[tuple[int, float]], size: int, num_cpus: int, num_gpus: float) -> list[int]:
    """CPUs that scoring actors leave on each node, and one less; none at all where the actors find no room."""
    rooms, gpus = [max(0, cpus - 1) for cpus, _ in nodes], [gpus for _, gpus in nodes]
    for _ in range(size):
        able = [node for node, room in enumerate(rooms) if room >= num_cpus and gpus[node] >= num_gpus]
        if not able:
            return []
        node = max(able, key=rooms.__getitem__)
        rooms[node] -= num_cpus
        gpus[node] -= num_gpus
    return rooms
