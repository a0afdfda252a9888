"""Checkpoints that were written before there were streams and tasks load as they are, and keep their digest."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from emosphere.config import from_mapping
from emosphere.errors import BadCheckpoint
from emosphere.geometry import REGION_NAMES
from emosphere.model.architecture import NetworkConfig
from emosphere.model.checkpoint import load_checkpoint, save_checkpoint
from emosphere.model.description import describe_checkpoint, is_in_our_format, is_of_first_format
from emosphere.model.network import Network
from emosphere.tasks.region import RegionTask
from emosphere.tasks.vad import VadTask

LOGMEL = {"kind": "logmel", "num_mels": 16, "dim": 8, "num_blocks": 1}
TODAY = {
    "streams": {"speech": LOGMEL},
    "pooling": {"kind": "style", "dim": 8},
    "heads": {"vad": {"hidden": 8}, "region": {"hidden": 6}},
    "members": 2,
}
AT_THAT_TIME: dict[str, Any] = {
    "network": {
        "encoder": LOGMEL,
        "pooling": {"kind": "style", "dim": 8},
        "heads": {
            "vad": {"outputs": 3, "hidden": 8},
            "region": {"outputs": 8, "hidden": 6},
            "category": {"outputs": 5, "hidden": 7},
        },
        "members": 2,
    },
    "name": "Old",
    "licence": "CC0-1.0",
    "region_names": list(REGION_NAMES[8]),
    "region_temperature": 1.5,
    "vad_radius_90": 0.75,
    "dims": ["valence", "arousal", "dominance"],
    "scale": "centred",
    "sample_rate_hz": 16_000,
    "max_clip_s": 10.0,
    "format": "emosphere-1",
}


def first_name(name: str) -> str:
    """What a tensor was called then."""
    name = name.replace("streams.speech.", "encoder.").replace("poolings.speech.", "pooling.")
    assert name.removeprefix("others.0.").split(".")[0] in {"encoder", "pooling", "heads"}
    return name


def write(folder: Path, **changes: Any) -> Network:
    """A folder as it was written then; the network whose weights it holds."""
    network = Network(from_mapping(NetworkConfig, TODAY, source="test")).eval()
    tensors = {first_name(name): tensor for name, tensor in network.state_dict().items()}
    assert "encoder.blocks.0.norm.weight" in tensors
    assert "others.0.pooling.attention.query.bias" in tensors
    for member in ("", "others.0."):
        for layer in ("1.weight", "1.bias", "2.weight", "2.bias", "5.weight", "5.bias"):
            tensors[f"{member}heads.category.layers.{layer}"] = torch.zeros(1)
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({**AT_THAT_TIME, **changes}))
    return network


def test_it_loads_and_answers_as_it_did(tmp_path: Path) -> None:
    network = write(tmp_path)
    loaded = load_checkpoint(tmp_path)
    assert loaded.config.network == network.config
    assert loaded.network.state_dict().keys() == network.state_dict().keys()
    features = network.features(torch.randn(2, 9000), torch.tensor([9000, 5000]))
    for head, answers in network(features).items():
        assert torch.equal(loaded.network(features)[head], answers)
    assert list(loaded.network(features)) == ["vad", "region"]


def test_what_calibration_found_is_with_the_labels(tmp_path: Path) -> None:
    write(tmp_path)
    config = describe_checkpoint(tmp_path).config
    assert config.tasks == {"vad": VadTask(radius_90=0.75), "region": RegionTask(temperature=1.5)}
    assert (config.name, config.licence, config.max_clip_s) == ("Old", "CC0-1.0", 10.0)
    write(tmp_path, vad_radius_90=None)
    assert describe_checkpoint(tmp_path).config.tasks["vad"] == VadTask()


def test_neither_file_is_changed_so_the_digest_stays(tmp_path: Path) -> None:
    write(tmp_path)
    content = [(tmp_path / name).read_bytes() for name in ("config.json", "model.safetensors")]
    assert load_checkpoint(tmp_path).digest == describe_checkpoint(tmp_path).digest
    assert load_checkpoint(tmp_path).digest == hashlib.sha256(b"".join(content)).hexdigest()[:12]
    assert [(tmp_path / name).read_bytes() for name in ("config.json", "model.safetensors")] == content
    assert is_in_our_format(tmp_path)
    assert is_of_first_format(tmp_path)


def test_what_is_saved_again_is_of_todays_format(tmp_path: Path) -> None:
    write(tmp_path / "old")
    old = load_checkpoint(tmp_path / "old")
    save_checkpoint(old.network, tmp_path / "new", old.config, card="")
    new = load_checkpoint(tmp_path / "new")
    assert not is_of_first_format(tmp_path / "new")
    assert new.config == old.config
    for name, tensor in new.network.state_dict().items():
        assert torch.equal(tensor, old.network.state_dict()[name])
    assert not any("category" in name for name in load_file(tmp_path / "new" / "model.safetensors"))


def without(head: str) -> dict[str, Any]:
    """The network of that time without one of its heads."""
    heads = {name: settings for name, settings in AT_THAT_TIME["network"]["heads"].items() if name != head}
    return AT_THAT_TIME["network"] | {"heads": heads}


def of_outputs(**outputs: int) -> dict[str, Any]:
    """The network of that time with so many outputs."""
    heads = {name: {"outputs": number, "hidden": 8} for name, number in outputs.items()}
    return AT_THAT_TIME["network"] | {"heads": heads}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"dims": ["arousal", "dominance", "valence"]},
            r"dims=\['arousal', .* must be \['valence', 'arousal', 'dominance'\], the one order of this project",
            id="other order of dimensions",
        ),
        pytest.param({"scale": "1 to 7"}, "on the scale 'centred'", id="other scale"),
        pytest.param({"network": of_outputs(vad=2)}, "the one order of this project", id="two dimensions"),
        pytest.param({"network": without("vad")}, "the one order of this project", id="no VAD"),
        pytest.param(
            {"region_names": ["one"]}, "region_names has 1 names, the region head 8 outputs", id="other region table"
        ),
        pytest.param(
            {"network": without("region")}, "region_names has 8 names, the region head 0 outputs", id="names of nothing"
        ),
        pytest.param({"region_names": []}, "region_names has 0 names, the region head 8 outputs", id="no names"),
        pytest.param(
            {"network": of_outputs(vad=3, region=12), "region_names": [*"abcdefghijkl"]},
            "region_names has 12 names, the region head 12 outputs; wanted the names of that table",
            id="other number of regions",
        ),
        pytest.param({"region_temperature": 0.0}, "temperature=0.0 must be above 0", id="no temperature"),
        pytest.param({"vad_radius_90": -1.0}, "radius_90=-1.0 must be above 0", id="no radius"),
        pytest.param({"sample_rate_hz": 8000}, "sample_rate_hz=8000 must be 16000", id="other rate"),
        pytest.param({"max_clip_s": 0.0}, "max_clip_s=0.0 must be above 0", id="no clip"),
        pytest.param({"licens": "x"}, "Did you mean 'licence'", id="typo"),
        pytest.param({"network": {"heads": []}}, "not the settings of a model", id="no network"),
        pytest.param({"network": None}, "not the settings of a model", id="nothing"),
    ],
)
def test_what_was_refused_then_is_refused_today(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write(tmp_path, **changes)
    for read in (describe_checkpoint, load_checkpoint):
        with pytest.raises(BadCheckpoint, match=message):
            read(tmp_path)


def test_a_tensor_that_fits_nowhere_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(tensors | {"pooling.surplus": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(
        BadCheckpoint, match=r"1 tensors do not fit .*poolings\.speech\.surplus: found \(2,\), wanted none"
    ):
        load_checkpoint(tmp_path)
    del tensors["others.0.encoder.join.bias"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(BadCheckpoint, match=r"first others\.0\.streams\.speech\.join\.bias: found none"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("regions", [8, 18, 32])
def test_its_table_of_regions_is_its_own(tmp_path: Path, regions: int) -> None:
    heads = AT_THAT_TIME["network"]["heads"] | {"region": {"outputs": regions, "hidden": 6}}
    write(tmp_path, network=AT_THAT_TIME["network"] | {"heads": heads}, region_names=list(REGION_NAMES[regions]))
    assert describe_checkpoint(tmp_path).config.tasks["region"].outputs == regions
