"""The door: exit codes and the one JSON line."""

import json
import subprocess
import sys
from pathlib import Path


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs.train", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)


def test_a_missing_configuration_is_a_wrong_argument(root: Path, tmp_path: Path) -> None:
    done = run(root, str(tmp_path / "none.toml"), "--json")
    assert done.returncode == 2
    result = json.loads(done.stdout)
    assert "cannot be read as a settings file" in result["error"]
    assert len(done.stdout.splitlines()) == 1


def test_help_shows_examples(root: Path) -> None:
    done = run(root, "--help")
    assert done.returncode == 0
    assert "emosphere train jobs/configs/train/default.toml" in done.stdout
