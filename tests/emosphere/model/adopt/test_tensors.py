"""Only tensors come out of a file of weights, under today's names."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from emosphere.errors import BadCheckpoint
from emosphere.model.adopt.tensors import read_tensors, read_weights


def test_weight_norm_of_older_versions_gets_its_present_names(tmp_path: Path) -> None:
    torch.save({"a.conv.weight_g": torch.ones(1), "a.conv.weight_v": torch.ones(2)}, tmp_path / "w.bin")
    parametrized = "a.conv.parametrizations.weight.original"
    assert set(read_tensors(tmp_path / "w.bin")) == {f"{parametrized}0", f"{parametrized}1"}


def test_half_precision_becomes_single(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2, dtype=torch.float16)}, tmp_path / "w.safetensors")
    assert read_tensors(tmp_path / "w.safetensors")["a"].dtype == torch.float32


def test_safetensors_goes_before_a_pickle(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    assert read_weights(tmp_path)["a"].item() == 0
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    assert read_weights(tmp_path)["a"].item() == 1


def test_a_folder_without_weights_says_what_was_wanted(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"wanted model.safetensors or pytorch_model.bin"):
        read_weights(tmp_path)


@pytest.mark.parametrize("name", ["w.bin", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights here, only words" * 20])
def test_what_is_no_weights_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadCheckpoint, match=f"{name}: "):
        read_tensors(tmp_path / name)


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.ones(1)], tmp_path / "w.bin")
    with pytest.raises(BadCheckpoint, match="is not a state dict"):
        read_tensors(tmp_path / "w.bin")
