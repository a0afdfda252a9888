"""``make test-s3``: every test that uses an S3 server, on Ceph's radosgw instead of moto, and what only it can show."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.radosgw.server import Missing, environment, running

ROOT = Path(__file__).resolve().parents[2]
NO_ARCHIVE_TIER = (
    "tests/pipelines/archive/test_fetch_store.py::test_what_lies_in_an_archive_tier_is_a_row_of_its_own_kind"
)
"""Needs a storage class that radosgw does not have."""
PYTEST = [sys.executable, "-m", "pytest", "--timeout=300"]
RUNS = [
    ("plain", [*PYTEST, "-m", "s3 and not heavy", "--deselect", NO_ARCHIVE_TIER]),
    # Named, since pytest finds only test_*.py by itself: moto could not pass these.
    ("plain", [*PYTEST, "tests/pipelines/radosgw/least_policy.py"]),
    ("plain", [sys.executable, "-m", "tests.schedules", "--store", "s3", "--count", "10"]),
    ("versioned", [*PYTEST, "tests/pipelines/radosgw/versioned.py"]),
]
"""Kind of buckets, and what runs on them, one after another."""


def main() -> int:
    """0 if everything passed. Raises Missing where there is no server to be had."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped then, too
    codes = []
    with running() as server:
        for buckets, command in RUNS:
            print(f"test-s3   on radosgw, {buckets} buckets: {' '.join(command[2:])}", flush=True)
            codes.append(subprocess.run(command, cwd=ROOT, env=environment(server, buckets), check=False).returncode)
    return int(any(codes))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Missing as reason:
        sys.exit(f"test-s3   {reason}")
