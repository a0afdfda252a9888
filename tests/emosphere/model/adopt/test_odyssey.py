"""3loi's layout: the literal pass, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emosphere.errors import BadCheckpoint
from emosphere.model.architecture import PretrainedConfig
from emosphere.model.checkpoint import load_checkpoint
from emosphere.model.find import find_model
from emosphere.model.predict import Predictor

pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")


def test_it_answers_as_the_publishers_code_does(odyssey: Any, agree: Callable[[Any], None]) -> None:
    agree(odyssey)


def test_what_was_found_out_stands_in_the_folder(odyssey: Any) -> None:
    checkpoint = load_checkpoint(find_model(str(odyssey.folder)))
    assert (checkpoint.name, checkpoint.licence) == ("ser-odyssey-baseline-wavlm-multi-attributes", "MIT")
    encoder = checkpoint.config.network.streams["speech"]
    assert isinstance(encoder, PretrainedConfig)
    assert (encoder.kind, encoder.waveform_mean, encoder.waveform_std) == ("wavlm", -0.00034, 0.0541)
    assert list(checkpoint.config.tasks) == ["vad"]
    card = (find_model(str(odyssey.folder)) / "README.md").read_text()
    assert "**Licence of the weights:** MIT" in card
    assert "Must not be used" in card


def test_answers_outside_the_scale_are_clipped(odyssey: Any, clips: list[np.ndarray]) -> None:
    def far(tensors: dict[str, Any]) -> None:
        tensors["ser_model.out.0.bias"][:] = 3.0

    odyssey.edit_weights(far)
    vad = Predictor(load_checkpoint(find_model(str(odyssey.folder)))).predict(clips)["vad"]
    assert (vad == 1).all()


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ("ser_model.out.0.bias", "tensor ser_model.out.0.bias is missing"),
        ("ser_model.fc.0.1.weight", "tensor ser_model.fc.0.1.weight is missing"),
        ("pool_model.attention", "tensor pool_model.attention is missing"),
        ("ssl_model.encoder.layers.1.attention.k_proj.bias", "layers.1.attention.k_proj.bias is missing"),
        ("ssl_model.feature_projection.projection.weight", "feature_projection.projection.weight is missing"),
    ],
)
def test_a_missing_tensor_is_named(odyssey: Any, tensor: str, message: str) -> None:
    odyssey.edit_weights(lambda tensors: tensors.pop(tensor))
    with pytest.raises(BadCheckpoint, match=message):
        find_model(str(odyssey.folder))


def test_the_tensor_that_only_training_uses_may_be_missing(odyssey: Any, agree: Callable[[Any], None]) -> None:
    odyssey.edit_weights(lambda tensors: tensors.pop("ssl_model.masked_spec_embed"))
    agree(odyssey)


def test_a_surplus_tensor_is_named(odyssey: Any) -> None:
    odyssey.edit_weights(lambda tensors: tensors.update({"ser_model.extra": tensors["ser_model.out.0.bias"] + 0}))
    with pytest.raises(BadCheckpoint, match=r"1 tensors have no place .* first ser_model\.extra"):
        find_model(str(odyssey.folder))


def test_a_tensor_of_another_shape_is_named(odyssey: Any) -> None:
    def cut(tensors: dict[str, Any]) -> None:
        tensors["pool_model.sap_linear.bias"] = tensors["pool_model.sap_linear.bias"][:-1].clone()

    odyssey.edit_weights(cut)
    with pytest.raises(BadCheckpoint, match=r"pool_model.sap_linear.bias has shape \(15,\), wanted \(16,\)"):
        find_model(str(odyssey.folder))


def test_a_tensor_that_is_not_finite_is_named(odyssey: Any) -> None:
    def spoil(tensors: dict[str, Any]) -> None:
        tensors["ser_model.fc.0.0.bias"][2] = float("nan")

    odyssey.edit_weights(spoil)
    with pytest.raises(BadCheckpoint, match=r"ser_model\.fc\.0\.0\.bias holds NaN"):
        find_model(str(odyssey.folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"id2label": {"0": "valence", "1": "arousal", "2": "dominance"}},
            "its outputs are valence, arousal, dominance",
        ),
        ({"id2label": {"0": "Angry", "1": "Sad"}}, "its outputs are angry, sad; only models with"),
        ({"id2label": None}, "its outputs are not named"),
        ({"ssl_type": "facebook/hubert-large-ll60k"}, "ssl_type='facebook/hubert-large-ll60k' is not one of"),
        ({"sampling_rate": 8000}, "sampling_rate=8000 must be 16000"),
        ({"std": 0}, "std=0.0 must be above 0"),
    ],
)
def test_another_configuration_is_refused(odyssey: Any, changes: dict[str, Any], message: str) -> None:
    odyssey.edit_config(**changes)
    with pytest.raises(BadCheckpoint, match=message):
        find_model(str(odyssey.folder))


def test_a_regression_of_several_layers_or_outputs_is_refused(odyssey: Any) -> None:
    import torch

    odyssey.edit_weights(lambda tensors: tensors.update({"ser_model.fc.1.0.weight": torch.ones(2)}))
    with pytest.raises(BadCheckpoint, match="several hidden layers"):
        find_model(str(odyssey.folder))
    odyssey.edit_weights(lambda tensors: tensors.update({"ser_model.out.0.bias": torch.ones(8)}))
    with pytest.raises(BadCheckpoint, match="answers 8 numbers; wanted 3"):
        find_model(str(odyssey.folder))


def test_a_model_of_the_hub_is_converted_too(odyssey: Any, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, allow_patterns: str(odyssey.folder))
    assert find_model("hf:3loi/SER-Odyssey-Baseline-WavLM-Multi-Attributes").parent == own_cache
