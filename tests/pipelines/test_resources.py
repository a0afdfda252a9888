"""How the machines are shared out: actors, lanes, decoders, threads."""

import pytest

from emosphere.errors import MachineError
from pipelines.resources import Resources, share_out

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


def test_what_no_node_can_hold_is_said():
    with pytest.raises(
        MachineError, match=r"No node of this cluster has 2 GPUs .* found \(CPUs, GPUs\) \[\(16, 1.0\)\]"
    ):
        share_out(Resources(gpus_per_actor=2), 100, nodes=[GPU_NODE], cores=16)
