"""The log of a training, read while it is written, says how far the training is."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.train import progress as train_progress
from pipelines.train.progress import TrainProgress, followed, progress_of


def line(stage: int, epoch: int, **more: Any) -> dict[str, Any]:
    return {
        "stage": stage,
        "epoch": epoch,
        "loss": {"vad": 1.0, "region": 0.5},
        "clips_per_s": 80.0,
        "wall_s": 2.0,
    } | more


def test_what_is_left_follows_from_the_epochs_behind() -> None:
    lines = [line(0, 1), line(0, 2, wall_s=4.0), line(1, 1, choose={"ccc": 0.4, "uar": 0.2})]
    progress = progress_of(lines, num_epochs=5, folds=2, wall_s=9.0)
    # The fit stopped early after two of its five epochs, which count as whole.
    assert (progress.parts, progress.num_parts, progress.fit) == (6, 15, "fold=1/2")
    assert (progress.loss, progress.ccc, progress.clips_per_s) == (1.5, 0.4, 80.0)
    assert progress.left_s == pytest.approx(9 * (2 + 4 + 2) / 3)


def test_every_epoch_is_told_and_half_a_line_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_progress, "POLL_S", 0.01)
    reports: list[TrainProgress] = []
    log = tmp_path / "log.jsonl"

    def wait_for(parts: int) -> None:
        while not reports or reports[-1].parts != parts:
            train_progress.time.sleep(0.005)

    with followed(log, num_epochs=2, folds=0, on_progress=reports.append):
        wait_for(0)  # no log yet
        log.write_text(json.dumps(line(0, 1)) + "\n" + json.dumps(line(0, 2))[:20])
        wait_for(1)
        log.write_text("".join(json.dumps(line(0, epoch)) + "\n" for epoch in (1, 2)))
    assert [progress.parts for progress in reports] == [0, 1, 2]
    assert reports[-1].left_s == 0


def test_a_long_epoch_is_told_of_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_progress, "POLL_S", 0.01)
    monkeypatch.setattr(train_progress, "HEARTBEAT_S", 0.02)
    reports: list[TrainProgress] = []
    with followed(tmp_path / "log.jsonl", num_epochs=2, folds=0, on_progress=reports.append):
        while len(reports) < 3:
            train_progress.time.sleep(0.005)
    assert {progress.epoch for progress in reports} == {0}
