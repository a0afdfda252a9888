"""What is saved comes back; what is foreign or broken is refused in one clear sentence."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from emosphere.config import from_mapping
from emosphere.errors import BadCheckpoint
from emosphere.model.architecture import NetworkConfig
from emosphere.model.checkpoint import load_checkpoint, save_checkpoint
from emosphere.model.description import CheckpointConfig, describe_checkpoint
from emosphere.model.network import Network
from emosphere.tasks.region import RegionTask, num_regions
from emosphere.tasks.vad import VadTask
from tests.encoders import TINY

LOGMEL = {"kind": "logmel", "num_mels": 16, "dim": 8, "num_blocks": 1}
WAVLM = {"kind": "wavlm", "size": "base", "settings": TINY}


def make(folder: Path, encoder: dict[str, Any] = LOGMEL, **settings: Any) -> Network:
    values = {
        "streams": {"speech": encoder},
        "pooling": {"kind": "style", "dim": 8},
        "heads": {"vad": {"hidden": 8}, "region": {"hidden": 8}},
    }
    network = Network(from_mapping(NetworkConfig, values, source="test"))
    config = CheckpointConfig(network=network.config, name="ORG/Tiny 1", licence="CC0-1.0", **settings)
    save_checkpoint(network, folder, config, card="# Tiny\n")
    return network


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    labels = {"region": RegionTask(temperature=1.5), "vad": VadTask(radius_90=0.75)}
    network = make(tmp_path, labels=labels)
    checkpoint = load_checkpoint(tmp_path)
    for one, two in zip(network.parameters(), checkpoint.network.parameters(), strict=True):
        assert torch.equal(one, two)
    assert not checkpoint.network.training
    assert (checkpoint.name, checkpoint.licence) == ("org-tiny-1", "CC0-1.0")
    assert checkpoint.config.labels == labels
    assert checkpoint.config.tasks == checkpoint.network.tasks == labels
    assert list(checkpoint.config.tasks) == ["vad", "region"]
    assert num_regions(checkpoint.config.tasks) == 8
    assert (tmp_path / "README.md").read_text() == "# Tiny\n"


def test_the_digest_is_of_the_bytes_of_both_files(tmp_path: Path) -> None:
    make(tmp_path)
    both = (tmp_path / "config.json").read_bytes() + (tmp_path / "model.safetensors").read_bytes()
    assert load_checkpoint(tmp_path).digest == hashlib.sha256(both).hexdigest()[:12]


@pytest.mark.parametrize("encoder", [LOGMEL, WAVLM], ids=["logmel", "wavlm"])
def test_a_checkpoint_is_described_as_it_is_loaded(tmp_path: Path, encoder: dict[str, Any]) -> None:
    make(tmp_path, encoder)
    loaded, described = load_checkpoint(tmp_path), describe_checkpoint(tmp_path)
    names = ("config", "digest", "name", "licence")
    assert [getattr(described, name) for name in names] == [getattr(loaded, name) for name in names]
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    save_file({name: tensor * float("nan") for name, tensor in tensors.items()}, weights)
    for read in (load_checkpoint, describe_checkpoint):
        with pytest.raises(BadCheckpoint, match="holds NaN or infinity"):
            read(tmp_path)
    weights.write_bytes(weights.read_bytes()[:-1])
    for read in (load_checkpoint, describe_checkpoint):
        with pytest.raises(BadCheckpoint, match="not a safetensors file"):
            read(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_a_number_is_found_by_its_bits(tmp_path: Path, dtype: torch.dtype, odd: float) -> None:
    make(tmp_path)
    largest = torch.finfo(dtype).max
    tensors = {
        "a": torch.tensor([0.0, -0.0, largest, -largest], dtype=dtype),
        "n": torch.tensor([-1]),
        "e": torch.empty(0),
    }
    # What a file says of itself is no tensor, whatever its words.
    save_file(tensors, tmp_path / "model.safetensors", metadata={"dtype": "F32"})
    describe_checkpoint(tmp_path)
    tensors["a"][1] = odd
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(BadCheckpoint, match="a holds NaN or infinity"):
        describe_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    make(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BadCheckpoint, match=f"no {name} there; a model is a folder"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "emosphere-9"}, "holds format 'emosphere-9', wanted format 'emosphere-2'"),
        ({"labels": {"region": {"kind": "region", "regions": 12}}}, "regions: 12 is not one of 8, 18, 32"),
        ({"sample_rate_hz": 8000}, "sample_rate_hz=8000 must be 16000"),
        ({"labels": {"region": {"kind": "region", "temperature": 0.0}}}, "temperature=0.0 must be above 0"),
        ({"labels": {"vad": {"kind": "vad", "radius_90": 0.0}}}, "radius_90=0.0 must be above 0"),
        ({"max_clip_s": 0.0}, "max_clip_s=0.0 must be above 0 and finite"),
        ({"max_clip_s": float("inf")}, "max_clip_s=inf must be above 0 and finite"),
        ({"licens": "x"}, "Did you mean 'licence'"),
    ],
    ids=[
        "other format",
        "other region table",
        "other rate",
        "no temperature",
        "no radius",
        "no clip",
        "endless clip",
        "typo",
    ],
)
def test_a_configuration_of_another_kind_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    make(tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(BadCheckpoint, match=message):
        load_checkpoint(tmp_path)


def test_a_transformers_folder_is_recognised_as_foreign(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2"}')
    with pytest.raises(BadCheckpoint, match="a configuration of 'wav2vec2', wanted format 'emosphere-2'"):
        load_checkpoint(tmp_path)


def test_weights_of_other_shapes_are_refused(tmp_path: Path) -> None:
    make(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(weights | {"poolings.speech.out.bias": torch.zeros(9)}, tmp_path / "model.safetensors")
    with pytest.raises(
        BadCheckpoint, match=r"1 tensors do not fit.*poolings.speech.out.bias: found \(9,\), wanted \(8,\)"
    ):
        load_checkpoint(tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    make(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["poolings.speech.out.bias"][0] = float("nan")
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(BadCheckpoint, match=r"poolings\.speech\.out\.bias holds NaN"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_bytes_of_another_kind_are_refused(tmp_path: Path, name: str) -> None:
    make(tmp_path)
    (tmp_path / name).write_bytes(b"\x80\x04not this")
    with pytest.raises(BadCheckpoint, match=r"not valid JSON|not a safetensors file"):
        load_checkpoint(tmp_path)


def test_a_configuration_of_another_architecture_is_not_written(tmp_path: Path) -> None:
    network = make(tmp_path / "one")
    config = load_checkpoint(tmp_path / "one").config
    values = {"streams": {"speech": {"kind": "logmel"}}, "pooling": {"kind": "statistics"}, "heads": {"vad": {}}}
    other = Network(from_mapping(NetworkConfig, values, source="test"))
    with pytest.raises(ValueError, match="differs from the network's own"):
        save_checkpoint(other, tmp_path / "two", config, card="")
    assert network.config == config.network


def test_two_heads_of_a_checkpoint_do_not_fill_one_column(tmp_path: Path) -> None:
    make(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    values["network"]["heads"]["again"] = values["network"]["heads"]["vad"] | {"label": "vad"}
    edit(tmp_path, network=values["network"])
    with pytest.raises(BadCheckpoint, match="'vad' and 'again' would both fill the column 'valence'"):
        describe_checkpoint(tmp_path)
