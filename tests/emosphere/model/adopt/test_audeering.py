"""audEERING's layout: the literal pass, and what is refused."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from emosphere.errors import BadCheckpoint
from emosphere.model.architecture import PretrainedConfig
from emosphere.model.checkpoint import load_checkpoint
from emosphere.model.find import find_model


def test_it_answers_as_the_publishers_code_does(audeering: Any, agree: Callable[[Any], None]) -> None:
    agree(audeering)


def test_level_and_offset_of_a_clip_are_not_heard(audeering: Any, clips: list[np.ndarray]) -> None:
    """The published feature extractor takes both away, so the literal pass in the test above would too."""
    once, louder = audeering.answer(clips[0]), audeering.answer(clips[0] * 3 + 0.2)
    # Not rounding alone: the extractor adds 1e-7 to the variance. As scores are promised, then.
    np.testing.assert_allclose(once, louder, rtol=0, atol=1e-4)


def test_what_was_found_out_stands_in_the_folder(audeering: Any) -> None:
    checkpoint = load_checkpoint(find_model(str(audeering.folder)))
    assert (checkpoint.name, checkpoint.licence) == ("wav2vec2-large-robust-12-ft-emotion-msp-dim", "CC-BY-NC-SA-4.0")
    network = checkpoint.config.network
    [encoder] = network.streams.values()
    assert isinstance(encoder, PretrainedConfig)
    assert (encoder.kind, encoder.waveform_std, network.pooling.kind) == ("wav2vec2", None, "mean")
    assert (network.heads["vad"].norm, network.heads["vad"].activation) == ("none", "tanh")


def test_without_a_readme_the_published_licence_is_recorded(audeering: Any) -> None:
    (audeering.folder / "README.md").unlink()
    assert load_checkpoint(find_model(str(audeering.folder))).licence == "CC-BY-NC-SA-4.0"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"id2label": {"0": "arousal", "1": "valence", "2": "dominance"}},
            "its outputs are arousal, valence, dominance",
        ),
        ({"add_adapter": True}, "add_adapter is set"),
        ({"num_hidden_layers": 3}, r"wav2vec2\.encoder\.layers\.2\..* is missing"),
        ({"num_hidden_layers": 1}, r"no place in the published layout, first wav2vec2\.encoder\.layers\.1\."),
    ],
)
def test_another_configuration_is_refused(audeering: Any, changes: dict[str, Any], message: str) -> None:
    audeering.edit_config(**changes)
    with pytest.raises(BadCheckpoint, match=message):
        find_model(str(audeering.folder))


def test_a_configuration_that_lacks_the_encoders_settings_is_refused(audeering: Any) -> None:
    path = audeering.folder / "config.json"
    config = json.loads(path.read_text())
    del config["conv_stride"], config["do_stable_layer_norm"]
    path.write_text(json.dumps(config))
    with pytest.raises(BadCheckpoint, match="lacks conv_stride, do_stable_layer_norm"):
        find_model(str(audeering.folder))


def test_how_the_waveform_is_normalised_must_be_said(audeering: Any) -> None:
    path = audeering.folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_normalize": False}))
    with pytest.raises(BadCheckpoint, match="found do_normalize=False, sampling_rate=16000; wanted true"):
        find_model(str(audeering.folder))
    path.unlink()
    with pytest.raises(BadCheckpoint, match=r"no preprocessor_config\.json there"):
        find_model(str(audeering.folder))


@pytest.mark.parametrize(
    "tensor", ["classifier.dense.weight", "classifier.out_proj.bias", "wav2vec2.encoder.layer_norm.bias"]
)
def test_a_missing_tensor_is_named(audeering: Any, tensor: str) -> None:
    audeering.edit_weights(lambda tensors: tensors.pop(tensor))
    with pytest.raises(BadCheckpoint, match=f"tensor {tensor} is missing"):
        find_model(str(audeering.folder))


def test_a_head_of_other_width_is_named(audeering: Any) -> None:
    import torch

    audeering.edit_weights(lambda tensors: tensors.update({"classifier.out_proj.weight": torch.ones(3, 5)}))
    with pytest.raises(BadCheckpoint, match=r"classifier.out_proj.weight has shape \(3, 5\), wanted \(3, 16\)"):
        find_model(str(audeering.folder))
    audeering.edit_weights(lambda tensors: tensors.update({"classifier.out_proj.weight": torch.ones(4, 16)}))
    with pytest.raises(BadCheckpoint, match="answers 4 numbers, wanted 3"):
        find_model(str(audeering.folder))


def test_another_wav2vec2_is_not_taken_for_it(audeering: Any) -> None:
    audeering.edit_config(architectures=["Wav2Vec2ForCTC"], id2label={"0": "a"})
    assert find_model(str(audeering.folder)) == audeering.folder
    with pytest.raises(BadCheckpoint, match=r"holds a configuration of 'wav2vec2', .* one that docs/adopt.md names"):
        load_checkpoint(audeering.folder)
