"""Play thousands of random schedules; print what they came to, and the shortest form of what was found.

python -m tests.schedules [--count 10000] [--seed 1] [--store disk|memory|s3] [--jobs 2] [--only NUMBER]
"""

import argparse
import collections
import dataclasses
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple

from tests.schedules.drawing import Schedule, draw, shorten
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


def play_many(store: str, seed: int, numbers: range, *, most_findings: int = MOST_FINDINGS, watched: bool = False) -> Outcome:
    """Play these schedules of a seed."""
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    found: list[Found] = []
    with (
        tempfile.TemporaryDirectory(prefix="emosphere-schedules-", dir=base) as folder,
        World(open_store(store, Path(folder))) as world,
    ):
        kinds = world.kinds()
        began = time.perf_counter()
        for number in numbers:
            schedule = draw(seed, number, kinds)
            words = what_is_wrong(world, schedule)
            if words is not None:
                found.append(explain(world, seed, number, schedule, words))
                if len(found) >= most_findings:
                    break
            if watched and number % 100 == 0:
                print(f"{number}: {time.perf_counter() - began:.0f} s, {len(found)} findings", file=sys.stderr, flush=True)
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=["disk", "memory", "s3"], default="disk")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--most-findings", type=int, default=MOST_FINDINGS)
    given = parser.parse_args()
    if "PYTHONHASHSEED" not in os.environ:  # the order of sets is part of a schedule
        os.execve(sys.executable, [sys.executable, "-m", "tests.schedules", *sys.argv[1:]], os.environ | {"PYTHONHASHSEED": "0"})
    numbers = range(given.count) if given.only is None else range(given.only, given.only + 1)
    share = -(-len(numbers) // given.jobs)
    shares = [numbers[begin : begin + share] for begin in range(0, len(numbers), share)]
    with multiprocessing.get_context("spawn").Pool(len(shares)) as pool:
        outcomes = pool.starmap(
            _play_share, [(given.store, given.seed, part, given.most_findings) for part in shares], chunksize=1
        )
    totals: collections.Counter[str] = collections.Counter()
    for outcome in outcomes:
        totals.update({name: value for name, value in dataclasses.asdict(outcome.figures).items() if name != "kinds"})
    found = [one for outcome in outcomes for one in outcome.found]
    for one in found:
        print(f"\nseed {one.seed}, schedule {one.number}: {one.words}\n{one.trace}\n{one.schedule!r}")
    print("\n| store | " + " | ".join(totals) + " | findings | seconds |")
    seconds = max(outcome.seconds for outcome in outcomes)
    print(f"| {given.store} | " + " | ".join(map(str, totals.values())) + f" | {len(found)} | {seconds:.0f} |")
    reasons: collections.Counter[str] = collections.Counter()
    for outcome in outcomes:
        reasons.update(outcome.figures.kinds)
    for reason, number in reasons.most_common(20):
        print(f"{number:6d}  {reason}")
    return 1 if found else 0


def _play_share(store: str, seed: int, numbers: range, most_findings: int) -> Outcome:
    return play_many(store, seed, numbers, most_findings=most_findings, watched=True)


if __name__ == "__main__":
    sys.exit(main())
