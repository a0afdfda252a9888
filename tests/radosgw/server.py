"""A real S3 server on loopback, Ceph's radosgw, for as long as tests need one."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

TOOL = Path(__file__).resolve().parents[3] / "shared" / "tools" / "radosgw"
"""Starts and stops it: ``radosgw start DIR`` prints the shell's exports."""
PROGRAMS = ("ceph-mon", "ceph-osd", "ceph", "radosgw")
PACKAGES = "ceph-mon ceph-osd ceph-common radosgw"
"""Of Debian, which hold those programs."""


class Missing(Exception):
    """What it takes is not on this machine."""


@contextlib.contextmanager
def running() -> Iterator[dict[str, str]]:
    """The variables under which clients find it, with the keys of two users; stopped at the end. Raises Missing."""
    if not TOOL.is_file():
        raise Missing("no ../shared/tools/radosgw: put the project's shared folder beside the checkout")
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        raise Missing(f"no {', '.join(absent)}: apt-get install --no-install-recommends {PACKAGES} (about 0.5 GB)")
    folder = tempfile.mkdtemp(prefix="radosgw-")
    try:
        started = subprocess.run([TOOL, "start", folder], capture_output=True, text=True, timeout=300, check=False)
        if started.returncode:
            raise Missing(f"it does not start: {started.stderr.strip()[-2000:]}")
        yield dict(re.findall(r"^export (\w+)=(.*)$", started.stdout, re.MULTILINE))
    finally:
        subprocess.run([TOOL, "stop", folder], timeout=120, check=False)


def environment(server: dict[str, str], buckets: str) -> dict[str, str]:
    """Of a process whose ``s3`` fixture takes this server; ``buckets``: ``plain`` or ``versioned``."""
    return os.environ | server | {"EMOSPHERE_TEST_S3": buckets}
