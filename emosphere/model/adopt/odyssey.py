"""3loi/SER-Odyssey-Baseline-WavLM-Multi-Attributes: config.json of type ``ser`` and one file of weights."""

from pathlib import Path

from emosphere.errors import BadCheckpoint
from emosphere.model.adopt.baseline import ENCODERS, rebuild
from emosphere.model.adopt.layout import AdoptedModel, card_of, check_labels, licence_of, read_json
from emosphere.model.adopt.tensors import PICKLED_NAME, read_weights
from emosphere.model.description import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME, CheckpointConfig

NAME = "odyssey"
SOURCE_FILES: tuple[str, ...] = (CONFIG_NAME, WEIGHTS_NAME, PICKLED_NAME, CARD_NAME)


def recognise(folder: Path) -> bool:
    """By the configuration's type, or by the encoder it names."""
    config = read_json(folder / CONFIG_NAME)
    return config.get("model_type") == "ser" or "ssl_type" in config


def convert(folder: Path) -> AdoptedModel:
    """See :class:`emosphere.model.adopt.layout.Layout`."""
    config = read_json(folder / CONFIG_NAME)
    check_labels(folder, config)
    missing = [key for key in ("mean", "std", "ssl_type") if key not in config]
    if missing:
        raise BadCheckpoint(f"{folder / CONFIG_NAME}: lacks {', '.join(missing)}; fetch the published file again.")
    if config["ssl_type"] not in ENCODERS:
        raise BadCheckpoint(
            f"{folder / CONFIG_NAME}: ssl_type={config['ssl_type']!r} is not one of {', '.join(ENCODERS)}."
        )
    if config.get("sampling_rate", 16_000) != 16_000:
        raise BadCheckpoint(f"{folder / CONFIG_NAME}: sampling_rate={config['sampling_rate']} must be 16000.")
    network = rebuild(read_weights(folder), mean=float(config["mean"]), std=float(config["std"]), source=folder)
    licence = licence_of(folder, published="MIT")
    name = "SER-Odyssey-Baseline-WavLM-Multi-Attributes"
    about = (
        "WavLM, attentive statistics pooling and a regression, trained on MSP-Podcast for the Odyssey 2024 challenge "
        "(Goncalves et al. 2024)."
    )
    card = card_of(name, licence, source=f"the layout of `3loi/{name}`", about=about)
    return AdoptedModel(network, CheckpointConfig(network=network.config, name=name, licence=licence), card)
