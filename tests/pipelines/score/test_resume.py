"""Killed anywhere and run again, a run ends with the rows of an undisturbed one."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
import soundfile

from emosphere.errors import MachineError
from emosphere.store import locate
from pipelines.output.ledger import Ledger
from pipelines.score.command import score
from pipelines.score.publish import replace as publishing
from pipelines.score.request import ScoreRequest
from tests.rounding import assert_same_rows

NUM_RECORDINGS = 30


@pytest.fixture(scope="module")
def many(tmp_path_factory, voice) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(NUM_RECORDINGS):
        start = 16 * 1_000 * number
        soundfile.write(folder / f"{number:02d}.flac", voice[start : start + 16 * 15_000], 16_000)
    return folder


@pytest.fixture(scope="module")
def undisturbed(many, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    score(ScoreRequest(archives=(str(many),), out=str(out), dt="2026-11-20"))
    return out


def assert_same_tables(rows, one: Path, other: Path) -> None:
    for table in ("segments", "recordings"):
        assert_same_rows(rows(one, table), rows(other, table))


def test_the_driver_killed_while_scoring(many, undisturbed, tmp_path, rows, root):
    out = tmp_path / "out"
    settings = tmp_path / "settings.toml"
    settings.write_text("[plan]\npart_units = 1\n")
    command = [sys.executable, "-m", "jobs.score", str(many), "--out", str(out), "--config", str(settings),
               "--dt", "2026-11-20", "--json"]  # fmt: skip
    driver = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(committed := list(out.glob("_emosphere/runs/*/staging/part-*.parquet"))) < 3:
        assert driver.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "nothing was committed in two minutes"
        time.sleep(0.01)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    assert not (out / "recordings").exists()
    committed = list(out.glob("_emosphere/runs/*/staging/part-*.parquet"))
    assert 3 <= len(committed) < NUM_RECORDINGS, "some but not all units were committed at the kill"
    again = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "resuming run" in again.stderr
    [left] = re.findall(rf"{NUM_RECORDINGS} recordings, 0 finished before, (\d+) of \d+ parts to score", again.stderr)
    assert int(left) <= NUM_RECORDINGS - len(committed), "what was committed is not scored again"
    assert_same_tables(rows, out, undisturbed)


@pytest.mark.parametrize(
    "dies_at",
    ["before the first file", "between segments and recordings", "before the snapshot", "before the result"],
)
def test_the_driver_killed_while_publishing(many, undisturbed, tmp_path, rows, monkeypatch, dies_at):
    class Died(BaseException):
        pass

    def die(*args: object, **kwargs: object) -> None:
        raise Died

    out = tmp_path / "out"
    request = ScoreRequest(archives=(str(many),), out=str(out), dt="2026-11-20")
    replace = publishing._replace
    with monkeypatch.context() as patch, pytest.raises(Died):
        if dies_at == "before the first file":
            patch.setattr(publishing, "_replace", die)
        elif dies_at == "between segments and recordings":
            patch.setattr(publishing, "_replace", lambda *args: replace(*args) if args[2] == "segments" else die())
        elif dies_at == "before the snapshot":
            patch.setattr(publishing, "commit_snapshot", die)
        else:
            patch.setattr(Ledger, "write_result", die)
        score(request)
    result = score(request)
    assert result["scored"] == NUM_RECORDINGS
    assert_same_tables(rows, out, undisturbed)
    assert score(request)["skipped"] == NUM_RECORDINGS


@pytest.mark.parametrize(
    "other", [{"dt": "2026-11-21"}, {"limit": NUM_RECORDINGS}], ids=["another dt", "another command"]
)
def test_another_command_finishes_a_dead_publishing_first(many, undisturbed, tmp_path, rows, monkeypatch, other):
    """Else segments of one dt and recordings of another would stand side by side for ever."""
    out = tmp_path / "out"
    request = ScoreRequest(archives=(str(many),), out=str(out), dt="2026-11-20")
    real = publishing._replace

    def die(*args: object) -> str:
        if args[2] == "recordings":
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(publishing, "_replace", die)
        score(request)
    assert score(dataclasses.replace(request, **other))["skipped"] == NUM_RECORDINGS
    assert_same_tables(rows, out, undisturbed)
    assert Ledger(locate(str(out))).state().publishing is None


def test_late_files_are_picked_up_after_the_resumed_run(many, tmp_path, rows, voice, monkeypatch):
    archive = tmp_path / "archive"
    archive.mkdir()
    for number in range(3):
        os.link(many / f"{number:02d}.flac", archive / f"{number:02d}.flac")
    request = ScoreRequest(archives=(str(archive),), out=str(tmp_path / "out"))

    def die(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(publishing, "_replace", die)
        score(request)
    soundfile.write(archive / "late.wav", voice[: 16 * 5_000], 16_000)
    result = score(request)
    assert (result["scored"], result["skipped"], result["recordings"]) == (1, 3, 4)
    recordings = rows(tmp_path / "out", "recordings", keep=("run_id",))
    assert len(recordings) == 4
    assert recordings["run_id"].nunique() == 2


def test_a_unit_that_was_staged_twice_counts_once(many, undisturbed, tmp_path, rows, monkeypatch):
    out = tmp_path / "out"
    write = Ledger.write_staged_part
    monkeypatch.setattr(Ledger, "write_staged_part", lambda *args: write(*args[:3], pa.concat_tables([args[3]] * 2)))
    score(ScoreRequest(archives=(str(many),), out=str(out), dt="2026-11-20"))
    assert_same_tables(rows, out, undisturbed)


def test_a_unit_that_is_missing_stops_publishing(many, tmp_path, monkeypatch):
    out = tmp_path / "out"
    write = Ledger.write_staged_part
    monkeypatch.setattr(Ledger, "write_staged_part", lambda *args: write(*args[:3], args[3].slice(1)))
    with pytest.raises(MachineError, match="nothing was published"):
        score(ScoreRequest(archives=(str(many),), out=str(out)))
    assert not (out / "recordings").exists()
