"""emosphere score at the door: exit codes, one clear message, one JSON line, and nothing half-written."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emosphere.model.find import BUNDLED


def refused(answer, out: Path, *, code: int = 2) -> str:
    assert answer.code == code, answer
    assert answer.out == ""
    assert len(answer.err.strip().splitlines()) == 1, "one clear message"
    assert not out.exists(), "nothing half-written"
    return answer.err


@pytest.fixture
def archive(tmp_path, root):
    folder = tmp_path / "archive"
    shutil.copytree(root / "demo/archive/calls", folder)
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dt", "20-11-2026"], r"--dt '20-11-2026' is not a date such as 2026-11-20"),
        (["--dt", "2026-13-01"], r"is not a date"),
        (["--since", "yesterday"], r"--since 'yesterday' is not a date or time"),
        (["--since", "2026-11-21", "--until", "2026-11-20"], r"nothing could be selected"),
        (["--path-date", "calls/%Y/%m"], r"must hold %Y, %m and %d once each"),
        (["--path-date", "calls/%Y/%m/%d"], r"give --since or --until"),
        (["--roles", "0=customer,0=agent"], r"each channel once"),
        (["--roles", "left=customer"], r"is not CHANNEL=NAME"),
        (["--roles", "0=agent", "--exception", "safety"], r"needs --purpose .* prohibited in the EU"),
        (["--exception", "because", "--purpose", "x"], r"not one of medical, safety, out-of-scope"),
        (["--model", "no/such/folder"], r"no such model folder; --model takes 'default', a folder"),
        (["--config", "no.toml"], r"no.toml: cannot be read as a settings file"),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)
def test_a_wrong_word_is_one_message_and_exit_code_2(emosphere, archive, tmp_path, words, message):
    import re

    out = tmp_path / "out"
    assert re.search(message, refused(emosphere("score", archive, "--out", out, *words), out))


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[segmnet]\nmax_s = 3", "'segmnet' is not a setting of ScoreSettings"),
        ("[listen.segment]\nmaxs = 3", "Did you mean 'max_s'?"),
        ("[batch]\nbatch_s = 'long'", "expected float, found 'long'"),
        ("[plan]\nunit_bytes = 0", "must all be above 0"),
        ("[plan\n", "not valid TOML"),
        (
            "[listen.segment]\nmax_s = inf",
            "settings.toml: listen: segment: min_s=1.0 must be above 0 and below half of",
        ),
        ("[batch]\nbatch_s = nan", "settings.toml: batch: batch_s=nan must be above 0 and finite."),
    ],
    ids=["table", "key", "type", "range", "syntax", "endless", "no number"],
)
def test_a_wrong_setting_is_named_with_the_near_one(emosphere, archive, tmp_path, toml, message):
    (tmp_path / "settings.toml").write_text(toml)
    out = tmp_path / "out"
    answer = emosphere("score", archive, "--out", out, "--config", tmp_path / "settings.toml")
    assert message in refused(answer, out)


@pytest.mark.parametrize("words", [[], ["--dry-run"], ["--dry-run", "--limit", "1"]], ids=str)
def test_segments_longer_than_the_models_clips_are_refused(emosphere, archive, tmp_path, words, monkeypatch):
    """Before anything starts."""
    monkeypatch.setattr("pipelines.score.command.score_parts", lambda *_: pytest.fail("something was started"))
    (tmp_path / "settings.toml").write_text("[listen.segment]\nmax_s = 15\n")
    out = tmp_path / "out"
    message = refused(emosphere("score", archive, "--out", out, "--config", tmp_path / "settings.toml", *words), out)
    assert (
        "[listen.segment] max_s=15.0: the model emosphere-default was trained on clips of at most 12.0 s and cannot "
        "hear longer segments. Set max_s to 12.0 or less, or take a model that was trained on longer clips."
    ) in message


def test_a_model_trained_on_shorter_clips_wants_shorter_segments(emosphere, archive, tmp_path):
    model, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(BUNDLED, model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_clip_s": 5.0}))
    words = ("score", archive, "--out", out, "--model", model)
    assert "max_s=12.0: the model emosphere-default was trained on clips of at most 5.0 s" in refused(
        emosphere(*words), out
    )
    (tmp_path / "settings.toml").write_text("[listen.segment]\nmax_s = 5\n")
    assert emosphere(*words, "--config", tmp_path / "settings.toml", "--dry-run").code == 0


def test_an_unknown_option_is_refused_with_the_near_one(emosphere, archive, tmp_path):
    answer = emosphere("score", archive, "--ot", tmp_path / "out")
    assert answer.code == 2
    assert "--out" in answer.err


@pytest.mark.parametrize("what", ["missing folder", "empty folder", "only sidecars"])
def test_an_archive_without_recordings_is_said_so(emosphere, tmp_path, what):
    archive, out = tmp_path / "archive", tmp_path / "out"
    if what != "missing folder":
        archive.mkdir()
    if what == "only sidecars":
        (archive / "notes.txt").touch()
    message = refused(emosphere("score", archive, "--out", out), out)
    assert "no such file or folder" in message if what == "missing folder" else "no recordings there" in message


def test_out_that_is_a_file_is_refused(emosphere, archive, tmp_path):
    out = tmp_path / "out"
    out.touch()
    answer = emosphere("score", archive, "--out", out)
    assert (answer.code, out.read_bytes()) == (2, b"")
    assert "OUT must be a folder, found a file" in answer.err


def test_out_over_http_is_refused(emosphere, archive):
    answer = emosphere("score", archive, "--out", "http://localhost/out?token=secret")
    assert answer.code == 2
    assert "cannot be written over http" in answer.err
    assert "secret" not in answer.err


def test_an_unwritable_out_stops_with_exit_code_1(emosphere, archive, tmp_path):
    (tmp_path / "file").touch()
    answer = emosphere("score", archive, "--out", tmp_path / "file" / "below")
    assert answer.code == 1
    assert "Could not" in answer.err


def test_a_checkpoint_of_a_foreign_layout_is_named(emosphere, archive, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    (model / "model.safetensors").write_bytes(b"")
    out = tmp_path / "out"
    message = refused(emosphere("score", archive, "--out", out, "--model", model), out)
    assert "wav2vec2" in message


def test_a_dry_run_says_how_much_and_writes_nothing(emosphere, archive, tmp_path):
    out = tmp_path / "out"
    answer = emosphere("score", archive, "--out", out, "--dry-run", "--json")
    assert (answer.code, out.exists()) == (0, False)
    assert answer.json["to_score"] == answer.json["recordings"] == len(list(archive.glob("*.wav")))
    assert answer.json["audio_s"] > 10
    shown = emosphere("score", archive, "--out", out, "--dry-run").out
    assert "would score" in shown
    assert "nothing was written" in shown


def test_json_is_the_one_line_on_standard_output_and_is_stored(emosphere, archive, tmp_path):
    out = tmp_path / "out"
    answer = emosphere("score", archive, "--out", out, "--json", "--purpose", "test", "--limit", "1")
    assert answer.code == 0
    assert answer.out.count("\n") == 1
    result = answer.json
    counts = "run_id recordings scored no_speech failed skipped skipped_policy segments audio_s speech_s wall_s out"
    assert list(result) == counts.split()
    assert result["recordings"] == 1
    stored = json.loads((out / "_emosphere/runs" / f"{result['run_id']}.json").read_bytes())
    assert stored == result | {"exit_code": 0}


def test_too_many_failures_are_exit_code_3(emosphere, tmp_path):
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "broken.wav").write_bytes(b"RIFF")
    answer = emosphere("score", archive, "--out", tmp_path / "out", "--max-error-rate", "0.5", "--json")
    assert answer.code == 3
    assert answer.json["exit_code"] == 3
    assert answer.json["failed"] == 1
    assert "Nothing was published" in answer.err


def test_the_module_takes_the_same_arguments_as_the_command(root):
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    helps = [
        subprocess.run([sys.executable, *words, "--help"], capture_output=True, text=True, cwd=root, env=environment)
        for words in (["-m", "jobs.score"], ["-m", "jobs", "score"])
    ]
    options = [{word for word in shown.stdout.split() if word.startswith("--")} for shown in helps]
    assert options[0] == options[1]
    assert {"--out", "--model", "--config", "--dt", "--since", "--until", "--path-date", "--roles", "--purpose",
            "--exception", "--max-error-rate", "--limit", "--dry-run", "--json"} <= options[0]  # fmt: skip
    assert "Examples:" in helps[0].stdout


@pytest.mark.ray
def test_a_command_that_leaves_at_once_leaves_nothing_running(root, archive, tmp_path):
    """Neither after a run nor after a refusal; what was printed into a pipe is all there."""
    mark = f"EMOSPHERE_TEST_MARK={tmp_path}"
    environment = os.environ | dict([mark.split("=")])
    (tmp_path / "settings.toml").write_text('[resources]\nengine = "ray"\n')
    command = [sys.executable, "-m", "jobs", "score", str(archive), "--out", str(tmp_path / "out"), "--json",
               "--config", str(tmp_path / "settings.toml")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment)
    assert (done.returncode, json.loads(done.stdout)["failed"]) == (0, 0), done.stderr
    assert "oken authentication" not in done.stderr
    refusal = subprocess.run([*command, "--dt", "soon"], capture_output=True, text=True, cwd=root, env=environment)
    assert (refusal.returncode, "is not a date" in json.loads(refusal.stdout)["error"]) == (2, True)
    deadline = time.monotonic() + 20
    while left := marked(mark.encode()):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def marked(mark: bytes) -> list[str]:
    """Command lines of the processes that have ``mark`` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().decode())
    return found
