"""The whole road, archive to tables, by one actor in this process; one test needs two, and so Ray.

What is held here, across the rooms: every recording ends as one row with the right status; the same command adds
nothing; a changed, renamed or failed recording, other settings, another model, another dt do as the contract says;
rows do not depend on unit size, batch size or workers; too many failures publish nothing.
"""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas.testing
import pyarrow.parquet as pq
import pytest
import soundfile
from safetensors.numpy import load_file, save_file

from emosphere.errors import UsageError
from emosphere.model.find import BUNDLED
from emosphere.settings import BatchSettings, SpeechSettings
from emosphere.speech.cut_segments import SegmentConfig
from emosphere.store import locate
from pipelines.archive.dates import Window, parse_time
from pipelines.cluster.resources import Resources
from pipelines.output.ledger import Ledger
from pipelines.score.command import TooManyFailures, score
from pipelines.score.request import ScoreRequest
from pipelines.score.settings import PlanSettings, ScoreSettings
from pipelines.sql.command import sql
from tests.rounding import assert_same_rows


def request_for(archive: object, out: Path, **changes) -> ScoreRequest:
    return replace(ScoreRequest(archives=(str(archive),), out=str(out), dt="2026-11-20"), **changes)


def files_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture
def scored(archive, tmp_path):
    out = tmp_path / "out"
    result = score(request_for(archive, out))
    return archive, out, result


def test_every_recording_ends_as_one_row_with_its_status(scored, rows):
    _, out, result = scored
    recordings = rows(out, "recordings")
    ended = recordings[["source_uri", "status", "error_code"]].itertuples(index=False)
    status = {uri.rpartition("/")[2]: (status, code) for uri, status, code in ended}
    assert {name: found[0] for name, found in status.items()} == {
        "a.wav": "scored",
        "b.flac": "scored",
        "c.wav": "scored",
        "silent.wav": "no_speech",
        "empty.mp3": "failed",
        "text.wav": "failed",
    }
    assert status["empty.mp3"][1] == "EMPTY"
    assert status["text.wav"][1] == "UNSUPPORTED"
    assert result["recordings"] == 6 == result["scored"] + result["no_speech"] + result["failed"]
    assert result["segments"] == len(rows(out, "segments")) == recordings["num_segments"].sum() > 6


def test_a_model_whose_weights_do_not_fit_is_refused_in_words(archive, tmp_path):
    """The driver, which has no torch, finds nothing amiss: an actor says so."""
    model = shutil.copytree(BUNDLED, tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    name, tensor = next(iter(weights.items()))
    save_file(weights | {name: np.concatenate([tensor, tensor])}, model / "model.safetensors")
    named = re.escape(name.replace("encoder.", "streams.speech.", 1))  # of the first format, by today's name
    with pytest.raises(UsageError, match=rf"1 tensors do not fit config.json, first {named}"):
        score(request_for(archive, tmp_path / "out", model=str(model)))
    assert not (tmp_path / "out" / "segments").exists()


def test_segments_lie_in_order_within_their_recording(scored, rows):
    _, out, _ = scored
    segments = rows(out, "segments").merge(rows(out, "recordings")[["recording_id", "duration_ms"]], on="recording_id")
    assert (segments["end_ms"] > segments["start_ms"]).all()
    assert (segments["end_ms"] - segments["start_ms"] <= 12_000).all()
    assert (segments["end_ms"] <= segments["duration_ms"]).all()
    for _, group in segments.groupby(["recording_id", "channel"]):
        assert list(group["segment_index"]) == list(range(len(group)))
        assert (group["start_ms"].to_numpy()[1:] >= group["end_ms"].to_numpy()[:-1]).all()
    assert set(segments.loc[segments["source_uri"].str.endswith("c.wav"), "channel"]) == {0, 1}


def test_the_same_command_again_adds_nothing_anywhere(scored):
    archive, out, first = scored
    before = files_of(out)
    again = score(request_for(archive, out))
    after = files_of(out)
    assert again["skipped"] == again["recordings"] == first["recordings"]
    assert again["segments"] == 0
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {f"_emosphere/runs/{first['run_id']}.json"}  # the result of the latest command


def test_the_result_is_stored_as_it_is_returned(scored):
    _, out, result = scored
    stored = json.loads((out / "_emosphere" / "runs" / f"{result['run_id']}.json").read_bytes())
    assert stored == result | {"exit_code": 0}
    run = pq.read_table(out / "runs" / f"{result['run_id']}.parquet").to_pylist()[0]
    assert {name: run[name] for name in result if name != "out"} == {
        name: result[name] for name in result if name != "out"
    }


def test_a_finished_run_leaves_no_plan_or_staging(scored):
    _, out, result = scored
    assert not (out / "_emosphere" / "runs" / result["run_id"]).exists()
    assert not Ledger(locate(str(out))).state().unfinished


def test_a_changed_recording_replaces_its_rows_where_they_were(scored, rows, voice):
    archive, out, _ = scored
    before = rows(out, "segments")
    soundfile.write(archive / "a.wav", voice[16 * 20_000 : 16 * 25_000], 16_000)
    result = score(request_for(archive, out, dt="2026-11-21"))
    after = rows(out, "segments")
    assert (result["scored"], result["skipped"]) == (1, 5)
    is_a = after["source_uri"].str.endswith("a.wav")
    assert set(after["dt"]) == {"dt=2026-11-20"}
    assert after.loc[is_a, "end_ms"].max() <= 5_000
    same = before[~before["source_uri"].str.endswith("a.wav")].reset_index(drop=True)
    pandas.testing.assert_frame_equal(after[~is_a].reset_index(drop=True), same)
    assert len(rows(out, "recordings")) == 6


def test_a_renamed_recording_is_a_new_one_and_the_old_rows_stay(scored, rows):
    archive, out, _ = scored
    (archive / "a.wav").rename(archive / "renamed.wav")
    result = score(request_for(archive, out, dt="2026-11-21"))
    assert (result["scored"], result["skipped"]) == (1, 5)
    recordings = rows(out, "recordings").set_index(rows(out, "recordings")["source_uri"].str.rpartition("/")[2])
    assert recordings.loc["a.wav", "dt"] == "dt=2026-11-20"
    assert recordings.loc["renamed.wav", "dt"] == "dt=2026-11-21"
    segments = rows(out, "segments")
    scores = [
        segments.loc[segments["source_uri"].str.endswith(f"/{name}"), ["start_ms", "valence", "arousal"]]
        for name in ("a.wav", "renamed.wav")
    ]
    pandas.testing.assert_frame_equal(*(score.reset_index(drop=True) for score in scores))


def test_another_dt_scores_nothing_again(scored, rows):
    archive, out, _ = scored
    before = rows(out, "recordings")
    result = score(request_for(archive, out, dt="2026-11-22"))
    assert result["skipped"] == 6
    pandas.testing.assert_frame_equal(rows(out, "recordings"), before)


def test_other_settings_replace_all_rows_in_place(scored, rows):
    archive, out, _ = scored
    before = rows(out, "segments")
    settings = ScoreSettings(listen=SpeechSettings(segment=SegmentConfig(max_s=3.0)))
    result = score(request_for(archive, out, settings=settings, dt="2026-11-22"))
    after = rows(out, "segments")
    assert result["skipped"] == 0
    assert set(after["dt"]) == {"dt=2026-11-20"}
    assert (after["end_ms"] - after["start_ms"]).max() <= 3_000 < (before["end_ms"] - before["start_ms"]).max()
    assert len(rows(out, "recordings")) == 6
    assert rows(out, "recordings")["settings_digest"].nunique() == 1


def test_settings_that_cannot_change_a_row_do_not_score_again(scored):
    archive, out, _ = scored
    settings = ScoreSettings(batch=BatchSettings(batch_s=20.0), plan=PlanSettings(part_units=2))
    assert score(request_for(archive, out, settings=settings))["skipped"] == 6


def test_a_second_model_stands_beside_the_first(scored, rows, tmp_path):
    archive, out, _ = scored
    before = rows(out, "segments")
    other = tmp_path / "other"
    shutil.copytree(Path("emosphere/model/default"), other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"name": "Other Model"}))
    result = score(request_for(archive, out, model=str(other)))
    assert result["skipped"] == 0
    after = rows(out, "segments")
    assert after["model"].nunique() == 2
    assert after["model"].str.startswith("model=other-model-").any()
    pandas.testing.assert_frame_equal(after[after["model"] == before["model"][0]].reset_index(drop=True), before)
    # Both hear the same weights, so both say the same.
    halves = [
        group[["start_ms", "valence", "arousal", "dominance"]].reset_index(drop=True)
        for _, group in after.groupby("model")
    ]
    pandas.testing.assert_frame_equal(*halves)


def test_only_a_passing_failure_is_tried_again(archive, tmp_path, rows, voice):
    manifest = tmp_path / "list.csv"
    manifest.write_text(f"uri\n{archive / 'a.wav'}\n{archive / 'empty.mp3'}\n{archive / 'late.wav'}\n")
    out = tmp_path / "out"
    first = score(request_for(manifest, out))
    assert (first["scored"], first["failed"]) == (1, 2)
    again = score(request_for(manifest, out))
    assert (again["failed"], again["skipped"]) == (1, 2)
    assert rows(out, "recordings")["attempts"].max() == 2
    soundfile.write(archive / "late.wav", voice[: 16 * 6_000], 16_000)
    last = score(request_for(manifest, out))
    assert (last["scored"], last["skipped"]) == (1, 2)
    assert set(rows(out, "recordings")["error_code"].dropna()) == {"EMPTY"}


def test_scores_stay_when_the_audio_behind_a_manifest_is_gone(archive, tmp_path, rows):
    manifest = tmp_path / "list.csv"
    manifest.write_text(f"uri\n{archive / 'a.wav'}\n{archive / 'b.flac'}\n")
    out = tmp_path / "out"
    score(request_for(manifest, out))
    before = rows(out, "segments")
    (archive / "a.wav").unlink()
    assert score(request_for(manifest, out))["skipped"] == 2
    pandas.testing.assert_frame_equal(rows(out, "segments"), before)


def test_too_many_failures_publish_nothing(archive, tmp_path, rows):
    """A higher limit publishes what was scored."""
    out = tmp_path / "out"
    with pytest.raises(TooManyFailures, match=r"2 of 6 recordings failed \(33.3%\)"):
        score(request_for(archive, out, max_error_rate=0.2))
    assert not (out / "segments").exists()
    assert not (out / "recordings").exists()
    staged = {path: path.stat().st_mtime_ns for path in out.rglob("staging/*.parquet")}
    assert staged
    result = score(request_for(archive, out, max_error_rate=0.5))
    assert result["failed"] == 2
    assert len(rows(out, "recordings")) == 6


@pytest.mark.ray
def test_rows_do_not_depend_on_unit_size_batch_size_or_workers(tmp_path, rows, voice):
    """Ten minutes in WAV, FLAC and MP3, whole or in many units, in one batch or in many, by one worker or by two."""
    archive = tmp_path / "archive"
    archive.mkdir()
    long = np.concatenate([np.roll(voice, 7_777 * turn) * (0.5 + 0.05 * turn) for turn in range(10)])
    soundfile.write(archive / "long.wav", np.stack([long, long[::-1]], axis=1), 16_000)
    soundfile.write(archive / "long.flac", long, 22_050)
    soundfile.write(archive / "long.mp3", long, 16_000)
    whole = ScoreSettings()
    pieces = ScoreSettings(
        plan=PlanSettings(unit_bytes=300_000, part_units=3),
        batch=BatchSettings(batch_s=15.0, pool_s=40.0, cells=3),
        resources=Resources(actors=2, cpus_per_actor=1),
    )
    tables = []
    for name, settings in [("whole", whole), ("pieces", pieces)]:
        out = tmp_path / name
        result = score(request_for(archive, out, settings=settings))
        assert result["scored"] == 3
        tables.append((rows(out, "segments"), rows(out, "recordings")))
    (one, one_recordings), (other, other_recordings) = tables
    pandas.testing.assert_frame_equal(one_recordings, other_recordings)
    assert len(one) > 100
    continuous = ["valence", "arousal", "dominance", "radius", "region_prob"]
    angles = ["azimuth_deg", "polar_deg"]
    measured = ["rms_db", "snr_db", "clipped_ratio", "bandwidth_hz"]
    near_border = (one[["valence", "arousal", "dominance"]].abs() < 1e-4).any(axis=1)
    exact = [name for name in one if name not in [*continuous, *angles, *measured, "region", "region_name"]]
    pandas.testing.assert_frame_equal(one[exact], other[exact])
    regions = [table.loc[~near_border, ["region", "region_name"]] for table in (one, other)]
    pandas.testing.assert_frame_equal(*regions)
    np.testing.assert_allclose(one[continuous], other[continuous], atol=1e-4)
    np.testing.assert_allclose(one[measured].astype(float), other[measured].astype(float), rtol=0.02, atol=0.05)


def test_a_cut_recording_is_as_long_as_what_came_out(tmp_path, rows, voice):
    """Whatever the unit size."""
    archive = tmp_path / "archive"
    archive.mkdir()
    soundfile.write(archive / "cut.wav", np.resize(voice, 16_000 * 360), 16_000)
    whole = (archive / "cut.wav").read_bytes()
    (archive / "cut.wav").write_bytes(whole[: len(whole) // 3])
    tables = []
    for unit_bytes in (1 << 30, 1_000_000):
        out = tmp_path / str(unit_bytes)
        score(request_for(archive, out, settings=ScoreSettings(plan=PlanSettings(unit_bytes=unit_bytes))))
        tables.append((rows(out, "recordings").drop(columns="error_message"), rows(out, "segments")))
        recording = rows(out, "recordings").iloc[0]
        assert (recording["status"], recording["error_code"]) == ("scored", "TRUNCATED")
        assert abs(recording["duration_ms"] - 120_000) < 100
        assert "120.00 s of 360.00 s" in recording["error_message"]
    pandas.testing.assert_frame_equal(tables[0][0], tables[1][0])
    assert_same_rows(tables[0][1], tables[1][1])


def test_two_identical_channels_are_one(tmp_path, rows, voice):
    archive = tmp_path / "archive"
    archive.mkdir()
    mono = voice[: 16 * 9_000]
    soundfile.write(archive / "twice.wav", np.stack([mono, mono], axis=1), 16_000)
    score(request_for(archive, tmp_path / "out"))
    assert set(rows(tmp_path / "out", "segments")["channel"]) == {0}
    recording = rows(tmp_path / "out", "recordings").iloc[0]
    assert (recording["num_channels"], recording["num_channels_skipped"]) == (2, 1)


def test_a_run_with_no_speech_at_all_still_has_both_tables(tmp_path, rows):
    archive = tmp_path / "archive"
    archive.mkdir()
    soundfile.write(archive / "silent.wav", np.zeros(32_000), 16_000)
    score(request_for(archive, tmp_path / "out"))
    assert len(rows(tmp_path / "out", "segments")) == 0
    assert len(rows(tmp_path / "out", "recordings")) == 1
    assert "0" in sql(str(tmp_path / "out"), "SELECT count(*) AS n FROM segments")


def test_a_window_selects_by_object_time_or_by_path(tmp_path, voice):
    archive = tmp_path / "archive"
    for day in ("2026/11/19", "2026/11/20"):
        (archive / day).mkdir(parents=True)
        soundfile.write(archive / day / "a.wav", voice[: 16 * 4_000], 16_000)
    window = Window(since_us=parse_time("2026-11-20", "--since"), path_date="archive/%Y/%m/%d")
    result = score(request_for(archive, tmp_path / "out", window=window))
    assert (result["recordings"], result["scored"]) == (1, 1)
    late = Window(since_us=4_000_000_000_000_000)
    assert score(request_for(archive, tmp_path / "out", window=late))["recordings"] == 0


def test_an_empty_archive_is_said_so_and_nothing_is_written(tmp_path):
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "notes.txt").touch()
    with pytest.raises(UsageError, match="no recordings there"):
        score(request_for(tmp_path / "archive", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_roles_and_attributes_travel_into_the_rows(archive, tmp_path, rows):
    manifest = tmp_path / "list.csv"
    manifest.write_text(f"uri,call_id\n{archive / 'c.wav'},0042\n")
    score(request_for(manifest, tmp_path / "out", roles={0: "customer", 1: "caller"}))
    segments = rows(tmp_path / "out", "segments")
    assert dict(segments[["channel", "role"]].drop_duplicates().itertuples(index=False)) == {
        0: "customer",
        1: "caller",
    }
    assert json.loads(rows(tmp_path / "out", "recordings")["attributes"][0]) == {"call_id": "0042"}
