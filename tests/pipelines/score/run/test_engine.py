"""A run without a cluster: which engine is taken and why, and that the one in this process does what Ray's does."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emosphere.audio.decoding.child import IsolatedDecoder
from emosphere.errors import MachineError
from emosphere.store import locate
from pipelines.cluster.resources import Resources
from pipelines.output.ledger import Ledger
from pipelines.score.command import score
from pipelines.score.publish.staged import staged_part
from pipelines.score.request import ScoreRequest
from pipelines.score.run import engine as engines
from pipelines.score.run.actor import ScoreParts
from pipelines.score.run.decoders import PartDecoding
from pipelines.score.run.engine import SMALL_RUN_BYTES, choose_engine, engine_for
from pipelines.score.run.stalled import Stalled
from pipelines.score.settings import PlanSettings, ScoreSettings
from tests.pipelines.headers import run_header
from tests.pipelines.score.run.running import POOL, planned
from tests.rounding import assert_same_rows

NUM_COPIES = 16
SMALL_PARTS = PlanSettings(part_units=1)


def request_for(archive: Path, out: Path, **resources: object) -> ScoreRequest:
    settings = ScoreSettings(plan=SMALL_PARTS, resources=Resources(**resources))
    return ScoreRequest(archives=(str(archive),), out=str(out), dt="2026-11-20", settings=settings)


# Which, and why


@pytest.fixture
def machine(monkeypatch):
    """A machine of so many cores and GPUs, where nobody names a cluster."""
    for name in engines.CLUSTER_VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def of(cores: int, gpus: int = 0) -> None:
        monkeypatch.setattr("pipelines.cluster.resources.own_cores", lambda: cores)
        monkeypatch.setattr(engines, "own_cores", lambda: cores)
        monkeypatch.setattr(engines, "num_gpus", lambda: gpus)

    return of


@pytest.mark.parametrize(
    ("cores", "gpus", "num_tasks", "is_small", "wanted"),
    [
        # cores of the actor, its lanes and GPUs; None: Ray
        (2, 0, 100, False, (2, 2, 0.0)),
        (1, 0, 100, False, (2, 2, 0.0)),
        (16, 0, 100, False, None),
        (16, 0, 100, True, (16, 2, 0.0)),
        (16, 0, 1, False, (16, 1, 0.0)),
        (16, 1, 100, False, (16, 2, 1.0)),
        (16, 4, 100, False, None),
        (16, 4, 100, True, (16, 2, 1.0)),
    ],
)
def test_one_actor_is_run_in_this_process_and_several_on_ray(machine, cores, gpus, num_tasks, is_small, wanted):
    machine(cores, gpus)
    pool = choose_engine(Resources(), num_tasks, is_small=is_small).pool
    assert (pool and (pool.cores, pool.lanes, pool.num_gpus)) == wanted
    if pool is not None:
        assert (pool.size, pool.apart) == (1, False)


def test_what_is_asked_for_is_taken(machine, monkeypatch):
    machine(2)
    for resources in ({"engine": "ray"}, {"decode": "apart"}, {"actors": 2}):
        assert choose_engine(Resources(**resources), 100, is_small=True).pool is None
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert str(choose_engine(Resources(), 1, is_small=True)) == "Ray, since RAY_ADDRESS names a cluster"
    asked = choose_engine(Resources(engine="in-process", cpus_per_actor=1), 100, is_small=False)
    assert str(asked) == "in-process, since [resources] engine asks for it"
    assert (asked.pool.cores, asked.pool.lanes) == (1, 1)


@pytest.mark.parametrize("other", [{"decode": "apart"}, {"actors": 2}])
def test_in_process_and_several_actors_are_refused_with_both_names(other):
    with pytest.raises(ValueError, match=r'engine="in-process".*decode=.*actors='):
        Resources(engine="in-process", **other)


def test_a_run_is_small_by_what_is_left_of_it(machine):
    machine(16)
    large = run_header(num_parts=100, num_units=2000, num_bytes=50 * SMALL_RUN_BYTES)
    assert engine_for(Resources(), large, 100).pool is None
    assert engine_for(Resources(), large, 2).pool is not None
    many = replace(large, num_units=200_000, num_bytes=0)  # values of a table, whose size nobody knows
    assert engine_for(Resources(), many, 100).pool is None


# The same as on Ray


@pytest.mark.ray
def test_both_engines_publish_the_same_rows(archive, tmp_path, rows, caplog):
    caplog.set_level("INFO", logger="emosphere")
    results = {
        engine: score(request_for(archive, tmp_path / engine, engine=engine)) for engine in ("in-process", "ray")
    }
    for table in ("segments", "recordings"):
        assert_same_rows(*(rows(tmp_path / engine, table) for engine in results))
    counted = [{**result, "run_id": "", "wall_s": 0, "out": ""} for result in results.values()]
    assert counted[0] == counted[1]
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("engine: ")]
    assert lines == [f"engine: {name}, since [resources] engine asks for it" for name in ("in-process", "Ray")]


def program(root: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.pipelines.score.driver_modules", *map(str, words)]
    return subprocess.run(command, cwd=root, env=os.environ | environment, capture_output=True, text=True, timeout=300)


def test_ray_is_not_even_imported(archive, tmp_path, root):
    """Nor is anything needed that only Ray needs: a home, a short TMPDIR, shared memory."""
    long = tmp_path / ("long " * 30)
    long.mkdir()
    assert len(str(long)) > 108  # the longest name of a socket
    done = program(root, archive, tmp_path / "out", "auto", HOME="/proc/no/home", TMPDIR=str(long))
    assert done.stdout.splitlines()[-1:] == ["3 True False False"], done.stderr
    assert os.listdir(long) == []


@pytest.mark.ray
def test_on_ray_the_driver_does_without_torch(archive, tmp_path, root):
    done = program(root, archive, tmp_path / "out", "ray")
    assert done.stdout.splitlines()[-1:] == ["3 False True True"], done.stderr


def test_what_an_actor_raises_ends_the_run_in_words(archive, tmp_path, monkeypatch):
    """In those in which Ray's report is told; what was staged stays."""
    real, out = Ledger.write_staged_part, tmp_path / "out"

    def breaking(self, run_id, part, table):
        if part == 3:
            raise ZeroDivisionError("nobody foresaw this.")
        real(self, run_id, part, table)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "write_staged_part", breaking)
        with pytest.raises(MachineError) as raised:
            score(request_for(archive, out))
    assert str(raised.value) == "Scoring stopped: ZeroDivisionError: nobody foresaw this. The same command resumes."
    assert list(out.rglob("staging/part-*.parquet"))
    assert score(request_for(archive, out))["scored"] == 3


# Ended from without


@pytest.mark.parametrize("moment", ["decoding", "staging"])
def test_an_actor_that_is_closed_stages_nothing_more(archive, tmp_path, monkeypatch, moment):
    """Above all no rows about decoders that died with the run."""
    began, closed, take = threading.Event(), threading.Event(), PartDecoding._take

    def take_slowly(self):
        began.set()
        time.sleep(0.3)
        return take(self)

    def staged_late(*args, **kwargs):
        began.set()
        assert closed.wait(60)
        return staged_part(*args, **kwargs)

    if moment == "decoding":
        monkeypatch.setattr(PartDecoding, "_take", take_slowly)
    else:
        monkeypatch.setattr("pipelines.score.run.actor.staged_part", staged_late)
    out = locate(str(tmp_path / "out"))
    header = planned(archive, out, ScoreSettings())
    actor = ScoreParts(Ledger(out), header, "default", ScoreSettings(), POOL)
    [lane] = actor._lanes
    answers: list[dict] = []
    call = threading.Thread(target=lambda: answers.append(actor({"part": np.array([0])})))
    call.start()
    assert began.wait(60)
    actor.close()
    closed.set()
    call.join(60)
    [answer] = answers
    assert "was ended; the same command resumes" in answer["error"][0]
    assert not list((tmp_path / "out").rglob("staging/*"))
    assert all(decoder._child is None for _, decoder in lane.decoders.pairs)
    assert "was ended" in actor({"part": np.array([0])})["error"][0]


def test_a_decoder_that_hangs_ends_in_a_stall_and_leaves_nothing(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    out, hanging = tmp_path / "out", threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(IsolatedDecoder, "open", lambda *_, **__: hanging.wait(60))
        began = time.monotonic()
        with pytest.raises(Stalled, match="stall_timeout_s"):
            score(request_for(archive, out, stall_timeout_s=3.0))
        assert time.monotonic() - began < 30
    hanging.set()
    assert os.listdir(tmp_path / "scratch") == []
    assert not list(out.rglob("staging/*"))
    assert score(request_for(archive, out))["scored"] == 3


@pytest.fixture
def many(archive):
    for number in range(NUM_COPIES):
        shutil.copy(archive / "a.wav", archive / f"again-{number:02d}.wav")
    return archive


class Command:
    """``emosphere score`` in a process group of its own, with a mark in its environment and a scratch disk."""

    def __init__(self, archive: Path, folder: Path, root: Path) -> None:
        self.out, self.scratch, self.mark = folder / "out", folder / "scratch", f"EMOSPHERE_TEST_MARK={folder}"
        self.scratch.mkdir()
        (folder / "settings.toml").write_text("[plan]\npart_units = 1\n")
        command = [sys.executable, "-m", "jobs.score", str(archive), "--out", str(self.out), "--json",
                   "--config", str(folder / "settings.toml")]  # fmt: skip
        environment = os.environ | dict([self.mark.split("=")]) | {"TMPDIR": str(self.scratch)}
        self.run = lambda: subprocess.Popen(
            command, cwd=root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
            # A shell starts what runs in its background deaf to Ctrl-C, and with it all that this test starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        self.process = self.run()

    def wait_for_parts(self, count: int) -> None:
        deadline = time.monotonic() + 120
        while len(list(self.out.glob("_emosphere/runs/*/staging/part-*.parquet"))) < count:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def marked(self) -> list[int]:
        """Processes with the mark, decoders among them."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
        return found

    def wait_until_alone(self) -> None:
        deadline = time.monotonic() + 20
        while left := self.marked():
            assert time.monotonic() < deadline, left
            time.sleep(0.1)


@pytest.fixture
def command(many, tmp_path, root):
    return Command(many, tmp_path, root)


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM to all"])
def test_a_run_that_is_stopped_says_so_and_resumes(command, how, rows):
    """No recording is said to be broken since its decoder was stopped too; nothing is left running, nor on the disk."""
    command.wait_for_parts(3)
    if how == "Ctrl-C":  # a terminal signals the whole group
        os.killpg(command.process.pid, signal.SIGINT)
    else:  # a service manager every process
        for pid in command.marked():
            os.kill(pid, signal.SIGTERM)
    out, err = command.process.communicate(timeout=60)
    assert (command.process.returncode, json.loads(out)) == (1, {"error": "interrupted", "exit_code": 1}), err
    assert "interrupted; the same command resumes" in err
    assert os.listdir(command.scratch) == []
    command.wait_until_alone()
    assert_resumes(command, rows)


def test_a_run_that_is_killed_leaves_what_the_next_one_sweeps(command, rows):
    command.wait_for_parts(3)
    command.process.kill()
    command.process.communicate()
    command.wait_until_alone()
    assert_resumes(command, rows)
    assert os.listdir(command.scratch) == []


def assert_resumes(command: Command, rows) -> None:
    again = command.run()
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert "resuming run" in err
    assert "engine: in-process, since" in err
    assert (json.loads(out)["scored"], json.loads(out)["failed"]) == (NUM_COPIES + 3, 2)
    assert set(rows(command.out, "recordings")["error_code"].dropna()) == {"EMPTY", "UNSUPPORTED"}
