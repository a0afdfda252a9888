"""What a killed process leaves on a machine's disk is gone when the next begins; what the living work on stays."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from emosphere.errors import MachineError
from pipelines.archive.dates import Window
from pipelines.archive.recording import Recording
from pipelines.cluster import scratch as scratch_module
from pipelines.cluster.scratch import Scratch, scratch_database, sweep_scratch
from pipelines.score import command as scoring
from pipelines.score.command import score
from pipelines.score.plan.choose import Choice
from pipelines.score.request import ScoreRequest


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The machine's temporary folder, for this process and its children."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@contextmanager
def small_disk(num_bytes: int) -> Iterator[None]:
    """No file grows beyond this."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def process_at_work(kind: str, root) -> Iterator[subprocess.Popen]:
    """A process with a scratch folder and a file in it."""
    command = [sys.executable, "-m", "tests.pipelines.cluster.scratch_holder", kind]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def test_a_sweep_takes_what_the_dead_left_and_nothing_else(temporary, root):
    """Folders of a killed process go, also where another kind of work comes next; one that is in use stays."""
    with process_at_work("fetch", root) as dead, process_at_work("plan", root) as living:
        left, used = dead.stdout.readline().strip(), living.stdout.readline().strip()
        sweep_scratch()
        assert os.listdir(left) == os.listdir(used) == ["recording"]
        os.kill(dead.pid, signal.SIGKILL)
        dead.wait()
        with closing(Scratch("fold")) as mine:
            assert not os.path.exists(left)
            assert sorted(os.listdir(temporary)) == sorted(map(os.path.basename, (used, mine.path)))
            assert f"-{os.getpid()}-" in mine.path
    sweep_scratch()
    assert os.listdir(temporary) == []


def test_a_sweep_leaves_what_others_put_there(temporary):
    for name in ("emosphere-bench-12-ab", "emosphere-fold-x", "other"):
        (temporary / name).mkdir()
    (temporary / "emosphere-fold-12-ab").write_text("a file")
    (temporary / "emosphere-plan-12-ab").symlink_to(temporary / "other")
    before = sorted(os.listdir(temporary))
    sweep_scratch()
    assert sorted(os.listdir(temporary)) == before


def test_a_folder_swept_as_it_is_made_is_made_anew(temporary, monkeypatch):
    real, made = tempfile.mkdtemp, []

    def swept_at_once(prefix: str) -> str:
        made.append(real(prefix=prefix))
        if len(made) == 1:
            sweep_scratch()
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", swept_at_once)
    with closing(Scratch("fold")) as scratch:
        assert scratch.path == made[1]
        assert os.path.isdir(scratch.path)


def test_where_no_folder_can_be_made_the_disk_is_named(temporary):
    temporary.rmdir()
    tempfile.tempdir = str(temporary)
    with pytest.raises(MachineError, match=rf"{temporary}.*TMPDIR"):
        Scratch("plan")


def test_a_full_disk_under_the_database_says_what_to_do(temporary):
    with (
        pytest.raises(MachineError, match=rf"{temporary}/emosphere-fold-.*free room there.*same command resumes"),
        scratch_database("fold", "64MB") as base,
    ):
        base.execute("CREATE TABLE x AS SELECT 1 AS a")
        with small_disk(1 << 20):
            base.execute("INSERT INTO x SELECT random() * 1e9 FROM range(1000000)")
    assert os.listdir(temporary) == []


def test_a_full_disk_while_planning_is_a_machine_error(temporary):
    recordings = (Recording(source_uri=f"s3://b/{n}.wav", kind="object", url=b"x" * 99) for n in range(10_000))
    with pytest.raises(MachineError, match="emosphere-plan-"), Choice() as choice, small_disk(100_000):
        choice.take(recordings, window=Window())
    assert os.listdir(temporary) == []


def test_a_wrong_query_is_no_full_disk(temporary):
    import duckdb

    with pytest.raises(duckdb.CatalogException), scratch_database("fold", "64MB") as base:
        base.execute("FROM nowhere")


def test_a_disk_that_fills_up_while_folding_loses_nothing(archive, tmp_path, temporary, monkeypatch, rows):
    """The error is raised and stored with the run, nothing is published, and the same command scores nothing again."""
    out = tmp_path / "out"
    request = ScoreRequest(archives=(str(archive),), out=str(out), dt="2026-11-20")
    real = scoring.fold_run

    @contextmanager
    def on_a_small_disk(*args):
        with small_disk(8_000), real(*args) as folded:  # its records still fit
            yield folded

    with monkeypatch.context() as patch, pytest.raises(MachineError, match=r"emosphere-fold-.*same command resumes"):
        patch.setattr(scoring, "fold_run", on_a_small_disk)
        score(request)
    [stored] = (out / "_emosphere/runs").glob("*.json")
    result = json.loads(stored.read_bytes())
    assert (result["exit_code"], "emosphere-fold-" in result["error"]) == (1, True)
    assert not (out / "recordings").exists()
    monkeypatch.setattr(scoring, "score_parts", lambda *args: pytest.fail("all is staged"))
    assert score(request)["scored"] == 3
    assert len(rows(out, "recordings")) == 6


def test_a_folder_swept_before_it_is_locked_is_made_anew(temporary, monkeypatch):
    swept: list[str] = []
    lock = scratch_module._locked

    def late(path: str, how: int) -> int:
        held = lock(path, how)
        if not swept:  # the sweeper was between its look and its removal
            swept.append(path)
            shutil.rmtree(path)
        return held

    monkeypatch.setattr(scratch_module, "_locked", late)
    with closing(Scratch("plan")) as mine:
        assert swept != [mine.path]
        assert os.path.isdir(mine.path)
    assert os.listdir(temporary) == []


def test_a_long_query_draws_no_progress_bar():
    with scratch_database("plan", "128MB") as base:
        assert base.execute("SELECT current_setting('enable_progress_bar')").fetchall() == [(False,)]
