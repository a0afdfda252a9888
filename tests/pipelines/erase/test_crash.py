"""An erasure that dies, sleeps or meets a run: no reader sees half a recording, and the same command finishes."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from emosphere.store import Location, locate
from emosphere.tables.identity import recording_id
from pipelines.erase import command as erasing
from pipelines.erase.command import erase
from pipelines.erase.target import Target
from pipelines.output.fence import Fence, Held
from pipelines.output.lease import Lease
from pipelines.output.ledger import Ledger
from pipelines.score.command import score
from pipelines.score.request import ScoreRequest
from tests.pipelines.erase.erased import all_text, assert_whole, names, uri


class Died(BaseException):
    pass


def dying(patch: pytest.MonkeyPatch, after: int) -> None:
    """Die at one write, whichever kind it is; signs of life of the lease do not count."""
    left = [after]

    def counted(name: str):
        real = getattr(Location, name)

        def act(self, *args):
            if "/lease/" not in self.path:
                left[0] -= 1
                if left[0] < 0:
                    raise Died
            return real(self, *args)

        patch.setattr(Location, name, act)

    for name in ("write_bytes", "create_bytes", "publish_to", "remove"):
        counted(name)


def test_death_at_any_write_is_finished_by_the_same_command(made, home, monkeypatch):
    """And until then readers see whole recordings."""
    folder = uri(made, "customer-17")
    for moment in range(100):
        out = home / f"out{moment}"
        shutil.copytree(home / "out", out)
        with monkeypatch.context() as patch:
            dying(patch, moment)
            try:
                erase(str(out), Target(uri=folder))
                break
            except Died:
                pass
        assert_whole(out)
        assert erase(str(out), Target(uri=folder), verify=True)["verified"]
        assert names(out) == {"customer-170/c.flac", "d.flac"}
        assert folder + "/" not in all_text(out)
        assert_whole(out)
    assert moment > 8, "it writes more often than that"


@pytest.mark.parametrize("moment", [0, 4])
def test_a_run_finishes_a_dead_erasure_first(made, home, monkeypatch, moment):
    out, real = home / "out", erasing.begin_erasing

    def begin_and_die(*args: object) -> None:
        real(*args)
        dying(patch, moment)

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(erasing, "begin_erasing", begin_and_die)
        erase(str(out), Target(speaker="Ann"))
    assert Ledger(locate(str(out))).state().erasing
    result = score(ScoreRequest(archives=(str(made / "archive/d.flac"),), out=str(out)))
    assert (result["recordings"], result["skipped_policy"]) == (1, 1)
    assert not Ledger(locate(str(out))).state().erasing
    assert not list((out / "_emosphere").glob("erasing/*"))
    assert recording_id(uri(made, "d.flac")) not in all_text(out)
    assert_whole(out)


def test_kill_9_in_the_middle_and_the_same_command_again(made, home, root):
    out, folder = home / "out", uri(made, "customer-17")
    command = [sys.executable, "-m", "tests.pipelines.erase.killed", str(out), folder]
    killed = subprocess.run(command, cwd=root, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert_whole(out)
    assert names(out) != names(out, "segments"), "recordings go first"
    assert erase(str(out), Target(uri=folder), verify=True)["verified"]
    assert_whole(out)


def test_while_a_run_is_at_work_nothing_is_erased(made, home, monkeypatch):
    from pipelines.output import lease as leases

    monkeypatch.setattr(leases, "BEAT_S", 0.1)
    monkeypatch.setattr(leases, "POLL_S", 0.1)
    out = home / "out"
    running = Lease(locate(str(out)).child("_emosphere", "lease"), "run 1")
    running.acquire()
    before = all_text(out)
    with pytest.raises(Held, match="run 1"):
        erase(str(out), Target(uri=uri(made, "customer-17")))
    running.release()
    assert [line for line in all_text(out).splitlines() if "beat" not in line and "released" not in line] == [
        line for line in before.splitlines() if "beat" not in line and "released" not in line
    ]


def test_the_lease_is_checked_right_before_every_write(made, home, monkeypatch):
    """An erasure that is overtaken writes nothing after the next check: no two writes into what others see in a row."""
    out, events = home / "out", []
    gone = uri(made, "customer-17")
    (out / "_emosphere/runs/failed.json").write_text(json.dumps({"error": f"{gone}/b.flac: no."}))

    def noted(kind: object, name: str, what: str) -> None:
        real = getattr(kind, name)

        def act(*args, **options):
            path = str(args[-1]) if what == "wrote" else ""
            if "/lease/" not in path and not path.endswith(".tmp"):
                events.append((what, path))
            return real(*args, **options)

        monkeypatch.setattr(kind, name, act)

    noted(Fence, "check", "checked")
    for name in ("link", "replace", "remove"):  # what gives a file its name, or takes it away
        noted(os, name, "wrote")
    monkeypatch.setattr("pipelines.output.writer.check_offers", lambda out: None)
    erase(str(out), Target(uri=gone))
    unchecked = [
        path
        for (before, _), (what, path) in zip([("", ""), *events], events, strict=False)
        if what == "wrote" and before != "checked"
    ]
    assert unchecked == []
    assert sum(what == "wrote" for what, _ in events) > 8
