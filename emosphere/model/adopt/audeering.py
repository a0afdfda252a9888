"""audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim: wav2vec 2.0, mean over time, two linear layers with tanh."""

from pathlib import Path
from typing import Any, Final

from emosphere.errors import BadCheckpoint
from emosphere.model.adopt.layout import (
    PUBLISHED_DIMS,
    AdoptedModel,
    card_of,
    check_labels,
    labels_of,
    licence_of,
    read_json,
    to_centred,
)
from emosphere.model.adopt.tensors import PICKLED_NAME, place, read_weights, shape_of
from emosphere.model.architecture import SPEECH, HeadConfig, MeanPoolingConfig, NetworkConfig, PretrainedConfig
from emosphere.model.description import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME, CheckpointConfig
from emosphere.model.network import Network
from emosphere.tasks.vad import VAD

NAME = "audeering"
PREPROCESSOR_NAME = "preprocessor_config.json"
SOURCE_FILES: tuple[str, ...] = (CONFIG_NAME, PREPROCESSOR_NAME, WEIGHTS_NAME, PICKLED_NAME, CARD_NAME)
ARCHITECTURE = "Wav2Vec2ForSpeechClassification"

NEEDED: Final = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "conv_dim",
    "conv_kernel",
    "conv_stride",
    "conv_bias",
    "do_stable_layer_norm",
    "feat_extract_norm",
    "num_conv_pos_embeddings",
    "num_conv_pos_embedding_groups",
)
"""Settings of the encoder that change what it computes."""
KEPT: Final = (
    *NEEDED,
    "layer_norm_eps",
    "hidden_act",
    "feat_extract_activation",
    "hidden_dropout",
    "activation_dropout",
    "attention_dropout",
    "feat_proj_dropout",
    "layerdrop",
    "apply_spec_augment",
    "mask_time_prob",
    "mask_time_length",
    "mask_feature_prob",
    "mask_feature_length",
)
"""Settings that are taken over where config.json has them; the second half matters to training alone."""


def recognise(folder: Path) -> bool:
    """By family and, with it, the architecture or the labels."""
    config = read_json(folder / CONFIG_NAME)
    if config.get("model_type") != "wav2vec2":
        return False
    return ARCHITECTURE in (config.get("architectures") or []) or set(labels_of(config)) == set(PUBLISHED_DIMS)


def convert(folder: Path) -> AdoptedModel:
    """See :class:`emosphere.model.adopt.layout.Layout`."""
    config = read_json(folder / CONFIG_NAME)
    check_labels(folder, config)
    _check_preprocessor(folder, config)
    tensors = read_weights(folder)
    head = "classifier.out_proj."
    for part in ("weight", "bias"):
        outputs = shape_of(tensors, head + part, source=folder)[0]
        if outputs != 3:
            raise BadCheckpoint(f"{folder}: the tensor {head}{part} answers {outputs} numbers, wanted 3.")
    tensors[f"{head}weight"], tensors[f"{head}bias"] = to_centred(tensors[f"{head}weight"], tensors[f"{head}bias"])
    hidden = shape_of(tensors, "classifier.dense.weight", source=folder)[0]
    dropout = float(config.get("final_dropout", 0.1))
    settings: dict[str, Any] = {key: config[key] for key in KEPT if key in config}
    network = Network(
        NetworkConfig(
            streams={SPEECH: PretrainedConfig(kind="wav2vec2", size="large", settings=settings)},
            pooling=MeanPoolingConfig(kind="mean"),
            heads={VAD: HeadConfig(hidden=hidden, dropout=dropout, norm="none", activation="tanh")},
        )
    )
    names = {
        f"streams.{SPEECH}.model.": "wav2vec2.",
        f"heads.{VAD}.layers.1.": "classifier.dense.",
        f"heads.{VAD}.layers.5.": head,
    }
    place(network, tensors, names, source=folder)
    licence = licence_of(folder, published="CC-BY-NC-SA-4.0")
    name = "wav2vec2-large-robust-12-ft-emotion-msp-dim"
    about = "wav2vec 2.0 (large, robust, 12 layers), fine-tuned on MSP-Podcast 1.7 (Wagner et al. 2023)."
    card = card_of(name, licence, source=f"the layout of `audeering/{name}`", about=about)
    return AdoptedModel(network.eval(), CheckpointConfig(network=network.config, name=name, licence=licence), card)


def _check_preprocessor(folder: Path, config: dict[str, Any]) -> None:
    missing = [key for key in NEEDED if key not in config]
    if missing:
        raise BadCheckpoint(f"{folder / CONFIG_NAME}: lacks {', '.join(missing)}; fetch the published file again.")
    if config.get("add_adapter"):
        raise BadCheckpoint(f"{folder / CONFIG_NAME}: add_adapter is set; the published model has no adapter.")
    if not (folder / PREPROCESSOR_NAME).is_file():
        raise BadCheckpoint(
            f"{folder}: no {PREPROCESSOR_NAME} there; it says how the waveform is normalised. Fetch it too."
        )
    preprocessor = read_json(folder / PREPROCESSOR_NAME)
    if preprocessor.get("do_normalize") is not True or preprocessor.get("sampling_rate") != 16_000:
        raise BadCheckpoint(
            f"{folder / PREPROCESSOR_NAME}: found do_normalize={preprocessor.get('do_normalize')}, sampling_rate="
            f"{preprocessor.get('sampling_rate')}; wanted true and 16000, as published."
        )
