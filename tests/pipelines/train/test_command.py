"""A training that cannot be what was asked for is refused in words; what its folder keeps holds no secrets."""

import dataclasses
import os
from pathlib import Path

import pytest

from emosphere.config import load_config
from emosphere.errors import UsageError
from pipelines.train.absolute_paths import with_absolute_paths
from pipelines.train.command import check_cores, train
from pipelines.train.config import TrainConfig, settings_without_secrets
from pipelines.train.worker import Worker
from tests.pipelines.train.small_training import write


def test_unreadable_clips_are_refused_by_number_and_name(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "0-1-anger.flac").write_bytes(b"no sound")
    with pytest.raises(UsageError, match=r"1 of 24 clips cannot be read, first: .*0-1-anger\.flac.*max_unreadable"):
        train(write(tmp_path, manifest))


def test_a_manifest_without_the_split_is_refused(manifest: Path, tmp_path: Path) -> None:
    manifest.write_text(manifest.read_text().replace(",test", ",dev"))
    with pytest.raises(UsageError, match="has no split 'test', only dev, train"):
        train(write(tmp_path, manifest))
    assert not (tmp_path / "out").exists()


def test_missing_files_are_counted_and_the_first_is_named(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "0-0-anger.flac").unlink()
    with pytest.raises(UsageError, match=r"1 of its files are missing, first .*0-0-anger\.flac"):
        train(write(tmp_path, manifest))


def test_too_few_clips_or_people_to_learn_from_are_refused(manifest: Path, tmp_path: Path) -> None:
    path = write(tmp_path, manifest)
    with pytest.raises(UsageError, match="18 clips to learn from in batches of 9 give 5 workers less than two"):
        train(path, num_workers=5)
    with pytest.raises(UsageError, match="folds=4, but only 3 people speak"):
        train(write(tmp_path, manifest, folds=4))


def test_more_workers_than_cores_are_refused_before_ray_starts(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local Ray counts four CPUs at least, so it would take three workers on two cores."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr("pipelines.cluster.ray_cluster.connect", lambda: pytest.fail("Ray was started"))
    with pytest.raises(UsageError, match="workers=3, but this machine has 2 cores"):
        train(write(tmp_path, manifest), num_workers=3)
    check_cores(2)
    monkeypatch.setenv("RAY_ADDRESS", "cluster:6379")
    check_cores(3)


def test_a_category_head_that_nothing_teaches_is_refused(manifest: Path, tmp_path: Path) -> None:
    path = write(tmp_path, manifest, words='["joy", "grief"]')
    with pytest.raises(
        UsageError, match=r"teaches the head category \(wanted one of joy, grief; found anger, neutral, sad"
    ):
        train(path)


def test_classes_that_nothing_teaches_are_named(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipelines.train.command._run", lambda *given: ([], {}))
    text = manifest.read_text()
    manifest.write_text(text.replace("0-1-neutral.flac,s0,neutral,,c,train", "0-1-neutral.flac,s0,neutral,,c,apart"))
    (tmp_path / "out").mkdir()
    train(write(tmp_path, manifest, clips='calibrate = ["apart"]'))
    assert "teaches the categories happiness, fear, disgust, surprise, boredom, calm" in caplog.text
    assert "teaches the regions A+V+D+, A-V+D+, A-V-D+, A+V+D-, A-V+D-, A+V-D-" in caplog.text
    assert "no clip of clips.calibrate has a label for the head region; it will not be calibrated" in caplog.text


def test_a_loss_for_a_head_that_is_not_there_is_refused(manifest: Path, tmp_path: Path) -> None:
    path = write(tmp_path, manifest)
    path.write_text(path.read_text().replace("region = {", "# region = {", 1))
    with pytest.raises(
        UsageError, match=r"fit\.terms\.region teaches the head 'region', which network\.heads does not"
    ):
        train(path)


def test_a_model_is_not_trained_into_a_store(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'s3://bucket/model'.*a folder of this machine"):
        train(write(tmp_path, manifest, out="s3://bucket/model"))


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ("sqlite:///mlflow.db", "sqlite:///{here}/mlflow.db"),
        ("mlruns", "{here}/mlruns"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("http://tracker:5000", "http://tracker:5000"),
        ("databricks", "databricks"),
    ],
)
def test_workers_log_to_the_mlflow_that_the_user_named(
    given: str, whole: str, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stand in a folder of Ray's, where a relative address would begin a new database."""
    monkeypatch.chdir(tmp_path)
    config = dataclasses.replace(load_config(TrainConfig, write(tmp_path, manifest)), mlflow=given)
    assert with_absolute_paths(config).mlflow == whole.format(here=tmp_path)


def test_settings_are_stored_without_passwords_and_signatures(manifest: Path, tmp_path: Path) -> None:
    config = load_config(TrainConfig, write(tmp_path, manifest, clips='hold = "stream"'))
    clips = dataclasses.replace(config.clips, manifest="https://ann:secret@host/m.csv?X-Amz-Signature=secret")
    settings = settings_without_secrets(dataclasses.replace(config, clips=clips, mlflow="https://ann:secret@host/"))
    assert (settings["clips"]["manifest"], settings["mlflow"]) == ("https://host/m.csv", "https://host/")
    assert settings["name"] == "tiny"


def test_encoder_weights_in_a_store_are_refused(manifest: Path, tmp_path: Path) -> None:
    path = write(tmp_path, manifest)
    path.write_text(path.read_text().replace("[clips]", '[weights]\nspeech = "s3://bucket/wavlm"\n\n[clips]', 1))
    path.write_text(
        path.read_text().replace('"logmel"\nnum_mels = 12\ndim = 8\nnum_blocks = 1\ndropout = 0.0', '"wavlm"')
    )
    path.write_text(path.read_text().replace("members = 2", "members = 1"))
    with pytest.raises(UsageError, match=r"\[weights\] speech = 's3://bucket/wavlm'.*a folder of this machine"):
        train(path)


def test_a_run_killed_while_writing_writes_when_it_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker.__new__(Worker)
    worker.state, worker.rank, worker.log = {"stage": 3}, 0, None
    written: list[list[int]] = []
    monkeypatch.setattr(worker, "_stages", lambda: [[], [0, 2], [1]])
    monkeypatch.setattr(worker, "_write", written.append)
    worker.run()
    assert written == [[0, 2, 1]]


def test_a_misspelt_setting_is_refused(manifest: Path, tmp_path: Path) -> None:
    path = write(tmp_path, manifest)
    path.write_text(path.read_text().replace("learning_rate", "lerning_rate"))
    with pytest.raises(UsageError, match="Did you mean 'learning_rate'"):
        train(path)
