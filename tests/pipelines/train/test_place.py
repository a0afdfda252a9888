"""Here or on Ray, by one worker or two, killed or not: what is learnt is the same."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from emosphere.clips.augment import DistortionConfig
from emosphere.clips.manifest import Clip
from emosphere.config import load_config
from emosphere.errors import MachineError, UsageError
from emosphere.model.checkpoint import load_checkpoint
from pipelines.train.command import train, trains_here
from pipelines.train.config import TrainConfig
from pipelines.train.place import FOLDER_NAME, RAY_NAME, STATE_NAME
from pipelines.train.progress import TrainProgress
from pipelines.train.training_clips import read_clips
from pipelines.train.worker import Worker
from tests.pipelines.train.small_training import logged, write
from tests.pipelines.train.spawned import train_by_spawned_ranks
from tests.rounding import assert_same_training


@pytest.mark.ray
def test_two_workers_learn_what_one_learns(manifest: Path, tmp_path: Path) -> None:
    """One in this process, two on Ray. And a second run changes nothing."""
    one = train(write(tmp_path, manifest, out=tmp_path / "one", folds=2), num_workers=1)
    # Two workers with five and four clips of each batch, in two pieces and one, decoding anew in every epoch: still one
    # loss over the same clips.
    pieces = {"fit": "micro_batch_size = 4", "clips": 'hold = "stream"'}
    two = train(write(tmp_path, manifest, out=tmp_path / "two", **pieces), num_workers=2)
    assert not one["already_finished"]
    assert set(one["cross_validation"]) == {"valence", "arousal", "dominance", "region_head", "region_of_vad"}
    assert two["cross_validation"] is None

    first, second = load_checkpoint(tmp_path / "one"), load_checkpoint(tmp_path / "two")
    assert set(first.network.heads) == {"vad", "region"}
    assert first.config.tasks["region"].temperature != 1
    # Two epochs of two batches; clips of up to 48 frames (0.8 s).
    assert_same_training(first.network, second.network, num_steps=2 * 2, rate=1e-3, num_frames=48, batch_size=9)

    curves = [logged(tmp_path / name) for name in ("one", "two")]
    assert [(line["stage"], line["epoch"]) for line in curves[0]] == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]
    for line, other in zip(curves[0][:2], curves[1], strict=True):
        assert line["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert 0 <= line["waiting"] <= 1
        assert line["clips_per_s"] > 0
    assert list((tmp_path / "one" / "tensorboard").iterdir())

    evaluation = json.loads((tmp_path / "one" / "evaluation.json").read_text())
    assert evaluation["test"]["clips"] == 6
    assert evaluation["cross_validation"]["clips"] == 18
    assert "| all test speakers | 6 |" in (tmp_path / "one" / "README.md").read_text()
    assert not (tmp_path / "one" / "_training").exists()

    held_out = pq.read_table(tmp_path / "one" / "held_out.parquet").to_pylist()
    assert len({row["uri"] for row in held_out}) == 18
    assert [len(held_out[0][name]) for name in ("vad", "region", "category")] == [3, 8, 9]
    assert evaluation["vad_radius_90"]["from"] == "folds"
    assert not evaluation["vad_radius_90"]["published"]
    assert set(evaluation["vad_radius_90"]["test_coverage"]) == {"", "s3"}

    before = (tmp_path / "one" / "model.safetensors").stat().st_mtime_ns
    again = train(write(tmp_path, manifest, out=tmp_path / "one", folds=2), num_workers=1)
    assert again["already_finished"]
    assert (tmp_path / "one" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="holds a model trained by other settings"):
        train(write(tmp_path, manifest, out=tmp_path / "one", folds=3), num_workers=1)
    manifest.write_text(manifest.read_text().replace("s1,anger", "s1,fear"))
    with pytest.raises(UsageError, match="began with another content of"):
        train(write(tmp_path, manifest, out=tmp_path / "one", folds=2), num_workers=1)


def kill_worker(log: Path, victims: list[int]) -> None:
    """Kill -9 one of this test's training workers once Ray knows of a saved state, to which it can go back."""
    deadline = time.monotonic() + 300
    saved = log.parent / "_training" / "fit" / "checkpoint_manager_snapshot.json"
    while time.monotonic() < deadline and not (saved.exists() and "checkpoint_2" in saved.read_text()):
        time.sleep(0.02)
    log.with_name("at-the-kill").write_text(log.read_text())
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and is_own(int(folder.name)):
            with contextlib.suppress(OSError):
                if b"RayTrainWorker" in (folder / "cmdline").read_bytes():
                    os.kill(int(folder.name), signal.SIGKILL)
                    victims.append(int(folder.name))
                    return


def is_own(pid: int) -> bool:
    """Whether a process descends from this one."""
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            return False
        if pid == os.getpid():
            return True
    return False


@pytest.mark.ray
def test_a_killed_worker_changes_nothing(manifest: Path, tmp_path: Path) -> None:
    """Killed behind a saved epoch, both go on from it, bit for bit as two ranks that Ray does not know; each epoch is
    logged once.
    """
    best = {
        "epochs": 4,
        "folds": 2,
        "fit": 'keep = "best"',
        "clips": 'choose = ["dev"]\ncalibrate = ["apart"]\nmax_unreadable = 1',
    }
    text = manifest.read_text().replace("s2,sadness,,c,train", "s2,sadness,,c,dev").replace(
        "s2,anger,,c,train", "s2,anger,,c,dev"
    )  # fmt: skip
    manifest.write_text("".join(line.replace(",train", ",apart") if ",s0," in line else line
                                for line in text.splitlines(keepends=True)))  # fmt: skip
    (tmp_path / "1-1-neutral.flac").write_bytes(b"no sound")
    train_by_spawned_ranks(load_config(TrainConfig, write(tmp_path, manifest, out=tmp_path / "calm", **best)))
    out = tmp_path / "killed-once"
    reports: list[TrainProgress] = []
    victims: list[int] = []
    killer = threading.Thread(target=kill_worker, args=(out / "log.jsonl", victims))
    killer.start()
    train(write(tmp_path, manifest, out=out, **best), num_workers=2, on_progress=reports.append)
    killer.join()
    assert len(victims) == 1
    assert (reports[-1].parts, reports[-1].num_parts) == (12, 12)
    assert reports[-1].ccc is not None
    calm, evaluation = (json.loads((folder / "evaluation.json").read_text()) for folder in (tmp_path / "calm", out))
    assert evaluation["test"] == calm["test"]
    assert evaluation["cross_validation"] == calm["cross_validation"]
    one, two = load_checkpoint(tmp_path / "calm").network, load_checkpoint(out).network
    for mine, other in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(mine, other)
    curves = [logged(tmp_path / name) for name in ("calm", "killed-once")]
    stages = [(stage, epoch) for stage in (0, 1, 2) for epoch in (1, 2, 3, 4)]
    assert [(line["stage"], line["epoch"]) for line in curves[1]] == stages
    before = (out / "at-the-kill").read_text().splitlines()
    assert (out / "log.jsonl").read_text().splitlines()[:2] == before[:2]  # seconds and all
    assert [line["loss"] for line in curves[0]] == [line["loss"] for line in curves[1]]
    assert {"ccc", "ccc_valence", "uar"} <= curves[0][0]["choose"].keys()
    ball = evaluation["vad_radius_90"]
    assert ball == calm["vad_radius_90"]
    assert ball["from"] == "calibrate"
    published = ball["radius"] if ball["published"] else None
    assert load_checkpoint(out).config.tasks["vad"].radius_90 == published
    record = json.loads((out / "training.json").read_text())
    assert len(record["unreadable"]) == 1
    assert "1-1-neutral.flac" in record["unreadable"][0]

    with pytest.raises(UsageError, match="holds a training already"):
        train(write(tmp_path, manifest, out=out, **best), resume=False)


def test_a_small_training_needs_no_ray_and_goes_on_after_kill_9(manifest: Path, tmp_path: Path, root: Path) -> None:
    calm = train(write(tmp_path, manifest, out=tmp_path / "calm", epochs=24))
    config, state = write(tmp_path, manifest, epochs=24), tmp_path / "out" / FOLDER_NAME / STATE_NAME
    running = subprocess.Popen([sys.executable, "-m", "jobs.train", str(config)], cwd=root)
    while not state.exists():
        assert running.poll() is None
        time.sleep(0.01)
    assert "_raylet" not in Path(f"/proc/{running.pid}/maps").read_text()
    running.kill()
    running.wait()
    at_the_kill = (tmp_path / "out" / "log.jsonl").read_text().splitlines()
    assert len(at_the_kill) < 24

    killed = train(config)
    assert killed["test"] == calm["test"]
    one, two = load_checkpoint(tmp_path / "calm").network, load_checkpoint(tmp_path / "out").network
    for mine, other in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert [line["epoch"] for line in logged(tmp_path / "out")] == list(range(1, 25))
    assert (tmp_path / "out" / "log.jsonl").read_text().splitlines()[:2] == at_the_kill[:2]  # seconds and all
    assert not state.parent.exists()


def test_a_training_that_fails_says_that_the_same_command_resumes_it(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(Worker, "run", lambda worker: (tmp_path / "none").read_bytes())
    with pytest.raises(MachineError, match=r"out: the training broke off \(.*none'\); the same command resumes it"):
        train(write(tmp_path, manifest))
    assert torch.get_num_threads() == threads


def test_only_what_is_small_and_alone_is_trained_without_ray(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(TrainConfig, write(tmp_path, manifest))
    clips = read_clips(config)

    def asked(config: TrainConfig = config, clips: list[Clip] = clips, *, num_workers: int = 1) -> tuple[bool, str]:
        return trains_here(config, clips, num_workers)

    assert asked() == (True, "a single worker has few clips to decode")
    assert asked(num_workers=2) == (False, "2 workers were asked for")
    streamed = dataclasses.replace(config, clips=dataclasses.replace(config.clips, hold="stream"))
    elsewhere = [dataclasses.replace(clips[0], uri="s3://audio/a.wav"), *clips[1:]]
    assert asked(streamed) == asked(clips=elsewhere) == (False, "clips are streamed or lie in a store")
    assert asked(clips=clips[:1] * 1000)[0]
    assert asked(clips=clips[:1] * 1001) == (False, "more than 1000 clips are decoded on all cores")
    assert not asked(dataclasses.replace(config, distortion=DistortionConfig(copies=2)), clips[:1] * 400)[0]
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.train.command.num_gpus", lambda: 1)
        assert asked() == (False, "this machine has a GPU")
        patch.setenv("RAY_ADDRESS", "cluster:6379")
        assert asked() == (False, "RAY_ADDRESS names a cluster")
    (tmp_path / "out" / FOLDER_NAME / RAY_NAME).mkdir(parents=True)
    assert asked() == (False, "a training that it has not finished is there")
