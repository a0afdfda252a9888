"""Play thousands of random schedules; print what they came to, and the shortest form of what was found.

python -m tests.schedules [--count 10000] [--seed 1] [--store disk|memory|s3] [--jobs 2] [--only NUMBER]
"""

import argparse
import collections
import dataclasses
import multiprocessing
import os
import sys

from tests.schedules.many import MOST_FINDINGS, play_many


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=["disk", "memory", "s3"], default="disk")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--sweep", action="store_true", help="one command stopped wherever it can stand")
    parser.add_argument("--most-findings", type=int, default=MOST_FINDINGS)
    given = parser.parse_args()
    if "PYTHONHASHSEED" not in os.environ:  # the order of sets is part of a schedule
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.schedules", *sys.argv[1:]],
            os.environ | {"PYTHONHASHSEED": "0"},
        )
    numbers = range(given.count) if given.only is None else range(given.only, given.only + 1)
    share = -(-len(numbers) // given.jobs)
    shares = [numbers[begin : begin + share] for begin in range(0, len(numbers), share)]
    with multiprocessing.get_context("spawn").Pool(len(shares)) as pool:
        outcomes = pool.starmap(
            play_many,
            [(given.store, given.seed, part, given.most_findings, True, given.sweep) for part in shares],
            chunksize=1,
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


if __name__ == "__main__":
    sys.exit(main())
