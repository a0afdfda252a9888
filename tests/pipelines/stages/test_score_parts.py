"""One part through one actor, without a cluster: a decoder that dies or stalls costs its own recording."""

import shutil

import numpy as np
import pytest

from emosphere.audio.decode import DecodeLimits
from emosphere.audio.isolation import IsolatedDecoder
from emosphere.errors import MachineError
from emosphere.model.checkpoint import digest_of
from emosphere.model.find import BUNDLED
from emosphere.store import locate
from pipelines.archive.dates import Window
from pipelines.archive.fetch import Fetcher
from pipelines.archive.listing import list_archives
from pipelines.choose import Choice
from pipelines.ledger import Ledger, RunHeader
from pipelines.plan import write_plan
from pipelines.resources import Pool
from pipelines.settings import ScoreSettings
from pipelines.stages.score_parts import ScoreParts

POOL = Pool(size=1, num_cpus=1, num_gpus=0, decoders=2, threads=1)


@pytest.fixture
def run(tmp_path):
    """Score an archive in this process; staged rows by file name."""

    def score(archive, settings: ScoreSettings | None = None, digest: str | None = None) -> dict[str, dict]:
        settings = settings or ScoreSettings()
        out = locate(str(tmp_path / "out"))
        header = RunHeader(
            run_id="run", key="key", dt="2026-11-20", started_at="2026-11-20T00:00:00+00:00", model_name="m",
            model_digest=digest or digest_of(BUNDLED), model_licence="l", settings_digest="s", config={}, archives=[],
            purpose=None, roles={},
        )  # fmt: skip
        ledger = Ledger(out)
        with Choice() as choice:
            choice.take(list_archives([str(archive)], out=out), window=Window())
            choice.judge([], "s")
            final = write_plan(
                ledger, header, choice.batches(), settings, num_recordings=choice.chosen, num_bytes=choice.num_bytes
            )
        actor = ScoreParts(out, final, "default", settings, POOL)
        answer = actor({"part": np.arange(final.num_parts)})
        actor.close()
        if "error" in answer:
            raise MachineError(answer["error"][0])
        rows = [row for part in range(final.num_parts) for row in ledger.staged_part("run", part).to_pylist()]
        assert sorted(row["unit_id"] for row in rows) == list(range(final.num_units))
        return {row["source_uri"].rpartition("/")[2]: row for row in rows}

    return score


@pytest.mark.parametrize(("misbehaviour", "code"), [("die", "CRASHED"), ("spin", "TIMED_OUT"), ("grow", "REFUSED")])
def test_a_decoder_that_misbehaves_costs_one_recording(run, archive, monkeypatch, misbehaviour, code):
    undisturbed = run(archive)
    shutil.rmtree(archive.parent / "out")
    real_open = IsolatedDecoder.open

    def open_badly(self, path, start_s=0.0):
        return real_open(self, path, start_s, misbehave=misbehaviour if path.endswith("b.flac") else None)

    monkeypatch.setattr(IsolatedDecoder, "open", open_badly)
    rows = run(archive, ScoreSettings(decode=DecodeLimits(stall_timeout_s=6.0, max_memory_bytes=1 << 30)))
    assert rows["b.flac"]["error_code"] == code
    assert rows["b.flac"]["segments"] == []
    for name in ("a.wav", "c.wav", "silent.wav", "empty.mp3", "text.wav"):
        assert rows[name]["error_code"] == undisturbed[name]["error_code"]
        assert len(rows[name]["segments"]) == len(undisturbed[name]["segments"])
    assert len(rows["a.wav"]["segments"]) > 0


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
        run(archive, digest="000000000000")
