"""Several processes in one: each a thread of its own, of which exactly one runs at a time, and time that costs nothing.

A simulated process stops before and after everything it writes; whoever drives the simulation decides who goes on, who
sleeps, who dies, and when the clock moves. What happens is a function of these decisions alone.
"""

import asyncio
import random
import threading
import traceback
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

STEP_S = 0.001
"""By how much time passes with every write."""
MOST_WRITES = 5_000
"""A process that stopped so often at a write does not come to an end."""
PATIENCE_S = 900.0
"""How long, by the simulated clock, a process may wait in vain before the next one has its turn."""
LOST_S = 60.0
"""Real seconds within which a thread comes back."""

_here = threading.local()


class Killed(BaseException):
    """What a killed process ends with. From then on nothing of it may write, ``finally`` included."""


class Endless(AssertionError):
    """A process that does not come to an end."""


class Write(NamedTuple):
    """Where a thread stands, at a write to what lies below OUT."""

    moment: str
    """``ask``: before the fence is asked; ``until``: right before the write; ``amid`` (on a disk): between the file and
    its name; ``after``: right after it; ``left``: once the lock is given back, on a disk."""
    action: str
    path: str

    def __str__(self) -> str:
        return f"{self.moment} {self.action} {self.path}"


class SimulatedThread:
    """A thread that runs only while the simulation waits for it."""

    def __init__(self, process: "Process", name: str, function: Callable[[], Any], *, is_background: bool) -> None:
        self.process, self.name, self.is_background = process, name, is_background
        self.stands: Write | None = None
        self.wake_at: float | None = None
        self.condition: Callable[[], bool] | None = None
        self.is_done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.traceback = ""
        self.aim: str | None = None
        """What is being written."""
        self.has_lock = False
        self.written = ""
        """What was written last."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """Runs what the thread asks of S3."""
        self.go = threading.Semaphore(0)
        self._function = function
        self._thread = threading.Thread(target=self._run, name=f"{process.name} {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.go.acquire()
        _here.thread = self
        try:
            if not self.process.is_dead:
                self.result = self._function()
        except Killed:
            pass
        except BaseException as error:
            self.error = error
            self.traceback = "".join(traceback.format_exception(error))
            _release_frames(error)
        finally:
            del self._function
            if self.loop is not None:
                self.loop.close()
            self.is_done = True
            self.process.simulation.baton.release()

    def is_ready(self, now: float) -> bool:
        if self.condition is not None and self.condition():
            return True
        if self.wake_at is not None:
            return now >= self.wake_at
        return self.condition is None


class Process:
    """A command at work: its threads, and what the world does to it."""

    def __init__(self, simulation: "Simulation", name: str, machine: str) -> None:
        self.simulation, self.name, self.machine = simulation, name, machine
        self.pid = 1000 + len(simulation.processes)
        self.threads: list[SimulatedThread] = []
        self.is_stopped = self.is_dead = self.is_cut_off = False
        self.clock_s = 0.0
        """By how much its wall clock is wrong."""
        self.fates: deque[str] = deque()
        """What becomes of its next writes."""
        self.num_writes = 0

    @property
    def main(self) -> SimulatedThread:
        return self.threads[0]

    @property
    def is_over(self) -> bool:
        return self.is_dead or all(thread.is_done for thread in self.threads if not thread.is_background)

    def add(self, name: str, function: Callable[[], Any], *, is_background: bool = False) -> SimulatedThread:
        self.threads.append(SimulatedThread(self, name, function, is_background=is_background))
        return self.threads[-1]


class Late(NamedTuple):
    """A write that is on its way, although its sender has given it up, or sent it again."""

    name: str
    deliver: Callable[[], None]


class Simulation:
    """Processes, one clock, and the writes that are still on their way."""

    def __init__(self, seed: int = 0) -> None:
        self.now = 1_000_000.0
        self.random = random.Random(seed)
        self.processes: dict[str, Process] = {}
        self.late: list[Late] = []
        self.trace: list[str] = []
        self.changed: list[str] = []
        """Paths below OUT that were written since they were last looked at."""
        self.look: Callable[[list[str]], None] = lambda paths: None
        """Called with what was changed, after each step of any process."""
        self.baton = threading.Semaphore(0)
        self._is_there: Callable[[Write], bool] = lambda write: False
        self._failure: AssertionError | None = None

    def start(self, name: str, function: Callable[[], Any], machine: str) -> Process:
        process = self.processes[name] = Process(self, name, machine)
        process.add("main", function)
        return process

    # Run by whoever drives the simulation

    def resume(self, thread: SimulatedThread) -> None:
        """Let one thread run until it stops again."""
        thread.go.release()
        if not self.baton.acquire(timeout=LOST_S):
            raise RuntimeError(f"{thread.process.name} {thread.name} does not come back from {thread.stands}.")
        if self._failure is not None:
            raise self._failure
        self.note_changes()

    def note_changes(self) -> None:
        if self.changed:
            paths, self.changed = self.changed, []
            self.look(paths)

    def run(self, process: Process, is_there: Callable[[Write], bool] = lambda write: False) -> bool:
        """Let a process run until it stands where it is wanted (True), or ends or waits for others (False)."""
        until = self.now + PATIENCE_S
        while not process.is_stopped and not process.is_over:
            alive = [thread for thread in process.threads if not thread.is_done and not thread.is_background]
            thread = next((thread for thread in alive if thread.is_ready(self.now)), None)
            if thread is None:
                waking = [thread for thread in alive if thread.wake_at is not None]
                if not waking:
                    return False
                thread = min(waking, key=lambda one: one.wake_at)
                if thread.wake_at > until:
                    return False
                self.pass_time(thread.wake_at)
                if not thread.is_ready(self.now):
                    continue
            thread.stands, self._is_there = None, is_there
            self.resume(thread)
            if thread.stands is not None and not thread.is_done:
                return True
        return False

    def pass_time(self, until: float) -> None:
        """Move the clock; what beats in the background of a process that is not stopped beats meanwhile."""
        for _ in range(MOST_WRITES):
            due = [
                thread
                for process in self.processes.values()
                if not process.is_stopped and not process.is_dead
                for thread in process.threads
                if thread.is_background and not thread.is_done
                if thread.is_ready(self.now) or (thread.wake_at is not None and thread.wake_at <= until)
            ]
            if not due:
                break
            thread = min(due, key=lambda one: one.wake_at or 0.0)
            self._is_there = lambda write: False
            self.now = max(self.now, thread.wake_at or 0.0)
            self.resume(thread)
        else:
            raise Endless("a heartbeat does not come to an end")
        self.now = max(self.now, until)

    def kill(self, process: Process) -> None:
        """End a process where it stands: its files are closed, nothing more is written."""
        process.is_dead, process.is_stopped, self._failure = True, False, None
        for thread in process.threads:
            while not thread.is_done:
                self.resume(thread)

    def leave_worker(self, process: Process) -> None:
        """Kill a command's own process; what it had others do goes on, as a process of its own."""
        workers = [thread for thread in process.threads if thread.name == "worker" and not thread.is_done]
        if workers:
            orphan = self.processes[f"{process.name}w"] = Process(self, f"{process.name}w", process.machine)
            orphan.threads = workers
            for worker in workers:
                process.threads.remove(worker)
                worker.process = orphan
        self.kill(process)

    def beat(self, process: Process) -> None:
        """Let a heartbeat that is due, or is held up, go on to its next write."""
        for thread in process.threads:
            if thread.is_background and not thread.is_done and not process.is_stopped and thread.is_ready(self.now):
                self._is_there = lambda write: True
                self.resume(thread)

    def close(self) -> None:
        for process in list(self.processes.values()):
            self.kill(process)

    # Called from within a simulated process

    def stop_before(self, action: str, path: str, moment: str = "until") -> str | None:
        """Stand before a write. Returns what is to become of it, None where nothing is to go wrong."""
        thread = current()
        assert thread is not None
        self.now += STEP_S
        self._stand(thread, Write(moment, action, path))
        return thread.process.fates.popleft() if moment != "ask" and thread.process.fates else None

    def stop_after(self, action: str, path: str) -> None:
        """Stand after a write."""
        thread = current()
        assert thread is not None
        self.trace.append(f"{thread.process.name} {action} {path}")
        self.changed.append(path)
        thread.written = path
        self._stand(thread, Write("after", action, path))
        if not thread.has_lock:
            self._stand(thread, Write("left", action, path))

    def leave(self) -> None:
        """Stand where the lock was given back."""
        thread = current()
        if thread is not None and thread.has_lock:
            thread.has_lock = False
            if thread.written:
                self._stand(thread, Write("left", "unlock", thread.written))

    def sleep(self, seconds: float) -> None:
        self.wait(lambda: False, seconds)

    def wait(self, condition: Callable[[], bool], timeout: float | None = None) -> None:
        """Wait until ``condition`` holds, or until it is too late."""
        thread = current()
        assert thread is not None
        thread.condition, thread.wake_at = condition, None if timeout is None else self.now + timeout
        self._pause(thread)
        thread.condition = thread.wake_at = None

    def _stand(self, thread: SimulatedThread, write: Write) -> None:
        """Come to a write, and stop there if that is wanted: most are passed without anybody else having a turn."""
        check_alive()
        process = thread.process
        process.num_writes += 1
        try:
            self.note_changes()
            if process.num_writes > MOST_WRITES:
                raise Endless(f"{process.name} wrote {MOST_WRITES} times and is at it still: {write}")
        except AssertionError as error:
            self._failure = error
        if self._failure is not None or self._is_there(write):
            thread.stands = write
            self._pause(thread)
            thread.stands = None

    def _pause(self, thread: SimulatedThread) -> None:
        check_alive()
        self.baton.release()
        thread.go.acquire()
        check_alive()

    def uuid4(self) -> uuid.UUID:
        return uuid.UUID(int=self.random.getrandbits(128), version=4)


def current() -> SimulatedThread | None:
    """The simulated thread that this is; None in any other."""
    return getattr(_here, "thread", None)


def check_alive() -> None:
    """Raise Killed in a process that was killed."""
    thread = current()
    if thread is not None and thread.process.is_dead:
        raise Killed


def _release_frames(error: BaseException | None) -> None:
    """Let go of what the frames of an error hold: an open file would keep its lock."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


class VirtualEvent:
    """``threading.Event`` by the simulated clock."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation, self._is_set = simulation, False

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        if not self._is_set:
            self._simulation.wait(self.is_set, timeout)
        return self._is_set


class VirtualThread:
    """``threading.Thread`` of a simulated process: it beats in the background."""

    def __init__(
        self, *, target: Callable[..., Any], name: str = "thread", daemon: bool = True, args: Any = ()
    ) -> None:
        thread = current()
        assert thread is not None
        assert daemon
        self._process, self._name, self._target = thread.process, name, lambda: target(*args)
        self._thread: SimulatedThread | None = None

    def start(self) -> None:
        self._thread = self._process.add(self._name, self._target, is_background=True)

    def is_alive(self) -> bool:
        return self._thread is not None and not self._thread.is_done

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end: it has its turn meanwhile, since nobody waits for what never runs."""
        thread = self._thread
        if thread is None:
            return
        thread.is_background = False
        self._process.simulation.wait(lambda: thread.is_done, timeout)
