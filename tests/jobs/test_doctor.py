"""emosphere doctor says what would fail, and leaves nothing behind."""

from emosphere.store import locate
from pipelines.output.lease import Lease


def test_a_healthy_machine_is_reported_line_by_line(emosphere, root, tmp_path):
    out = tmp_path / "out"
    answer = emosphere("doctor", root / "demo/archive", out, "--json")
    assert answer.code == 0
    found = {line["check"]: line for line in answer.json["findings"]}
    assert all(found[name]["state"] == "ok" for name in ("versions", "torch pair", "codecs", "model", "archive", "out"))
    assert "mp3" in found["codecs"]["found"]
    assert not out.exists()


def test_what_would_fail_is_exit_code_1_and_named(emosphere, tmp_path):
    (tmp_path / "file").touch()
    answer = emosphere("doctor", tmp_path / "missing", tmp_path / "file" / "out", "--json")
    assert answer.code == 1
    states = {line["check"]: line["state"] for line in answer.json["findings"]}
    assert (states["archive"], states["out"], states["model"]) == ("fail", "fail", "ok")
    assert answer.json["healthy"] is False
    assert "archive, out" in answer.err
    assert "no such file or folder" in answer.err


def test_an_unreadable_first_recording_is_a_warning(emosphere, root, tmp_path):
    """It would be a row: no reason to stay at home."""
    (tmp_path / "0.wav").touch()
    found = {line["check"]: line for line in emosphere("doctor", tmp_path, "--json").json["findings"]}
    assert found["archive"]["state"] == "warn"
    assert "EMPTY" in found["archive"]["found"]
    (tmp_path / "1.mp3").write_bytes((root / "demo/archive/podcast_episode_01.mp3").read_bytes())
    found = {line["check"]: line for line in emosphere("doctor", tmp_path, "--json").json["findings"]}
    assert found["archive"]["state"] == "ok"


def test_a_cluster_that_does_not_answer_is_told(emosphere, monkeypatch):
    monkeypatch.setattr("pipelines.doctor.command.RAY_TIMEOUT_S", 2)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    answer = emosphere("doctor", "--json")
    assert answer.code == 1
    assert {line["check"]: line["state"] for line in answer.json["findings"]}["ray"] == "fail"


def test_what_a_run_would_be_run_by_is_said(emosphere, monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    settings = tmp_path / "run.toml"
    for engine, ray in (("in-process", None), ("ray", "a local Ray is started for such a run, authentication mode")):
        settings.write_text(f'[resources]\nengine = "{engine}"\n')
        found = {
            line["check"]: line["found"]
            for line in emosphere("doctor", "--config", settings, "--json").json["findings"]
        }
        name = "Ray" if ray else engine
        assert found["engine"] == f"{name}, since [resources] engine asks for it"
        assert (found.get("ray") or "").startswith(ray or "")


def test_the_runs_own_settings_hold_here_too(emosphere, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"x" * 100)
    (tmp_path / "run.toml").write_text("[fetch]\nmax_bytes = 10\n")
    answer = emosphere("doctor", tmp_path / "a.wav", "--config", tmp_path / "run.toml", "--json")
    assert "REFUSED" in {line["check"]: line["found"] for line in answer.json["findings"]}["archive"]


def test_segments_longer_than_the_model_may_take_are_said_before_the_run(emosphere, tmp_path):
    (tmp_path / "night.toml").write_text("[listen.segment]\nmax_s = 15\n")
    answer = emosphere("doctor", "--config", tmp_path / "night.toml", "--json")
    assert answer.code == 1
    model = {line["check"]: line for line in answer.json["findings"]}["model"]
    assert model["state"] == "fail"
    assert "[listen.segment] max_s=15.0: the model emosphere-default was trained on clips" in model["found"]


def test_a_model_that_is_not_there_is_named(emosphere):
    answer = emosphere("doctor", "--model", "no/such/folder")
    assert answer.code == 1
    assert "no such model folder" in answer.err


def test_who_is_writing_to_out_is_named(emosphere, tmp_path):
    out = tmp_path / "out"
    lease = Lease(locate(str(out)).child("_emosphere", "lease"), "run 42")
    lease.acquire()
    findings = emosphere("doctor", "--json", *_no_archive(tmp_path), out).json["findings"]
    lease.release()
    [found] = [line for line in findings if line["check"] == "lease"]
    assert found["state"] == "warn"
    assert found["found"].startswith("held by run 42 (host ")
    findings = emosphere("doctor", "--json", *_no_archive(tmp_path), out).json["findings"]
    assert [line["found"] for line in findings if line["check"] == "lease"] == ["free"]


def _no_archive(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"x")
    return [tmp_path / "a.wav"]
