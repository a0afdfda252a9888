"""``make test-s3``: every test that uses an S3 server, on Ceph's radosgw instead of moto; words go to pytest."""

import subprocess
import sys
from pathlib import Path

from tests.radosgw.server import Missing, environment, running

ROOT = Path(__file__).resolve().parents[2]
ONLY_THERE = "tests/pipelines/radosgw"
"""Files that moto could not pass: named here, not found by name."""
NO_ARCHIVE_TIER = (
    "tests/pipelines/archive/test_fetch_store.py::test_what_lies_in_an_archive_tier_is_a_row_of_its_own_kind"
)
"""Needs a storage class that radosgw does not have."""
PYTEST = [sys.executable, "-m", "pytest", "--timeout=300"]
RUNS = {
    "plain": [
        [*PYTEST, "-m", "s3 and not heavy", "--deselect", NO_ARCHIVE_TIER],
        [*PYTEST, f"{ONLY_THERE}/least_policy.py"],
    ],
    "versioned": [[*PYTEST, f"{ONLY_THERE}/versioned.py"]],
}
"""Kind of buckets -> what runs on them, one after another."""


def main(words: list[str]) -> int:
    """0 if everything passed."""
    codes = []
    with running() as server:
        for buckets, commands in RUNS.items():
            for command in commands:
                print(f"test-s3   radosgw, {buckets} buckets: {' '.join(command[2:])}", flush=True)
                done = subprocess.run([*command, *words], cwd=ROOT, env=environment(server, buckets), check=False)
                codes.append(done.returncode)
    return max(codes)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Missing as reason:
        sys.exit(f"test-s3   {reason}")
