"""Many random schedules, and the shortest form of what is found."""

import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple

from tests.schedules.drawing import Schedule, draw, shorten, sweep
from tests.schedules.schedule import Figures, World, play

MOST_FINDINGS = 5
"""Of one job: then it stops."""


class Found(NamedTuple):
    """A bad schedule, and what it came to."""

    seed: int
    number: int
    words: str
    schedule: Schedule
    trace: str


class Outcome(NamedTuple):
    figures: Figures
    found: list[Found]
    seconds: float


def open_store(name: str, folder: Path) -> Any:
    """The store that ``--store`` names."""
    if name == "disk":
        from tests.schedules.disk import Disk

        return Disk(folder)
    from tests.schedules.s3 import S3, MemoryS3

    return MemoryS3() if name == "memory" else S3()


def play_many(
    store: str,
    seed: int,
    numbers: range,
    most_findings: int = MOST_FINDINGS,
    watched: bool = False,
    in_order: bool = False,
) -> Outcome:
    """Play these schedules of a seed; ``in_order``: of those in which one command stops wherever it can."""
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    found: list[Found] = []
    with (
        tempfile.TemporaryDirectory(prefix="emosphere-schedules-", dir=base) as folder,
        World(open_store(store, Path(folder))) as world,
    ):
        habits = world.habits()
        began = time.perf_counter()
        swept = sweep(seed, habits, has_locks=store == "disk") if in_order else []
        for number in numbers[: len(swept)] if in_order else numbers:
            schedule = swept[number] if in_order else draw(seed, number, habits, has_locks=store == "disk")
            words = what_is_wrong(world, schedule)
            if words is not None:
                if watched:
                    print(f"seed {seed}, schedule {number}: {words[:300]}\n{schedule!r}", file=sys.stderr, flush=True)
                found.append(explain(world, seed, number, schedule, words))
                if len(found) >= most_findings:
                    break
            if watched and number % 100 == 0:
                print(
                    f"{number}: {time.perf_counter() - began:.0f} s, {len(found)} findings", file=sys.stderr, flush=True
                )
        return Outcome(world.figures, found, time.perf_counter() - began)


def what_is_wrong(world: World, schedule: Schedule) -> str | None:
    """None where nothing is."""
    state, steps = schedule
    try:
        play(world, steps, state)
    except AssertionError as error:
        return str(error)
    return None


def explain(world: World, seed: int, number: int, schedule: Schedule, words: str) -> Found:
    """The shortest schedule that is wrong in the same way."""
    figures, world.figures = world.figures, Figures()
    kind = _kind(words)
    shortest = shorten(schedule, lambda one: _kind(what_is_wrong(world, one) or "") == kind)
    trace = ""
    try:
        play(world, shortest[1], shortest[0])
    except AssertionError as error:
        words, trace = str(error), "\n".join([*error.__notes__, "".join(traceback.format_tb(error.__traceback__)[-1:])])
    world.figures = figures
    return Found(seed, number, words, shortest, trace)


def _kind(words: str) -> str:
    """What a finding is, without names: a shorter schedule must be wrong in the same way."""
    last = words.strip().splitlines()[-1:] or [""]
    return " ".join(words.split()[:3]) + last[0][:40] if "failed" in words else " ".join(words.split()[:3])
