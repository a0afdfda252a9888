"""What a worker finds when its training goes on."""

from pathlib import Path

import pytest
import ray.train
import torch

from pipelines.train.worker import STATE_NAME, saved_state


def test_a_training_begins_where_nothing_was_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: None)
    assert saved_state() is None


def test_a_training_begun_under_earlier_names_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"epoch": 3, "at_rest": {"epochs": 2}, "rest_weights": {"w": torch.ones(2)}}
    torch.save(state, tmp_path / STATE_NAME)
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: ray.train.Checkpoint.from_directory(tmp_path))
    found = saved_state()
    assert found is not None
    assert found.keys() == {"epoch", "at_weight_zero", "weights_at_weight_zero"}
    assert found["at_weight_zero"] == {"epochs": 2}
