"""One part through one actor, without a cluster: a decoder that dies or stalls costs its own recording."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas
import pytest
import soundfile
import torch

from emosphere.audio.decoding.child import IsolatedDecoder
from emosphere.audio.decoding.decode import DecodeLimits
from emosphere.errors import BadCheckpoint, MachineError
from emosphere.inference import Scorer
from emosphere.store import locate
from pipelines.archive.fetch import Fetcher
from pipelines.score.run.actor import ScoreParts
from pipelines.score.run.decoders import PartDecoding
from pipelines.score.settings import PlanSettings, ScoreSettings
from pipelines.score.unit import FIRST_FAILED
from tests.pipelines.headers import open_ledger
from tests.pipelines.score.run.running import POOL, planned, staged, staged_rows
from tests.rounding import assert_same_rows

ROOT = Path(__file__).parents[4]
MISBEHAVING_CHILD = ROOT / "tests/emosphere/audio/decoding/misbehaving_child.py"


@pytest.fixture
def run(tmp_path):
    """Score an archive in this process; staged rows by file name."""
    return lambda archive, *args, **kwargs: staged(archive, tmp_path / "out", *args, **kwargs)


def test_lanes_side_by_side_stage_the_rows_of_one(run, archive, monkeypatch):
    settings = ScoreSettings(plan=PlanSettings(part_units=1))
    alone = run(archive, settings)
    shutil.rmtree(archive.parent / "out")
    real, meeting, seen = Scorer.score_cells, threading.Barrier(2), []

    def meet(self, events):
        """The first two parts wait for each other: one after the other they would wait in vain."""
        seen.append((threading.get_ident(), torch.get_num_threads()))
        if len(seen) <= 2:
            meeting.wait(timeout=60)
        return real(self, events)

    monkeypatch.setattr(Scorer, "score_cells", meet)
    together = run(archive, settings, pool=replace(POOL, cores=4, decoders=2, lanes=2))
    assert len(seen) > 2
    assert {threads for _, threads in seen} == {1}
    assert len({thread for thread, _ in seen}) == 2
    for rows in (alone, together):
        for row in rows.values():
            for name in ("scored_at", "unit_id"):
                del row[name]
    assert together == alone


def test_making_an_actor_leaves_no_threads(tmp_path):
    """Beside a team of OpenMP's, the teams of the threads that compute would sleep at each barrier."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipelines.score.run.actor_threads", str(tmp_path / "out")],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "4"}, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    before, after = map(int, done.stdout.split())
    assert after == before


def test_segments_of_a_copied_channel_are_not_counted(tmp_path, voice):
    (tmp_path / "archive").mkdir()
    soundfile.write(tmp_path / "archive/twins.wav", np.stack([voice[: 16 * 20_000]] * 2, axis=1), 16_000)
    out = locate(str(tmp_path / "out"))
    header = planned(tmp_path / "archive", out, ScoreSettings())
    ledger = open_ledger(out)
    actor = ScoreParts(ledger, header, "default", ScoreSettings(), POOL)
    counted = actor({"part": np.array([0])})["segments"]
    actor.close()
    [row] = staged_rows(ledger)
    assert row["distinct_channels"] == [0]
    assert list(counted) == [len(row["segments"]) / 2]


def test_a_model_that_only_the_actor_finds_unfit_is_refused_in_words(run, archive, monkeypatch):
    def unfit(folder):
        raise BadCheckpoint("3 tensors do not fit config.json")

    monkeypatch.setattr("emosphere.model.checkpoint.load_checkpoint", unfit)
    with pytest.raises(MachineError, match="3 tensors do not fit"):
        run(archive)


@pytest.mark.parametrize(("misbehaviour", "code"), [("die", "CRASHED"), ("spin", "TIMED_OUT"), ("grow", "REFUSED")])
def test_a_decoder_that_misbehaves_costs_one_recording(run, archive, monkeypatch, misbehaviour, code):
    (archive / "b.flac").rename(archive / f"{misbehaviour}.flac")
    undisturbed = run(archive)
    shutil.rmtree(archive.parent / "out")
    decoder = partial(IsolatedDecoder, program=(str(MISBEHAVING_CHILD),))
    monkeypatch.setattr("pipelines.score.run.decoders.IsolatedDecoder", decoder)
    # Only who spins has to be waited for; a busy machine may take its time over dying.
    stall_timeout_s = 6.0 if misbehaviour == "spin" else 120.0
    rows = run(archive, ScoreSettings(decode=DecodeLimits(stall_timeout_s=stall_timeout_s, max_memory_bytes=1 << 30)))
    assert undisturbed[f"{misbehaviour}.flac"]["error_code"] is None
    assert rows[f"{misbehaviour}.flac"]["error_code"] == code
    assert rows[f"{misbehaviour}.flac"]["segments"] == []
    for name in ("a.wav", "c.wav", "silent.wav", "empty.mp3", "text.wav"):
        assert rows[name]["error_code"] == undisturbed[name]["error_code"]
        assert len(rows[name]["segments"]) == len(undisturbed[name]["segments"])
    assert len(rows["a.wav"]["segments"]) > 0


@pytest.mark.parametrize("unit_bytes", [32 << 20, 100_000])
def test_duplicates_scored_once_have_the_rows_of_all_scored(run, archive, monkeypatch, unit_bytes):
    """Each under its own name; bytes of the same length are no duplicates; each is hashed."""
    (archive / "later").mkdir()
    for name in ("a.wav", "c.wav", "text.wav", "silent.wav"):
        shutil.copy(archive / name, archive / "later" / f"again-{name}")
    cut = (archive / "a.wav").read_bytes()[:-1_000]
    (archive / "as-long-as-a.wav").write_bytes(cut + bytes(1_000))  # the same size is not the same content
    all_scored = run(archive, ScoreSettings(plan=PlanSettings(unit_bytes=unit_bytes)))
    shutil.rmtree(archive.parent / "out")
    opened: list[tuple[str, float]] = []
    real_open = IsolatedDecoder.open

    def counting(self, path, start_s=0.0):
        opened.append((path.rpartition("/")[2].removeprefix("again-"), start_s))
        return real_open(self, path, start_s)

    monkeypatch.setattr(IsolatedDecoder, "open", counting)
    rows = run(archive, ScoreSettings(plan=PlanSettings(unit_bytes=unit_bytes, score_duplicates_once=True)))
    for name in ("a.wav", "c.wav", "text.wav", "silent.wav"):
        assert opened.count((name, 0.0)) == rows[name]["num_units"]  # each span opens at 0 first, to read the header
        assert rows[name]["content_digest"] == rows[f"again-{name}"]["content_digest"]
        digest = hashlib.sha256((archive / name).read_bytes()).hexdigest()
        assert rows[name]["content_digest"] == digest
    assert rows["as-long-as-a.wav"]["content_digest"] != rows["a.wav"]["content_digest"]
    assert ("as-long-as-a.wav", 0.0) in opened
    assert rows.keys() == all_scored.keys()
    for name in rows:
        for column in all_scored[name].keys() - {"unit_id", "scored_at", "content_digest", "segments"}:
            assert rows[name][column] == all_scored[name][column]
        assert_same_rows(pandas.DataFrame(rows[name]["segments"]), pandas.DataFrame(all_scored[name]["segments"]))


def test_a_surprise_is_that_recordings_own_and_is_tried_again(run, archive, monkeypatch):
    real_path = Fetcher.local_path

    def surprising(self, recording):
        if recording.source_uri.endswith("a.wav"):
            raise ZeroDivisionError("nobody foresaw this")
        return real_path(self, recording)

    monkeypatch.setattr(Fetcher, "local_path", surprising)
    rows = run(archive)
    assert rows["a.wav"]["error_code"] == "INTERNAL"
    assert "ZeroDivisionError: nobody foresaw this" in rows["a.wav"]["error_message"]
    assert rows["c.wav"]["segments"]


def test_a_broken_machine_is_a_crash_and_never_a_row(run, archive, monkeypatch, tmp_path):
    def full(self, recording):
        raise MachineError("No space left on device")

    monkeypatch.setattr(Fetcher, "local_path", full)
    with pytest.raises(MachineError, match="No space left"):
        run(archive)
    assert not list((tmp_path / "out").rglob("staging/*"))


def test_a_worker_with_another_model_refuses_to_score(run, archive):
    with pytest.raises(MachineError, match="the run's is 000000000000"):
        run(archive, model_digest="000000000000")


@pytest.fixture
def twins(archive):
    """Two recordings of the same bytes, and nothing else."""
    for path in archive.iterdir():
        if path.name != "a.wav":
            path.unlink()
    shutil.copy2(archive / "a.wav", archive / "again-a.wav")
    return archive


ONCE = ScoreSettings(plan=PlanSettings(score_duplicates_once=True))


def growing(monkeypatch, archive, *, when_new: bool) -> list[str]:
    """The first of two twins, or the second, grows once it has been hashed; its name."""
    grown: list[str] = []
    real = PartDecoding._find_first

    def hashing(self, row, path):
        digest, first = real(self, row, path)
        if (first is None) == when_new and not grown:
            grown.append(path.rpartition("/")[2])
            with open(path, "ab") as file:
                file.write(b"more")
        return digest, first

    monkeypatch.setattr(PartDecoding, "_find_first", hashing)
    return grown


def test_a_duplicate_that_changes_while_it_is_read_gets_no_scores(run, twins, monkeypatch):
    """Those of the first one are not of its bytes any more."""
    grown = growing(monkeypatch, twins, when_new=False)
    rows = run(twins, ONCE)
    [changed] = grown
    [other] = rows.keys() - {changed}
    assert rows[changed]["error_code"] == "FETCH_FAILED"
    assert "changed after it was listed" in rows[changed]["error_message"]
    assert rows[changed]["segments"] == []
    assert rows[other]["segments"]


def test_a_duplicate_of_a_passing_failure_is_tried_again(run, twins, monkeypatch):
    """Its message says that another one failed, and not how: that is the other's own."""
    grown = growing(monkeypatch, twins, when_new=True)
    rows = run(twins, ONCE)
    [changed] = grown
    [other] = rows.keys() - {changed}
    assert "changed after it was listed" in rows[changed]["error_message"]
    assert (rows[other]["error_code"], rows[other]["error_message"]) == ("FETCH_FAILED", FIRST_FAILED)
    assert rows[other]["segments"] == []


def test_a_recording_without_a_twin_is_hashed_once(run, archive, monkeypatch):
    """With its first unit, which knows the digest for all of them."""
    shutil.copy(archive / "a.wav", archive / "again-a.wav")
    hashed: list[str] = []
    opened: list[str] = []
    real_digest, real_open = hashlib.file_digest, IsolatedDecoder.open

    def hashing(file, algorithm):
        if file.name.startswith(str(archive)):  # the model is hashed too
            hashed.append(file.name.rpartition("/")[2])
        return real_digest(file, algorithm)

    def opening(self, path, start_s=0.0):
        opened.append(path.rpartition("/")[2].removeprefix("again-"))
        return real_open(self, path, start_s)

    monkeypatch.setattr(hashlib, "file_digest", hashing)
    monkeypatch.setattr(IsolatedDecoder, "open", opening)
    rows = run(archive, ScoreSettings(plan=PlanSettings(unit_bytes=50_000, score_duplicates_once=True)))
    assert rows["c.wav"]["num_units"] > 2
    sounds = sorted({name for name, row in rows.items() if row["error_code"] != "EMPTY"})
    # The twins' parts hold one span each; of what has no twin only the first unit is hashed.
    assert hashed.count("c.wav") == hashed.count("b.flac") == 1
    assert sorted(set(hashed)) == sounds
    assert len(hashed) <= len(sounds) + 2 * (rows["a.wav"]["num_units"] - 1)


def test_two_spans_of_a_recording_in_one_part_are_hashed_once(run, archive, monkeypatch):
    shutil.copy(archive / "a.wav", archive / "again-a.wav")
    needed: list[tuple[PartDecoding, str]] = []
    hashed: list[str] = []
    real_digest, real_file_digest = PartDecoding._digest, hashlib.file_digest

    def counting(self, recording_id, path):
        needed.append((self, recording_id))
        return real_digest(self, recording_id, path)

    def hashing(file, algorithm):
        if file.name.startswith(str(archive)):
            hashed.append(file.name)
        return real_file_digest(file, algorithm)

    monkeypatch.setattr(PartDecoding, "_digest", counting)
    monkeypatch.setattr(hashlib, "file_digest", hashing)
    run(archive, ScoreSettings(plan=PlanSettings(unit_bytes=50_000, score_duplicates_once=True)))
    assert len(needed) > len(set(needed)) == len(hashed)


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ESTALE])
def test_a_machine_that_breaks_while_decoding_is_no_row(run, archive, monkeypatch, number):
    def breaking(self, path, start_s=0.0):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(IsolatedDecoder, "open", breaking)
    with pytest.raises(MachineError, match="then run again"):
        run(archive)


def test_a_file_that_vanishes_before_it_is_decoded_is_not_found(run, archive, monkeypatch):
    real_open = IsolatedDecoder.open

    def open_late(self, path, start_s=0.0):
        if path.endswith("b.flac"):
            os.unlink(path)
        return real_open(self, path, start_s)

    monkeypatch.setattr(IsolatedDecoder, "open", open_late)
    rows = run(archive)
    assert rows["b.flac"]["error_code"] == "NOT_FOUND"
    assert rows["a.wav"]["segments"]
