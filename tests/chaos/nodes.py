"""A Ray cluster of several nodes on one machine, whose parts can be killed as machines die."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Nodes:
    """A head that computes nothing and ``count`` workers of two CPUs."""

    def __init__(self, count: int = 2) -> None:
        self._count = count
        self._cluster: Any = None
        self._workers: list[Any] = []
        self.start()

    @property
    def address(self) -> str:
        address: str = self._cluster.address
        return address

    def start(self) -> None:
        """The whole cluster, anew."""
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self._workers = [self._cluster.add_node(num_cpus=2) for _ in range(self._count)]
        self._cluster.wait_for_nodes()

    def mend(self) -> None:
        """Back to ``count`` workers."""
        while len(self._workers) < self._count:
            self._workers.append(self._cluster.add_node(num_cpus=2))
        self._cluster.wait_for_nodes()

    def kill_worker(self) -> None:
        """One machine less, without a word."""
        self._cluster.remove_node(self._workers.pop(), allow_graceful=False)

    def kill_head(self) -> None:
        """The head and with it the cluster."""
        self._cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
        self.stop()

    def stop(self) -> None:
        with contextlib.suppress(Exception):
            self._cluster.shutdown()
        self._workers = []


def actors() -> list[int]:
    """Processes of scoring actors that descend from this process."""
    return [pid for pid in _own_processes() if b"ScoreParts" in _command(pid)]


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_tree(pid: int) -> None:
    """A process and all below it: what a dead machine takes along."""
    for child in [other for other in _own_processes() if _parent(other) == pid]:
        kill_tree(child)
    kill(pid)


def _own_processes() -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            pid = ancestor = int(folder.name)
            while ancestor > 1 and ancestor != os.getpid():
                ancestor = _parent(ancestor)
            if ancestor == os.getpid() and pid != os.getpid():
                yield pid


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
