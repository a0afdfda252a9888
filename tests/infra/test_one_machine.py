"""The recipe for one machine, run for real: head, token, `ray job submit`, tables, and nothing left behind."""

import contextlib
import json
import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray


def one_machine(root: Path, home: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    script = root / "infra" / "cluster" / "one_machine.sh"
    return subprocess.run([script, *words], env=clean | {"HOME": str(home)}, capture_output=True, text=True)


def heads() -> set[str]:
    """Command lines of Ray heads that this recipe started."""
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line for line in lines if "/tmp/emosphere-ray." in line}


AGENT_PORT = 52_365
"""Where the agent of every Ray head listens unless it is told otherwise."""


def test_an_archive_is_scored_by_a_submitted_job_beside_another_ray(root: Path, tmp_path: Path) -> None:
    before = heads()
    out = tmp_path / "out"
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # another Ray has it indeed
            held.enter_context(socket.create_server(("0.0.0.0", AGENT_PORT)))
        run = one_machine(root, tmp_path, root / "demo" / "archive" / "story.flac", out)
    assert run.returncode == 0, run.stderr
    (line,) = run.stdout.splitlines()
    result = json.loads(line)
    assert (result["recordings"], result["scored"], result["exit_code"]) == (1, 1, 0)
    assert list(out.glob("segments/dt=*/model=*/part-*.parquet"))
    token = tmp_path / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert heads() <= before


def test_the_runs_own_exit_code_comes_through(root: Path, tmp_path: Path) -> None:
    run = one_machine(root, tmp_path, root / "demo" / "archive" / "story.flac", tmp_path / "out", "--dt", "yesterday")
    assert run.returncode == 2, run.stderr
    assert "--dt 'yesterday' is not a date" in run.stderr
    assert not (tmp_path / "out").exists()


def test_two_words_are_wanted(root: Path, tmp_path: Path) -> None:
    run = one_machine(root, tmp_path, "only-an-archive")
    assert run.returncode == 2
    assert "ARCHIVE OUT" in (root / "infra" / "cluster" / "one_machine.sh").read_text()
    assert "usage:" in run.stderr
