"""A schedule: a list of steps in words, played over one OUT, and what it comes to.

    archive replace b.wav            a file changes; `archive add e.wav`
    1 start score                    a process: `score [next] [FILE]`, `erase uri|id|older [NAME]`, `doctor`;
                                     with `elsewhere` on another machine, where nobody knows whether it died
    1 ask staging 2                  it goes on until it asks the fence about its second write of that kind (see KINDS)
    1 until staging 2                until right before that; on a disk it has the lock then
    1 amid staging 2                 on a disk: when it is written, before it has its name
    1 after staging 2                until right after it
    1 left staging 2                 until it has given back the lock
    1 run [20]                       for so many stops at writes; to its end, or until it waits for others
    1 stop | cont | kill             SIGSTOP, SIGCONT, SIGKILL; `kill main` leaves its worker alive
    1 beat                           its heartbeat alone goes on to its next write
    1 cut | heal                     no answer reaches it; what it writes meanwhile arrives late
    1 next late|lost|twice|unanswered  what becomes of its next write
    deliver 1                        the first of the writes that are on their way arrives
    1 clock 86400                    its wall clock steps by seconds
    wait 30                          time passes

Steps that make no sense where they stand do nothing. At the end everybody wakes and goes on to the end, what is on its
way arrives, and the archive is scored once more: then the tables must hold it. Commands that failed or died run again.
"""

import contextlib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from emosphere.errors import EmosphereError, UsageError
from emosphere.store import ABSENT
from tests.schedules import patches
from tests.schedules.commands import Archive, ArchiveFiles, Command, score_parts
from tests.schedules.simulator import Endless, Process, Simulation, Write
from tests.schedules.tables import Tables, Wrong

KINDS = (
    (r"_emosphere/(lease|partitions|probe|erasing)", ""),
    (r"_emosphere/runs/[^/]+/(plan|staging|alive|seen)", ""),
    (r"_emosphere/runs/[^/]+/run\.", "header"),
    (r"_emosphere/runs/[^/]+\.json", "result"),
    (r"_emosphere/tables/", "version"),
    (r"_emosphere/(\w+)\.json", ""),
    (r"runs/", "row"),
    (r"(segments|recordings)/", ""),
)
MOMENTS = ("ask", "until", "amid", "after", "left")
"""Where one can stand at a write, see :class:`Write`."""
BASE = Command.parse("score")
NO_TABLES = "so nothing to erase"


def kind_of(path: str) -> str:
    """What is written there."""
    for pattern, name in KINDS:
        if match := re.match(pattern, path):
            return name or match[1]
    folder = path.rpartition("/")[0]
    return kind_of(folder + "/part.json") if ".tmp" in path else path or "other"


@dataclass
class Figures:
    """What a number of schedules came to."""

    schedules: int = 0
    commands: int = 0
    ended: int = 0
    kills: int = 0
    stops: int = 0
    held: int = 0
    overtaken: int = 0
    refused: int = 0
    """Other commands that ended with an error in words."""
    takeovers: int = 0
    late: int = 0
    verified: int = 0
    kinds: dict[str, int] = field(default_factory=dict)


class Habits(NamedTuple):
    """What a command does."""

    kinds: dict[str, int]
    """Of what it writes, and how often."""
    num_stands: int
    """Where it can stand."""


class World:
    """A store, an archive beside it, and the machine as simulated processes see it. A context manager."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.archive = Archive()
        self.tables = Tables(store, self.archive)
        self.figures = Figures()
        self._templates: dict[str, dict[str, bytes]] = {"empty": {}}
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> "World":
        patch = self._patch
        import pipelines.doctor.command as doctoring
        import pipelines.score.command as scoring
        import pipelines.score.job as job
        import pipelines.score.publish.replace as replacing
        from pipelines.output import writer

        fsspec.register_implementation("memory", ArchiveFiles, clobber=True)
        patch.setattr(logging.getLogger("emosphere"), "disabled", True)
        patches.install(patch)
        self.store.install(patch)
        patches.ask_first(patch, self.store.below)
        patch.setattr(scoring, "score_parts", score_parts)
        for name in ("_versions", "_codecs", "_model", "_machine", "_engine", "_ray"):
            patch.setattr(doctoring, name, lambda *args: iter(()), raising=False)
        model, description = job.find_model("default"), job.describe_checkpoint(job.find_model("default"))
        patch.setattr(job, "find_model", lambda name: model)
        patch.setattr(job, "describe_checkpoint", lambda path: description)
        patch.setattr(replacing, "FILE_BYTES", 350)
        patch.setattr(writer, "check_offers", lambda out: None)  # four writes of each command, to objects of its own
        return self

    def __exit__(self, *error: object) -> None:
        self._patch.undo()
        fsspec.register_implementation("memory", MemoryFileSystem, clobber=True)
        patches.close()

    def habits(self) -> dict[str, Habits]:
        """What each command writes here, where nothing disturbs it."""
        names = {"1": "score", "2": "erase", "3": "doctor"}
        simulation = play(self, ["1 start score", "1 run", "2 start erase uri sub", "2 run", "3 start doctor", "3 run"])
        written: dict[str, Counter[str]] = {name: Counter() for name in names}
        for writer, *_, path in map(str.split, simulation.trace):
            if writer in names:
                written[writer][kind_of(path)] += 1
        return {
            command: Habits(dict(sorted(written[name].items())), simulation.processes[name].num_writes)
            for name, command in names.items()
        }

    def begin(self, state: str, seed: int = 0) -> Simulation:
        """A new simulation over an OUT that is ``empty``, or in which the archive is ``scored``."""
        self.archive.reset()
        self.tables.reset()
        if state not in self._templates:
            self.store.reset({})
            simulation = Simulation()
            simulation.now -= 3 * 86_400
            process = simulation.start("0", lambda: BASE.run(self.store.out), "here")
            simulation.run(process)
            assert process.main.error is None, process.main.traceback
            self._templates[state] = {path: self.store.read(path) for path in self.store.files()}
        self.store.reset(self._templates[state])
        simulation = Simulation(seed)
        simulation.look = self.tables.look
        return simulation


class Player:
    """Plays the steps of one schedule."""

    def __init__(self, world: World, state: str) -> None:
        self.world, self.figures = world, world.figures
        self.simulation = world.begin(state)
        self.commands: dict[str, Command] = {}
        self._reported: set[str] = set()

    def step(self, text: str) -> None:
        """One step. Raises Wrong or Endless for what must not be."""
        first, *words = text.split()
        if first == "archive":
            self.world.archive.write(words[1], patches.EPOCH + self.simulation.now - patches.BEGAN)
        elif first == "deliver":
            if len(self.simulation.late) >= int(words[0]):
                self._deliver(int(words[0]) - 1)
        elif first == "wait":
            self.simulation.pass_time(self.simulation.now + float(words[0]))
        elif words[0] == "start":
            if first not in self.commands:
                self._start(first, words[1:])
        elif first in self.commands:
            self._act(self.simulation.processes[first], words)
        self._report()

    def _start(self, name: str, words: list[str]) -> Process:
        machine = "elsewhere" if "elsewhere" in words else "here"
        command = self.commands[name] = Command.parse(" ".join(word for word in words if word != "elsewhere"))
        self.figures.commands += 1
        return self.simulation.start(name, lambda: command.run(self.world.store.out), machine)

    def _act(self, process: Process, words: list[str]) -> None:
        simulation, verb = self.simulation, words[0]
        if verb == "run":
            left = [int(words[1]) if len(words) > 1 else -1]

            def is_enough(write: Write) -> bool:
                left[0] -= 1
                return left[0] == 0

            simulation.run(process, is_enough)
        elif verb in MOMENTS:
            left = [int(words[2]) if len(words) > 2 else 1]

            def is_there(write: Write) -> bool:
                if write.moment == verb and kind_of(write.path) == words[1]:
                    left[0] -= 1
                return left[0] == 0

            simulation.run(process, is_there)
        elif verb == "stop" and not process.is_over:
            process.is_stopped = True
            self.figures.stops += 1
        elif verb == "cont":
            process.is_stopped = False
        elif verb == "kill" and not process.is_over:
            self.figures.kills += 1
            if len(words) > 1:
                simulation.leave_worker(process)
            else:
                simulation.kill(process)
        elif verb == "beat":
            simulation.beat(process)
        elif verb in ("cut", "heal"):
            process.is_cut_off = verb == "cut"
        elif verb == "next":
            process.fates.append(words[1])
        elif verb == "clock":
            process.clock_s += float(words[1])

    def _deliver(self, index: int) -> None:
        late = self.simulation.late.pop(index)
        self.simulation.trace.append(f"late: {late.name}")
        self.figures.late += 1
        late.deliver()
        self.simulation.note_changes()

    def _report(self) -> None:
        """What became of those that have ended since."""
        for name, process in self.simulation.processes.items():
            for thread in process.threads:
                is_expected = isinstance(thread.error, (EmosphereError, *(ABSENT if thread.name == "worker" else ())))
                if thread.error is not None and not is_expected:
                    raise Wrong(f"{name} {thread.name} failed:\n{thread.traceback}")
            if name in self._reported or name not in self.commands or process.is_dead or not process.main.is_done:
                continue
            self._reported.add(name)
            command, error = self.commands[name], process.main.error
            if isinstance(error, UsageError) and NO_TABLES not in str(error):
                raise Wrong(f"{name} {command}: {error}")
            if error is None:
                self.figures.ended += 1
                if command.kind == "erase":
                    assert process.main.result["verified"]
                    self.figures.verified += 1
                    now = patches.EPOCH + self.simulation.now - patches.BEGAN + process.clock_s
                    self.world.tables.promise(command.target(), round(now * 1e6))
            else:
                kind = type(error).__name__
                name = {"Held": "held", "Overtaken": "overtaken"}.get(kind, "refused")
                setattr(self.figures, name, getattr(self.figures, name) + 1)
                self.figures.kinds[str(error)[:60]] = self.figures.kinds.get(str(error)[:60], 0) + 1

    def end(self) -> None:
        """Everybody wakes, everything arrives, all come to their end; then the first command once more."""
        simulation = self.simulation
        for process in simulation.processes.values():
            process.is_stopped = process.is_cut_off = False
            process.fates.clear()
        self._settle()
        while simulation.late:
            self._deliver(0)
        self._last("score")
        self.world.tables.check_end()
        unfinished = {
            str(self.commands[name]): None
            for name, process in simulation.processes.items()
            if name in self.commands and not _is_well(process)
        }
        for command in unfinished:
            self._last(command)
        if unfinished:
            self._last("score")
            self.world.tables.check_end()
        if self.world.tables.has_promised:
            self._last("erase id nobody")  # one more that writes, and sweeps
            self.world.tables.check_traces()

    def _settle(self) -> None:
        processes = list(self.simulation.processes.values())
        for _ in range(10):
            for process in processes:
                self.simulation.run(process)
                self._report()
            if all(process.is_over for process in processes):
                return
        waiting = [f"{process.name} {process.main.stands}" for process in processes if not process.is_over]
        raise Endless(f"nobody goes on: {', '.join(waiting)}")

    def _last(self, command: str) -> None:
        name = f"last {len(self.commands)}"
        process = self._start(name, command.split())
        self.simulation.run(process)
        if not process.is_over:
            raise Endless(f"{command}, alone, waits for ever: {process.main.stands}")
        error = process.main.error
        if error is not None and NO_TABLES not in str(error):
            raise Wrong(f"{command}, alone and undisturbed, failed: {process.main.traceback}")
        self._report()


def _is_well(process: Process) -> bool:
    return process.main.is_done and not process.is_dead and process.main.error is None


def play(world: World, steps: Iterable[str], state: str = "empty") -> Simulation:
    """Play a schedule to its end. Raises Wrong or Endless for what must not be."""
    player = Player(world, state)
    world.figures.schedules += 1
    with _closed(player):
        for step in steps:
            player.step(step)
        player.end()
    world.figures.takeovers += sum("taken over" in line for line in player.simulation.trace)
    return player.simulation


@contextlib.contextmanager
def _closed(player: Player) -> Iterator[None]:
    try:
        yield
    except (Wrong, Endless) as error:
        error.add_note("\n".join(["what was written:", *player.simulation.trace[-60:]]))
        raise
    finally:
        player.simulation.look = lambda paths: None
        player.simulation.close()
