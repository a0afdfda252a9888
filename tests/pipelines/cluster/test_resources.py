"""How the machines are shared out: actors, lanes, decoders, threads."""

import pytest

from emosphere.errors import MachineError
from pipelines.cluster.resources import Resources, share_out

GPU_NODE = (16, 1.0)


@pytest.mark.parametrize(
    ("resources", "num_tasks", "nodes", "cores", "wanted"),
    [
        # actors, cores, decoders and lanes of each, threads of a lane
        (Resources(), 100, [(4, 0.0)], 2, (1, 2, 2, 2, 1)),
        (Resources(), 1, [(4, 0.0)], 2, (1, 2, 1, 1, 1)),  # one part: nothing to work at beside it
        (Resources(), 100, [(4, 0.0)], 1, (1, 2, 2, 2, 1)),
        (Resources(), 100, [(16, 0.0)], 16, (8, 2, 2, 2, 1)),
        (Resources(cpus_per_actor=8), 100, [(16, 0.0)], 16, (2, 8, 4, 2, 2)),
        (Resources(actors=2, cpus_per_actor=1), 100, [(4, 0.0)], 2, (2, 1, 1, 1, 1)),
        (Resources(decoders_per_actor=1), 100, [(4, 0.0)], 2, (1, 2, 1, 1, 1)),
        (Resources(), 100, [GPU_NODE], 16, (1, 16, 15, 2, 1)),
        (Resources(), 100, [GPU_NODE, GPU_NODE, (8, 0.0)], 40, (2, 16, 15, 2, 1)),
        (Resources(gpus_per_actor=0.5), 100, [GPU_NODE], 16, (2, 8, 7, 2, 1)),
        (Resources(gpus_per_actor=0), 100, [GPU_NODE], 16, (8, 2, 2, 2, 1)),
        (Resources(), 3, [(16, 0.0)], 16, (3, 2, 1, 1, 1)),
    ],
)
def test_known_shares(resources, num_tasks, nodes, cores, wanted):
    pool = share_out(resources, num_tasks, nodes=nodes, cores=cores)
    assert (pool.size, pool.cores, pool.decoders, pool.lanes, pool.threads) == wanted
    assert pool.lanes <= pool.decoders
    assert pool.num_cpus < max(cpus for cpus, _ in nodes)


APART = Resources(decode="apart")
EXPLICIT = Resources(decode="apart", actors=4, cpus_per_actor=2, decoders_per_actor=8)


@pytest.mark.parametrize(
    ("resources", "nodes", "cores", "wanted"),
    [
        # actors, CPUs and decoders of each
        (APART, [(4, 0.0)], 2, (1, 1, 2)),
        (APART, [(16, 0.0)], 16, (3, 2, 2)),
        (APART, [(8, 1.0), (33, 0.0)], 41, (1, 2, 32)),  # two actors of 16 on the node without a GPU
        (APART, [(8, 1.0), *[(4, 0.0)] * 4], 24, (1, 2, 6)),
        (APART, [(0, 0.0), (8, 1.0), (9, 0.0)], 17, (1, 2, 10)),  # a head that computes nothing
        (APART, [(5, 4.0), (33, 0.0)], 38, (4, 1, 8)),  # one core to a GPU
        (Resources(decode="apart", decoders_per_actor=4), [(8, 1.0), (33, 0.0)], 41, (1, 2, 4)),
        (EXPLICIT, [(0, 0.0), (4, 0.0)], 4, (4, 2, 8)),  # the autoscaler is asked for the rest
    ],
)
def test_decoders_apart_find_room_wherever_ray_puts_them(resources, nodes, cores, wanted):
    pool = share_out(resources, 100, nodes=nodes, cores=cores)
    assert (pool.size, pool.num_cpus, pool.decoders) == wanted
    assert pool.apart
    if resources.actors is None:
        rooms = [max(0, cpus - 1) for cpus, _ in nodes]
        each = pool.decoders // pool.lanes
        for _ in range(pool.size):  # where Ray may put an actor: on the first node with a GPU, or any without
            node = next(n for n, (_, gpus) in enumerate(nodes) if rooms[n] >= pool.num_cpus and gpus >= pool.num_gpus)
            rooms[node] -= int(pool.num_cpus)
        assert sum(room // each for room in rooms) >= pool.size * pool.lanes


def test_decoders_apart_that_find_no_room_are_refused():
    with pytest.raises(MachineError, match=r"needs a CPU .* 4 on one node.* \[\(4, 0.0\)\]"):
        share_out(EXPLICIT, 900, nodes=[(4, 0.0)], cores=2)  # one machine: no autoscaler
    with pytest.raises(MachineError, match=r"needs a CPU .* 20 on one node.* \[\(16, 0.0\), \(16, 0.0\)\]"):
        share_out(Resources(decode="apart", decoders_per_actor=40), 900, nodes=[(16, 0.0), (16, 0.0)], cores=32)


def test_what_no_node_can_hold_is_said():
    with pytest.raises(
        MachineError, match=r"No node of this cluster has 2 GPUs .* found \(CPUs, GPUs\) \[\(16, 1.0\)\]"
    ):
        share_out(Resources(gpus_per_actor=2), 100, nodes=[GPU_NODE], cores=16)
