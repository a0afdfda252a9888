"""What a simulated process sees of the machine: its clocks, its number, its locks, its threads, chance.

Everything here looks at the thread that asks: to all others the machine is as it is.
"""

import asyncio
import contextlib
import datetime
import errno
import fcntl
import functools
import itertools
import os
import random
import sys
import threading
import time
import types
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emosphere.store import Location, explain
from pipelines.output import fence
from pipelines.output.fence import Fence
from tests.schedules.simulator import VirtualEvent, VirtualThread, check_alive, current

EPOCH = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC).timestamp()
"""Wall clock of a simulation that begins."""
BEGAN = 1_000_000.0
"""The same on the clock that only goes forward."""
PACKAGES = ("pipelines", "emosphere")

_real_sleep, _real_monotonic, _real_time = time.sleep, time.monotonic, time.time
_numbers = itertools.count()
_real_async_sleep, _real_flock, _real_uuid4 = asyncio.sleep, fcntl.flock, uuid.uuid4


def wall_clock() -> float:
    """Seconds since 1970 by the clock of the process that asks."""
    thread = current()
    if thread is None:
        return _real_time()
    return EPOCH + thread.process.simulation.now - BEGAN + thread.process.clock_s


class _IsAnyTime(type):
    def __instancecheck__(cls, one: object) -> bool:
        return isinstance(one, datetime.datetime)


class _Datetime(datetime.datetime, metaclass=_IsAnyTime):
    """Tells the simulated time; what it gives are ordinary times."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(wall_clock(), tz)

    @classmethod
    def fromisoformat(cls, text: str) -> datetime.datetime:
        return datetime.datetime.fromisoformat(text)

    @classmethod
    def fromtimestamp(cls, timestamp: float, tz: datetime.tzinfo | None = None) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(timestamp, tz)


class Shim(types.SimpleNamespace):
    """A module with some names of its own."""

    def __init__(self, module: Any, **names: Any) -> None:
        super().__init__(**names)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class InlineExecutor:
    """Runs what it is given at once, in the thread that asks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __enter__(self) -> "InlineExecutor":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future

    def map(self, function: Callable[..., Any], *items: Any) -> Iterator[Any]:
        return map(function, *items)

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        pass


def install(patch: pytest.MonkeyPatch) -> None:
    """Patch what all simulated processes share, whichever store they write to."""
    patch.setattr(time, "sleep", _sleep)
    patch.setattr(time, "monotonic", _monotonic)
    patch.setattr(time, "time", wall_clock)
    patch.setattr(asyncio, "sleep", _async_sleep)
    patch.setattr(fcntl, "flock", _flock)
    patch.setattr(uuid, "uuid4", _uuid4)
    # Threads of a pool, for a few rows, take longer to wake than to read them.
    for name in ("read", "read_row_group", "iter_batches"):
        patch.setattr(pq.ParquetFile, name, functools.partialmethod(getattr(pq.ParquetFile, name), use_threads=False))
    pa.set_cpu_count(1)
    patch.setattr(fence, "LOCK_PAUSE_S", 1.0)  # of a time that costs nothing, but turns
    patch.setattr(explain, "_jitter", Shim(random, uniform=lambda low, high: 1.0))
    shims = {
        "datetime": (datetime, Shim(datetime, datetime=_Datetime)),
        "threading": (threading, Shim(threading, Thread=_thread, Event=_event)),
        "os": (os, Shim(os, getpid=_getpid)),
    }
    for name, module in list(sys.modules.items()):
        if not name.startswith(PACKAGES):
            continue
        for attribute, (real, shim) in shims.items():
            if attribute == "os" and not name.startswith("pipelines.output"):
                continue
            if getattr(module, attribute, None) is real:
                patch.setattr(module, attribute, shim)
        if hasattr(module, "ThreadPoolExecutor"):
            patch.setattr(module, "ThreadPoolExecutor", InlineExecutor)
        for attribute, value in (
            ("_machine", _machine),
            ("_born", _born),
            ("scratch_database", _database),
            ("sweep_scratch", lambda: None),
            ("host_facts", _host_facts),
        ):
            if attribute in vars(module) and name not in ("pipelines.cluster.scratch", "pipelines.doctor.command"):
                patch.setattr(module, attribute, value)


def ask_first(patch: pytest.MonkeyPatch, path_below: Callable[[str], str | None]) -> None:
    """Stop before each question of the fence too. ``path_below``: what a path is below OUT."""

    def stopping(real: Callable[..., Any]) -> Callable[..., Any]:
        def act(asked: Any, target: Location, *others: Any) -> Any:
            thread = current()
            if thread is None:
                return real(asked, target, *others)
            before, thread.aim = thread.aim, path_below(target.path) or ""
            thread.process.simulation.stop_before("ask", thread.aim, "ask")
            try:
                return real(asked, target, *others)
            finally:
                thread.aim = before

        return act

    def held(asked: Any) -> Any:
        thread = current()
        if thread is not None and thread.aim is None:
            thread.process.simulation.stop_before("ask", "held", "ask")
        return real_held(asked)

    real_held = Fence.held
    patch.setattr(Fence, "held", held)
    for name in ("create", "rewrite", "remove"):
        patch.setattr(Fence, name, stopping(getattr(Fence, name)))


def read_at_once(patch: pytest.MonkeyPatch, kind: type) -> None:
    """What a simulated process opens on this file system to read it, it has in memory: pieces take longer."""
    real = kind.open

    def open_(fs: Any, path: str, mode: str = "rb", *others: Any, **options: Any) -> Any:
        if current() is None or mode != "rb":
            return real(fs, path, mode, *others, **options)
        if fs.async_impl:
            return pa.BufferReader(fs.cat_file(path))
        with real(fs, path, mode) as file:
            return pa.BufferReader(file.read())

    patch.setattr(kind, "open", open_)


def _sleep(seconds: float) -> None:
    thread = current()
    if thread is None:
        _real_sleep(seconds)
    else:
        thread.process.simulation.sleep(seconds)


async def _async_sleep(delay: float, result: Any = None) -> Any:
    thread = current()
    if thread is None or delay == 0:
        return await _real_async_sleep(delay, result)
    thread.process.simulation.sleep(delay)
    return result


def _monotonic() -> float:
    thread = current()
    return _real_monotonic() if thread is None else thread.process.simulation.now


def _uuid4() -> uuid.UUID:
    thread = current()
    return _real_uuid4() if thread is None else thread.process.simulation.uuid4()


def _thread(*args: Any, **kwargs: Any) -> Any:
    return threading.Thread(*args, **kwargs) if current() is None else VirtualThread(*args, **kwargs)


def _event() -> Any:
    thread = current()
    return threading.Event() if thread is None else VirtualEvent(thread.process.simulation)


def _getpid() -> int:
    thread = current()
    return os.getpid() if thread is None else thread.process.pid


def _machine() -> str:
    thread = current()
    return "real" if thread is None else thread.process.machine


def _born(pid: int) -> str:
    """When a process of this machine began; empty if it is gone."""
    thread = current()
    if thread is None:
        return "real"
    for process in thread.process.simulation.processes.values():
        if process.pid == pid and process.machine == thread.process.machine and not process.is_over:
            return f"born {pid}"
    return ""


def _flock(descriptor: Any, how: int) -> None:
    """Wait for a lock in simulated time: whoever holds it may have to run first."""
    thread = current()
    if thread is None:
        return _real_flock(descriptor, how)
    check_alive()
    if how & (fcntl.LOCK_NB | fcntl.LOCK_UN):
        _real_flock(descriptor, how)
        if how & fcntl.LOCK_UN:
            thread.process.simulation.leave()
        else:
            thread.has_lock, thread.written = True, ""
        return None

    def is_taken() -> bool:
        try:
            _real_flock(descriptor, how | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            return False
        return True

    check_alive()
    if not is_taken():
        thread.process.simulation.wait(is_taken)
    thread.has_lock, thread.written = True, ""
    return None


@functools.cache
def _base() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:", config={"threads": 1})


@contextlib.contextmanager
def _database(kind: str, memory: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A schema of its own in a database that all share: to open one takes longer than to fill it."""
    name = f"scratch_{next(_numbers)}"
    with contextlib.closing(_base().cursor()) as base:
        base.execute(f"CREATE SCHEMA {name}; USE {name}")
        try:
            yield base
        finally:
            base.execute(f"USE main; DROP SCHEMA {name} CASCADE")


def close() -> None:
    """Close what all simulated processes share."""
    _base().close()
    _base.cache_clear()


def _host_facts() -> dict[str, Any]:
    return {"emosphere": "0"}
