"""Night after night: late files, changed files, failures that pass, two runs at once, a run that stands still."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas.testing
import pyarrow as pa
import pytest
import soundfile

from emosphere.errors import BadRecording, MachineError, UsageError
from emosphere.store import locate
from pipelines.archive.dates import Window
from pipelines.archive.fetch import Fetcher
from pipelines.output import fence as fences
from pipelines.output import lease as leases
from pipelines.output.fence import Held, Overtaken
from pipelines.output.lease import Lease, describe
from pipelines.output.ledger import Ledger, parquet_bytes, read_parquet
from pipelines.score import command as scoring
from pipelines.score.command import TooManyFailures, score
from pipelines.score.job import Job
from pipelines.score.plan import due as planning
from pipelines.score.publish import replace as publishing
from pipelines.score.request import ScoreRequest
from pipelines.score.run.stalled import Stalled, within_deadline
from pipelines.score.settings import PlanSettings, ScoreSettings

SMALL_PARTS = ScoreSettings(plan=PlanSettings(part_units=1))


def request_for(archive: object, out: Path, **changes) -> ScoreRequest:
    return replace(ScoreRequest(archives=(str(archive),), out=str(out), dt="2026-11-20"), **changes)


def home_of(out: Path):
    return locate(str(out)).child("_emosphere", "lease")


def elsewhere(out: Path) -> Lease:
    """The lease of another machine."""
    other = Lease(home_of(out), "run other")
    other._me = other._me._replace(machine="another", host="another")
    return other


@pytest.fixture
def quick(monkeypatch):
    for name, value in (("BEAT_S", 0.05), ("SILENCE_S", 0.5), ("POLL_S", 0.02)):
        monkeypatch.setattr(leases, name, value)
    monkeypatch.setattr(fences, "SILENCE_S", 0.5)


# Failures that may pass


def test_a_passing_failure_is_tried_again_by_another_night(archive, tmp_path, rows, monkeypatch):
    """Whose window it is outside of."""
    out, day = tmp_path / "out", 86_400
    for path in archive.iterdir():
        os.utime(path, (day, day))
    for name in ("c.wav", "text.wav"):
        os.utime(archive / name, (2 * day, 2 * day))
    windows = [Window(since_us=number * day * 1_000_000, until_us=(number + 1) * day * 1_000_000) for number in (1, 2)]
    real_path = Fetcher.local_path

    def missing_tonight(self, recording):
        if recording.source_uri.endswith("a.wav"):
            raise BadRecording("FETCH_FAILED", "The store did not answer.")
        return real_path(self, recording)

    monkeypatch.setattr(Fetcher, "local_path", missing_tonight)
    first = score(request_for(archive, out, window=windows[0]))
    assert (first["recordings"], first["failed"]) == (4, 2)  # a.wav, and one that is empty for good
    monkeypatch.setattr(Fetcher, "local_path", real_path)
    second = score(request_for(archive, out, window=windows[1], dt="2026-11-21"))
    assert (second["recordings"], second["scored"], second["failed"]) == (3, 2, 1)  # its own two, and a.wav
    recordings = rows(out, "recordings").set_index("source_uri")
    again = recordings[recordings.index.str.endswith("/a.wav")].iloc[0]
    assert (again["status"], again["attempts"], again["dt"]) == ("scored", 2, "dt=2026-11-20")
    assert len(recordings) == 6


# A run that was refused for its failures


def test_late_files_join_a_refused_run_and_count_with_it(archive, tmp_path, rows, voice):
    out = tmp_path / "out"
    with pytest.raises(TooManyFailures, match="2 of 6"):
        score(request_for(archive, out, max_error_rate=0.2))
    soundfile.write(archive / "late1.wav", voice[: 16 * 4_000], 16_000)
    with pytest.raises(TooManyFailures, match="2 of 7"):
        score(request_for(archive, out, max_error_rate=0.2))
    assert not (out / "recordings").exists()
    for number in (2, 3, 4):
        soundfile.write(archive / f"late{number}.wav", voice[16_000 * number :][: 16 * 4_000], 16_000)
    result = score(request_for(archive, out, max_error_rate=0.2))
    assert (result["recordings"], result["failed"], result["skipped"]) == (10, 2, 0)
    recordings = rows(out, "recordings", keep=("run_id",))
    assert len(recordings) == 10
    assert recordings["run_id"].nunique() == 1
    assert score(request_for(archive, out))["skipped"] == 10


def test_a_mended_file_replaces_its_failure_in_a_refused_run(archive, tmp_path, rows, voice):
    out = tmp_path / "out"
    with pytest.raises(TooManyFailures, match="2 of 6"):
        score(request_for(archive, out, max_error_rate=0.2))
    soundfile.write(archive / "text.wav", voice[: 16 * 4_000], 16_000)
    result = score(request_for(archive, out, max_error_rate=0.2))
    assert (result["recordings"], result["failed"]) == (6, 1)
    recordings = rows(out, "recordings")
    assert len(recordings) == 6
    assert recordings.set_index(recordings["source_uri"].str.rpartition("/")[2])["status"]["text.wav"] == "scored"
    assert recordings["num_segments"].sum() == len(rows(out, "segments")) == result["segments"]


def test_a_passing_failure_of_a_refused_run_is_tried_again(archive, tmp_path, rows, monkeypatch):
    out, real_path = tmp_path / "out", Fetcher.local_path

    def missing_tonight(self, recording):
        if recording.source_uri.endswith("a.wav"):
            raise BadRecording("FETCH_FAILED", "The store did not answer.")
        return real_path(self, recording)

    request = request_for(archive, out, max_error_rate=0.4, settings=SMALL_PARTS)
    with monkeypatch.context() as patch, pytest.raises(TooManyFailures, match="3 of 6"):
        patch.setattr(Fetcher, "local_path", missing_tonight)
        score(request)
    result = score(request)
    assert (result["scored"], result["failed"]) == (3, 2)
    assert len(rows(out, "recordings")) == 6


def test_a_refused_run_is_published_though_its_archive_is_gone(archive, tmp_path, rows):
    out = tmp_path / "out"
    with pytest.raises(TooManyFailures):
        score(request_for(archive, out, max_error_rate=0.2))
    archive.rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="no such file"):  # after it is published
        score(request_for(archive, out, max_error_rate=1.0))
    assert len(rows(out, "recordings")) == 6


# Planning


def test_a_run_killed_while_planning_keeps_its_name(archive, tmp_path, monkeypatch, rows):
    """It is planned anew."""
    out = tmp_path / "out"
    request = request_for(archive, out, settings=SMALL_PARTS)
    real = Ledger.write_plan_part

    def die(self, run_id, part, table) -> None:
        if part == 3:
            raise KeyboardInterrupt
        real(self, run_id, part, table)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Ledger, "write_plan_part", die)
        score(request)
    [begun] = Ledger(locate(str(out))).state().run_ids
    (archive / "b.flac").unlink()  # the new plan is shorter; old parts must not come back
    result = score(request)
    assert result["run_id"] == begun
    assert len(rows(out, "recordings")) == result["recordings"] == 5


def test_a_run_whose_plan_an_earlier_version_sealed_is_not_lost(archive, tmp_path, monkeypatch, rows):
    """It could not be read: its recordings are listed, planned and scored again by the command that resumes it."""
    monkeypatch.setenv("EMOSPHERE_ID_KEY", "sixteen bytes or more")
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    score(request_for(archive, undisturbed))
    with monkeypatch.context() as patch, pytest.raises(MachineError):
        patch.setattr(scoring, "score_parts", lambda *args: (_ for _ in ()).throw(MachineError("a power cut")))
        score(request_for(archive, out))
    plans = list(out.rglob("plan/part-*.parquet"))
    assert plans
    for path in plans:
        plan = read_parquet(locate(str(path)))
        sealed = pa.array([b"sealed:" + b"AAAA" * 20] * len(plan), pa.binary())
        path.write_bytes(parquet_bytes(plan.set_column(plan.schema.get_field_index("url"), "url", sealed)))
    result = score(request_for(archive, out))
    assert (result["scored"], result["no_speech"], result["failed"]) == (3, 1, 2)
    for table in ("segments", "recordings"):
        found, wanted = (rows(one, table).drop(columns="attempts", errors="ignore") for one in (out, undisturbed))
        pandas.testing.assert_frame_equal(found, wanted, atol=1e-4)
    assert score(request_for(archive, out))["skipped"] == 6


def test_a_finished_archive_is_not_read_and_takes_no_lease(archive, tmp_path, monkeypatch):
    out = tmp_path / "out"
    score(request_for(archive, out))
    before = sorted(path.name for path in (out / "_emosphere/lease").iterdir())
    monkeypatch.setattr("pipelines.score.command.score_parts", lambda *args: pytest.fail("nothing was to be scored"))
    assert score(request_for(archive, out))["skipped"] == 6
    assert sorted(path.name for path in (out / "_emosphere/lease").iterdir()) == before


# Two at once


def test_a_second_run_meets_a_live_one_and_does_nothing(quick, archive, tmp_path):
    out = tmp_path / "out"
    other = elsewhere(out)
    other.acquire()
    with pytest.raises(Held, match=r"run other \(host another") as refused:
        score(request_for(archive, out))
    other.release()
    assert refused.value.exit_code == 1
    assert [path.name for path in (out / "_emosphere").iterdir()] == ["lease"]


def test_overtaken_while_publishing_it_publishes_no_more(quick, archive, tmp_path, monkeypatch, rows):
    """It sleeps before a write; when it wakes up, the file is another's to write."""
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    score(request_for(archive, undisturbed))
    real, successors = publishing._replace, []

    def sleep_before_recordings(ledger, path, table, *args):
        if table == "recordings":
            successor = elsewhere(out)
            monkeypatch.setattr(successor, "_is_dead", lambda *holder: True)
            successor.acquire()
            successors.append(successor)
        return real(ledger, path, table, *args)

    with monkeypatch.context() as patch, pytest.raises(Overtaken, match="taken over by run other"):
        patch.setattr(publishing, "_replace", sleep_before_recordings)
        score(request_for(archive, out))
    assert not (out / "recordings").exists()
    results = [path for path in (out / "_emosphere/runs").iterdir() if path.suffix == ".json"]
    assert not results, "who was overtaken has no say any more"
    successors[0].release()
    assert score(request_for(archive, out))["scored"] == 3
    for table in ("segments", "recordings"):
        pandas.testing.assert_frame_equal(rows(out, table), rows(undisturbed, table))
    assert describe(home_of(out)) == "free"


def overtake(out: Path, monkeypatch: pytest.MonkeyPatch) -> Lease:
    successor = elsewhere(out)
    monkeypatch.setattr(successor, "_is_dead", lambda *holder: True)
    successor.acquire()
    return successor


def test_overtaken_while_planning_it_leaves_the_plan(quick, archive, tmp_path, monkeypatch):
    """The same command takes over under the same name, and its plan may be another."""
    out, real, successors = tmp_path / "out", planning.write_plan, []

    def sleep_before_planning(*args, **kwargs):
        successors.append(overtake(out, monkeypatch))
        return real(*args, **kwargs)

    monkeypatch.setattr(planning, "write_plan", sleep_before_planning)
    with pytest.raises(Overtaken):
        score(request_for(archive, out))
    assert not [path for path in (out / "_emosphere/runs").rglob("*") if path.is_file()]
    successors[0].release()


def test_overtaken_before_it_begins_it_leaves_the_pointer(quick, archive, tmp_path, monkeypatch):
    out, successors, real = tmp_path / "out", [], Job.new_header

    def sleep_before_begin(*args):
        successors.append(overtake(out, monkeypatch))
        return real(*args)

    monkeypatch.setattr(Job, "new_header", sleep_before_begin)
    with pytest.raises(Overtaken):
        score(request_for(archive, out))
    assert not (out / "_emosphere/state.json").exists()
    successors[0].release()


def test_overtaken_and_failed_it_stores_no_result(quick, archive, tmp_path, monkeypatch):
    out, successors = tmp_path / "out", []

    def fail(*args) -> None:
        successors.append(overtake(out, monkeypatch))
        raise MachineError("the plan is gone")

    monkeypatch.setattr(scoring, "score_parts", fail)
    with pytest.raises(Overtaken) as told:
        score(request_for(archive, out))
    assert str(told.value.__cause__) == "the plan is gone"
    assert not list((out / "_emosphere/runs").glob("*.json"))
    successors[0].release()


def test_overtaken_while_scoring_it_notices_between_parts(quick, archive, tmp_path, monkeypatch):
    out = tmp_path / "out"
    taken = []

    def overtake(progress) -> None:
        if not taken:
            taken.append(elsewhere(out))
            monkeypatch.setattr(taken[0], "_is_dead", lambda *holder: True)
            taken[0].acquire()
        time.sleep(0.3)

    with pytest.raises(MachineError, match="taken over by run other"):
        score(request_for(archive, out, settings=SMALL_PARTS), overtake)
    assert len(list(out.rglob("staging/part-*.parquet"))) < 6
    taken[0].release()


def test_on_s3_a_write_of_the_last_moment_is_not_undone(s3, archive, tmp_path, monkeypatch, rows):
    """The last moment, after the fence was asked: the condition of the PUT names the version that was read."""
    out = "s3://tables/stale"
    request = replace(request_for(archive, tmp_path), out=out)
    score(request)
    soundfile.write(archive / "a.wav", [0.0] * 16_000, 16_000)
    real, foreign = type(locate(out)).replace_bytes, "ffffffffffffffffffffffffffffffff"

    def after_another(self, data, etag):
        if "/recordings/" in self.path and foreign not in set(rows(out, "recordings")["recording_id"]):
            table = read_parquet(self)
            row = table.slice(0, 1).set_column(0, table.schema.field(0), [[foreign]])
            self.write_bytes(parquet_bytes(pa.concat_tables([table, row])))
        return real(self, data, etag)

    monkeypatch.setattr(type(locate(out)), "replace_bytes", after_another)
    assert score(request)["skipped"] == 5
    recordings = rows(out, "recordings")
    assert foreign in set(recordings["recording_id"])
    recordings = recordings[recordings["recording_id"] != foreign]  # a copy of whichever row came first
    assert list(recordings.loc[recordings["source_uri"].str.endswith("/a.wav"), "status"]) == ["no_speech"]


def test_of_two_commands_at_once_one_publishes(archive, tmp_path, root, rows):
    """And the other says why it did nothing."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "jobs.score", str(archive), "--out", str(out), "--dt", "2026-11-20", "--json"]
    both = [
        subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=500) for process in both]
    codes = sorted(process.returncode for process in both)
    results = [json.loads(out) for out, _ in answers]
    if codes == [0, 0]:  # one was done before the other had looked
        assert sorted(result["skipped"] for result in results) == [0, 6]
    else:
        assert codes == [0, 1], answers
        [why] = [result["error"] for result in results if "error" in result]
        # By the other run, or by the other command while it is still looking what there is to do.
        assert "is being written by" in why
        assert "since 2" in why
    assert len(rows(out, "recordings")) == 6


# A run that stands still


def test_a_row_that_never_comes_ends_the_run_with_an_error():
    def stuck():
        yield {"part": 0}
        time.sleep(30)

    came = []
    with pytest.raises(Stalled, match=r"Nothing was scored for 0\.2 s .*the same command resumes"):
        came += within_deadline(stuck(), 0.2)
    with pytest.raises(ZeroDivisionError):
        list(within_deadline((1 / 0 for _ in range(1)), 5))
    assert list(within_deadline(iter([{"part": 1}]), 5)) == [{"part": 1}]


def test_a_long_part_with_signs_of_life_is_no_standstill(archive, tmp_path, monkeypatch):
    def slow():
        time.sleep(1)
        yield {"part": 1}

    assert list(within_deadline(slow(), 0.2, iter(range(100)).__next__)) == [{"part": 1}]
    monkeypatch.setattr("pipelines.score.run.actor.SIGN_S", 0.0)
    written = []
    monkeypatch.setattr(Ledger, "end", lambda self, header: written.append(self.signs_of_life(header.run_id)))
    score(request_for(archive, tmp_path / "out"))
    assert written[0]


@pytest.mark.ray
def test_a_run_that_stands_still_ends_and_can_be_resumed(archive, tmp_path, rows, root):
    """Half a second: no actor has even started. In a process of its own, since what stands still goes on waiting."""
    out = tmp_path / "out"
    (tmp_path / "settings.toml").write_text('[resources]\nengine = "ray"\nstall_timeout_s = 0.5\n')
    command = [sys.executable, "-m", "jobs.score", str(archive), "--out", str(out), "--config",
               str(tmp_path / "settings.toml")]  # fmt: skip
    stalled = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert stalled.returncode == MachineError.exit_code
    assert "Nothing was scored for 0.5 s" in stalled.stderr
    assert describe(home_of(out)) == "free"
    assert score(request_for(archive, out))["scored"] == 3
    assert len(rows(out, "recordings")) == 6
