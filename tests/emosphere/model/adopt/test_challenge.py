"""The challenge baselines' state dicts: the literal pass, and what is refused."""

import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

from emosphere.errors import BadCheckpoint
from emosphere.model.adopt.challenge import TO_JSON
from emosphere.model.checkpoint import load_checkpoint
from emosphere.model.find import find_model

pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")


def test_it_answers_as_the_publishers_code_does(challenge: Any, agree: Callable[[Any], None]) -> None:
    agree(challenge)


def test_the_names_of_the_later_scripts_will_do(challenge: Any, agree: Callable[[Any], None]) -> None:
    for part in ("ssl", "pool", "ser"):
        (challenge.folder / f"final_{part}.pt").rename(challenge.folder / f"best_{part}.pt")
    agree(challenge)


def test_mean_pooling_is_what_remains_without_a_pooling_file(challenge: Any) -> None:
    (challenge.folder / "final_pool.pt").unlink()
    with pytest.raises(BadCheckpoint, match=r"fc.0.0.weight has shape \(12, 32\), wanted \(12, 16\)"):
        find_model(str(challenge.folder))
    ser = torch.load(challenge.folder / "final_ser.pt", weights_only=True)
    ser["fc.0.0.weight"] = ser["fc.0.0.weight"][:, :16].clone()
    torch.save(ser, challenge.folder / "final_ser.pt")
    assert load_checkpoint(find_model(str(challenge.folder))).config.network.pooling.kind == "mean"


def test_no_licence_was_published_and_none_is_invented(challenge: Any) -> None:
    assert load_checkpoint(find_model(str(challenge.folder))).licence == "none published (MSP-Podcast terms apply)"


@pytest.mark.parametrize("part", ["ssl", "ser"])
def test_a_missing_part_is_named(challenge: Any, part: str) -> None:
    (challenge.folder / f"final_{part}.pt").unlink()
    with pytest.raises(BadCheckpoint, match=rf"final_{part}\.pt is missing"):
        find_model(str(challenge.folder))


def test_the_pickled_statistics_are_never_opened(challenge: Any, tmp_path: Any) -> None:
    (challenge.folder / "train_norm_stat.json").unlink()
    with (challenge.folder / "train_norm_stat.pkl").open("wb") as file:
        pickle.dump(Trap(tmp_path / "sprung"), file)
    with pytest.raises(BadCheckpoint, match=r"no train_norm_stat\.json .* where you trust it, run there: python -c"):
        find_model(str(challenge.folder))
    assert not (tmp_path / "sprung").exists()


def test_the_command_in_the_message_writes_the_numbers(challenge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    with (challenge.folder / "train_norm_stat.pkl").open("wb") as file:
        pickle.dump((np.float32(0.25), np.float64(0.5)), file)
    monkeypatch.chdir(challenge.folder)
    exec(TO_JSON.removeprefix('python -c "').removesuffix('"'))
    assert json.loads((challenge.folder / "train_norm_stat.json").read_text()) == {"mean": 0.25, "std": 0.5}


class Trap:
    """A pickle that makes a file when it is opened."""

    def __init__(self, path: Any) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_a_state_dict_with_code_in_it_is_refused_unrun(challenge: Any, tmp_path: Any) -> None:
    torch.save({"fc.0.0.weight": Trap(tmp_path / "sprung")}, challenge.folder / "final_ser.pt")
    with pytest.raises(BadCheckpoint, match=r"final_ser.pt: holds more than tensors .* could run code"):
        find_model(str(challenge.folder))
    assert not (tmp_path / "sprung").exists()
