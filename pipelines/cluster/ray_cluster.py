"""The Ray that a command works on: the cluster that it was given, or a local one of its own."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator

import ray

from pipelines.cluster.resources import MIN_LOCAL_CPUS, Pool, Resources, own_cores, share_out

_users = set[object]()


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
        with _own_answer_to_sigterm():
            ray.init(log_to_driver=False, logging_level=logging.WARNING)
        return
    # Workers import the same rooms, also from a folder that is not installed. They inherit this environment; a runtime
    # environment of Ray's would cost a start of every worker.
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    # One heap for all threads of a worker: the C library's heaps per thread keep what the others could use again.
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")
    # Native code would report to the terminal that Ray Data's own actors could not be restarted under all conditions.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # That a Ray of this run's own guards itself by a token is no news for whoever scores.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    with _own_answer_to_sigterm():
        ray.init(
            address="local",
            num_cpus=max(MIN_LOCAL_CPUS, own_cores()),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )


@contextlib.contextmanager
def in_use() -> Iterator[None]:
    """Somebody waits for an answer of Ray's within this context."""
    me = object()
    _users.add(me)
    try:
        yield
    finally:
        _users.discard(me)


def disconnect() -> None:
    """Leave the cluster, if any; a local one is stopped.

    Not while a thread still waits in it, as it does where a run stood still or was interrupted: Ray that is shut down
    under a thread ends the process by a signal, or begins anew. It ends with the process then.
    """
    if ray.is_initialized() and not _users:
        ray.shutdown()


def pool_for(resources: Resources, num_tasks: int) -> Pool:
    """Actor pool on the connected cluster: never more actors than tasks, never more than the machines hold."""
    nodes = [(int(n["Resources"].get("CPU", 0)), n["Resources"].get("GPU", 0.0)) for n in ray.nodes() if n["Alive"]]
    # A local Ray counts logical CPUs, at least 4: the process's own cores decide how many actors are worth having.
    cores = own_cores() if len(nodes) == 1 else sum(cpus for cpus, _ in nodes)
    return share_out(resources, num_tasks, nodes=nodes, cores=cores)


@contextlib.contextmanager
def _own_answer_to_sigterm() -> Iterator[None]:
    """Ray's would be to leave without a word, also while it starts."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as leaving:
        raise KeyboardInterrupt from leaving
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)
