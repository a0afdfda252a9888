"""Roles: no sound of who is not scored reaches a model, and an exception is declared with a purpose or not at all."""

from pathlib import Path

import duckdb
import numpy as np
import pytest
import soundfile

from emosphere.errors import UsageError
from emosphere.inference import Scorer
from emosphere.speech.cells import Cell
from emosphere.store import locate
from pipelines.cluster.resources import Pool
from pipelines.score.command import score
from pipelines.score.dry_run import preview
from pipelines.score.policy import is_prohibited, withheld_channels, withhold_cells
from pipelines.score.publish.fold import fold_run
from pipelines.score.request import ScoreRequest
from pipelines.score.run.actor import ScoreParts
from pipelines.score.settings import PlanSettings, ScoreSettings, settings_digest
from tests.pipelines.headers import open_ledger
from tests.pipelines.score.run.running import planned

POOL = Pool(size=1, num_cpus=1, num_gpus=0, cores=1, decoders=1, lanes=1)
CALL = {0: "customer", 1: "Agent"}


@pytest.fixture
def calls(tmp_path: Path, voice: np.ndarray) -> Path:
    """A call of two voices, a mono mix stored twice, a mono recording, and two channels of silence."""
    folder = tmp_path / "calls"
    folder.mkdir()
    customer, agent = voice[: 16 * 8_000], voice[16 * 20_000 : 16 * 28_000]
    soundfile.write(folder / "call.wav", np.stack([customer, agent], axis=1)[::2], 8_000, subtype="PCM_16")
    soundfile.write(folder / "mix.wav", np.stack([customer + agent] * 2, axis=1) / 2, 16_000)
    soundfile.write(folder / "mono.wav", customer, 16_000)
    soundfile.write(folder / "silent.wav", np.zeros((16 * 3_000, 2)), 16_000)
    return folder


@pytest.fixture
def score_with(tmp_path, monkeypatch):
    """Score an archive in this process; ``recordings`` rows by name, and which (name, channel) were scored."""

    real = Scorer.score_cells

    def run(archive: Path, roles: dict[int, str], exception: str | None = None, **plan) -> tuple[dict, set]:
        settings = ScoreSettings(plan=PlanSettings(**plan))
        out = locate(str(tmp_path / "out"))
        named_roles = {str(channel): role for channel, role in roles.items()}
        header = planned(archive, out, settings, roles=named_roles, exception=exception)
        ledger, scored_channels = open_ledger(out), set()

        def spy(self, events):
            def noted():
                for key, cell in events:
                    if cell is not None:
                        scored_channels.add((units[key]["source_uri"].rpartition("/")[2], cell.channel))
                    yield key, cell

            return real(self, noted())

        monkeypatch.setattr(Scorer, "score_cells", spy)
        actor = ScoreParts(ledger, header, "default", settings, POOL)
        for part in range(header.num_parts):
            units = ledger.plan_part(header, part).to_pylist()
            summary = actor({"part": np.array([part])})
            assert "error" not in summary, summary
        actor.close()
        with fold_run(ledger, header) as folded:
            rows = folded.base.sql("FROM recordings").to_arrow_table().to_pylist()
        return {row["source_uri"].rpartition("/")[2]: row for row in rows}, scored_channels

    return run


def outcomes(rows: dict) -> dict[str, tuple[str, int]]:
    return {name: (row["status"], row["num_channels_skipped"]) for name, row in rows.items()}


def test_no_audio_of_an_agent_reaches_speech_activity_or_the_model(score_with, calls):
    rows, scored_channels = score_with(calls, CALL)
    assert outcomes(rows) == {
        "call.wav": ("scored", 1),
        "mix.wav": ("skipped_policy", 2),  # the same sound on both: it holds the agent's voice
        "mono.wav": ("scored", 0),
        "silent.wav": ("no_speech", 1),
    }
    assert scored_channels == {("call.wav", 0), ("mono.wav", 0), ("silent.wav", 0)}


def test_the_agent_may_be_the_first_channel(score_with, calls):
    rows, scored_channels = score_with(calls, {0: "agent"})
    assert outcomes(rows) == {
        "call.wav": ("scored", 1),
        "mix.wav": ("skipped_policy", 2),
        "mono.wav": ("skipped_policy", 1),
        "silent.wav": ("no_speech", 1),
    }
    assert scored_channels == {("call.wav", 1), ("silent.wav", 1)}
    assert rows["mono.wav"]["duration_ms"] == 8_000


def test_without_roles_or_with_an_exception_all_is_scored(score_with, calls):
    everything = {("call.wav", 0), ("call.wav", 1), ("mix.wav", 0), ("mix.wav", 1), ("mono.wav", 0)}
    rows, scored_channels = score_with(calls, CALL, "medical")
    assert scored_channels >= everything
    assert outcomes(rows)["call.wav"] == ("scored", 0)
    assert outcomes(rows)["mix.wav"] == ("scored", 1)
    assert score_with(calls, {})[1] >= everything


def test_a_shared_out_recording_is_judged_as_a_whole(score_with, tmp_path, voice):
    folder = tmp_path / "long"
    folder.mkdir()
    three_minutes = np.tile(voice[: 16 * 50_000], 4)
    other = np.roll(three_minutes, 16 * 25_000)
    other[: 16 * 70_000] = three_minutes[: 16 * 70_000]  # a mono mix for a minute, then two voices
    soundfile.write(folder / "call.wav", np.stack([three_minutes, other], axis=1), 16_000, subtype="PCM_16")
    whole, _ = score_with(folder, CALL)
    shared, _ = score_with(folder, CALL, unit_bytes=4 << 20)
    assert outcomes(whole) == outcomes(shared) == {"call.wav": ("scored", 1)}
    assert whole["call.wav"]["num_segments"] == shared["call.wav"]["num_segments"] > 0
    assert whole["call.wav"]["duration_ms"] == shared["call.wav"]["duration_ms"] == 200_000


def test_what_sounds_like_a_withheld_channel_is_withheld():
    """For that minute."""

    def cell(channel: int, index: int, same_as: int | None, loud: bool = True) -> Cell:
        samples = np.sin(np.arange(16_000), dtype=np.float32) if loud else np.zeros(16_000, np.float32)
        return Cell(channel=channel, index=index, start_sample=0, lead_in=0, samples=samples, same_as=same_as)

    cells = [cell(0, 0, None), cell(1, 0, 0), cell(2, 0, None), cell(0, 1, None), cell(1, 1, None), cell(2, 1, 0)]
    scored = [(c.index, c.channel) for c, may_be_scored in withhold_cells(cells, frozenset([1])) if may_be_scored]
    assert scored == [(0, 2), (1, 0), (1, 2)]
    silent = [cell(0, 0, None, loud=False), cell(1, 0, 0, loud=False)]
    [(kept, _)] = [pair for pair in withhold_cells(silent, frozenset([0])) if pair[1]]
    assert (kept.channel, kept.same_as) == (1, None)
    assert all(may_be_scored for _, may_be_scored in withhold_cells(cells, frozenset()))


@pytest.mark.parametrize(
    "role", ["agent", "AGENT", "Employee ", "student", "candidate", "agents", "agent_1", "\uff41gent"]
)
def test_roles_of_work_and_education_are_known_in_any_spelling(role):
    assert is_prohibited(role)


@pytest.mark.parametrize("role", ["customer", "caller", "patient", "host", "reagent", ""])
def test_other_roles_are_not(role):
    assert not is_prohibited(role)
    assert withheld_channels({0: role}, None) == frozenset()


@pytest.mark.parametrize(
    ("exception", "purpose", "message"),
    [
        ("medical", None, "needs --purpose .* prohibited in the EU"),
        ("safety", "  ", "needs --purpose"),
        ("because", "x", "not one of medical, safety, out-of-scope"),
    ],
)
def test_an_exception_is_declared_with_a_purpose_or_not_at_all(exception, purpose, message):
    with pytest.raises(UsageError, match=message):
        ScoreRequest(archives=("a",), out="o", roles=CALL, exception=exception, purpose=purpose)


def test_the_digest_follows_an_exception_only_where_it_changes_rows():
    settings = ScoreSettings()
    assert settings_digest(settings, CALL) != settings_digest(settings, CALL, "safety")
    assert settings_digest(settings, CALL, "medical") == settings_digest(settings, CALL, "safety")
    assert settings_digest(settings, {0: "customer"}) == settings_digest(settings, {0: "customer"}, "safety")


def test_a_dry_run_says_what_would_not_be_scored(calls, tmp_path, caplog):
    request = ScoreRequest(archives=(str(calls),), out=str(tmp_path / "out"), roles={0: "agent", 1: "customer"})
    outlook = preview(request)
    assert (outlook["withheld"], outlook["probed_skipped_policy"]) == ({"0": "agent"}, 1)
    assert outlook["audio_s"] == 8 + 8 + 3
    assert "telephone" not in caplog.text
    preview(ScoreRequest(archives=(str(calls),), out=str(tmp_path / "out")))
    assert [r.message.count("--roles") for r in caplog.records if r.name == "emosphere"] == [2]


def test_a_declared_exception_replaces_the_rows_and_stands_in_runs(calls, tmp_path, rows, caplog):
    def request(**changes) -> ScoreRequest:
        return ScoreRequest(archives=(str(calls),), out=str(tmp_path / "out"), dt="2026-11-20", **changes)

    first = score(request(roles=CALL))
    assert (first["recordings"], first["scored"], first["skipped_policy"], first["no_speech"]) == (4, 2, 1, 1)
    assert "telephone" not in caplog.text
    again = score(request(roles=CALL))
    assert (again["skipped"], again["skipped_policy"]) == (4, 0)
    declared = score(request(roles=CALL, exception="medical", purpose="a study of stutter"))
    assert (declared["scored"], declared["skipped_policy"]) == (3, 0)
    assert set(rows(tmp_path / "out", "segments")["role"]) == {"customer", "Agent"}
    runs = duckdb.read_parquet(f"{tmp_path}/out/runs/*.parquet").order("run_id")
    assert runs.project("exception, purpose").fetchall() == [(None, None), ("medical", "a study of stutter")]
    score(ScoreRequest(archives=(str(calls),), out=str(tmp_path / "other")))
    warned = [record.message for record in caplog.records if "telephone" in record.message]
    assert len(warned) == 1, "one line, once"
    assert "--roles 0=customer,1=agent" in warned[0]
