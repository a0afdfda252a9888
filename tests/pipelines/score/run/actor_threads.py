"""Program: make a scoring actor below the OUT given, and print how many threads its process had before and after."""

import importlib
import os
import sys

from emosphere.store import locate
from pipelines.cluster.resources import Pool
from pipelines.output.ledger import Ledger
from pipelines.score.run.actor import ScoreParts
from pipelines.score.settings import ScoreSettings
from tests.pipelines.headers import run_header

POOL = Pool(size=1, num_cpus=4, num_gpus=0, cores=4, decoders=1, lanes=1)


def num_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def main(out: str) -> None:
    importlib.import_module("torch")  # its own threads do not count
    before = num_threads()
    actor = ScoreParts(Ledger(locate(out)), run_header(), "default", ScoreSettings(), POOL)
    print(before, num_threads())
    actor.close()


if __name__ == "__main__":
    main(sys.argv[1])
