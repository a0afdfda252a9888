"""What a worker finds when its training goes on."""

from pathlib import Path

import pytest
import ray.train
import torch

from pipelines.train.worker import STATE_NAME, saved_state


def test_a_training_begins_where_nothing_was_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: None)
    assert saved_state() is None


def test_a_training_goes_on_from_what_was_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"epoch": 3, "at_weight_zero": {"epochs": 2}, "weights_at_weight_zero": {"w": torch.ones(2)}}
    torch.save(state, tmp_path / STATE_NAME)
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: ray.train.Checkpoint.from_directory(tmp_path))
    found = saved_state()
    assert found is not None
    assert found.keys() == state.keys()
    assert found["at_weight_zero"] == {"epochs": 2}
