"""Folders that hold a trained network: config.json, model.safetensors, README.md. Nothing in them is ever unpickled."""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file

from emosphere.config import to_mapping
from emosphere.errors import BadCheckpoint
from emosphere.model.architecture import PretrainedConfig
from emosphere.model.description import (
    CARD_NAME,
    CONFIG_NAME,
    WEIGHTS_NAME,
    CheckpointConfig,
    Description,
    describe_checkpoint,
    is_of_first_format,
)
from emosphere.model.first_format import weights_of_today
from emosphere.model.network import Network


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint(Description):
    """A network ready for use, and what was written beside its weights."""

    network: Network
    """In eval mode, float32, on the CPU."""


def save_checkpoint(network: Network, folder: str | Path, config: CheckpointConfig, *, card: str) -> None:
    """Write ``network`` into ``folder`` (made when missing); ``card`` becomes its README.md.

    Raises ValueError when ``config`` describes another architecture than the network's own.
    """
    if config.network != network.config:
        raise ValueError("config.network differs from the network's own configuration.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / WEIGHTS_NAME, metadata={"format": "pt"})
    # safetensors writes for its owner alone; weights are for whoever may read the card.
    (folder / WEIGHTS_NAME).chmod(0o644)
    (folder / CONFIG_NAME).write_text(json.dumps(to_mapping(config), indent=2) + "\n", encoding="utf-8")
    (folder / CARD_NAME).write_text(card, encoding="utf-8")


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote. Raises BadCheckpoint, saying what was found and what was wanted."""
    folder = Path(folder)
    described = describe_checkpoint(folder)
    network = _empty_network(described.config)
    _load_weights(network, folder / WEIGHTS_NAME, is_of_first_format=is_of_first_format(folder))
    return Checkpoint(config=described.config, digest=described.digest, network=network.eval())


def _empty_network(config: CheckpointConfig) -> Network:
    """A network whose weights are still to be loaded, all of them: random ones for a hundred million take seconds."""
    if not any(isinstance(stream, PretrainedConfig) for stream in config.network.streams.values()):
        return Network(config.network, config.tasks)
    from transformers.initialization import no_init_weights  # seconds to import, as for the encoder itself

    with no_init_weights():
        return Network(config.network, config.tasks)


def _load_weights(network: Network, path: Path, *, is_of_first_format: bool) -> None:
    weights = load_file(path)
    if is_of_first_format:
        weights = weights_of_today(weights, network.config.heads)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if shapes != wanted:
        odd = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
        raise BadCheckpoint(
            f"{path}: {len(odd)} tensors do not fit {CONFIG_NAME}, first {odd[0]}: found "
            f"{shapes.get(odd[0], 'none')}, wanted {wanted.get(odd[0], 'none')}; the two files are not of one model."
        )
    network.load_state_dict(weights)
