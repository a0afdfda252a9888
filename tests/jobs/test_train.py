"""The door: exit codes and the one JSON line."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.door.progress import progress_printer
from jobs.train import progress_line
from pipelines.train.progress import progress_of


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


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines_of(err: io.StringIO, monkeypatch: pytest.MonkeyPatch, minutes: list[float]) -> str:
    """What is printed of a heartbeat and two epochs, so many minutes after the start."""
    monkeypatch.setattr(sys, "stderr", err)
    now = [0.0]
    monkeypatch.setattr("jobs.door.progress.time.monotonic", lambda: now[0])
    log = [
        {"stage": 0, "epoch": epoch, "loss": {"vad": 1.25}, "clips_per_s": 80.0, "wall_s": 70, "choose": {"ccc": 0.5}}
        for epoch in (1, 2)
    ]
    with progress_printer("training", progress_line, keeps=True) as on_progress:
        for number, minute in enumerate(minutes):
            now[0] = 60 * minute
            on_progress(progress_of(log[:number], num_epochs=3, folds=0, wall_s=now[0]))
    return err.getvalue()


def test_a_log_gets_a_line_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = lines_of(io.StringIO(), monkeypatch, [1.0, 1.2, 2.1]).splitlines()
    assert len(shown) == 2  # the epoch that ended at 1.2 minutes was told too soon after the first line
    assert shown[0].startswith("train  epoch=0/3 wall=60 s")
    assert shown[1] == "train  epoch=2/3 loss=1.250 ccc=0.500 rate=80 clips/s wall=126 s left=70 s"


def test_a_terminal_keeps_a_line_per_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = lines_of(Tty(), monkeypatch, [0.1, 0.2, 0.3])
    kept = re.findall(r"(?:\n|\r|2K)train  epoch=(\d)", shown)  # those within the bar follow it
    assert kept == ["1", "2"]
