"""Folders that hold a trained network: config.json, model.safetensors, README.md. Nothing in them is ever unpickled."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from emosphere.config import from_mapping, to_mapping
from emosphere.errors import BadCheckpoint, UsageError
from emosphere.model.network import Network, NetworkConfig
from emosphere.model.pretrained import PretrainedConfig
from emosphere.vad import VAD_DIMS

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"
EVALUATION_NAME = "evaluation.json"
"""What the model achieved, as its training measured it; in a folder of its own, what `emosphere evaluate` did."""
FORMAT: Final = "emosphere-1"
AT_WEIGHT_ZERO: Final = "at_weight_zero"
"""Folder inside a model's folder: the checkpoint as it was when the weight of its region loss reached 0.

A training writes it and an evaluation measures its region head too; the whole network, since the encoder went on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointConfig:
    """All that must be known to use the weights, as it stands in config.json."""

    network: NetworkConfig
    """Architecture."""
    name: str
    """Name for people and for partition paths; other characters than ``[a-z0-9._-]`` become ``-``."""
    licence: str
    """Licence of the weights."""
    region_names: tuple[str, ...] = ()
    """Region table: the name of each output of the region head, in order; empty without such a head."""
    region_temperature: float = 1.0
    """Region logits are divided by it, so that their softmax is calibrated."""
    vad_radius_90: float | None = None
    """Radius of the ball around an answer that holds the target with 90 %, on speakers like those it was calibrated
    on; None where that was not measured, or says no more than a constant answer would."""
    dims: tuple[str, ...] = VAD_DIMS
    """Order of the VAD head's outputs."""
    scale: Literal["centred"] = "centred"
    """Each dimension lies in [-1, 1], 0 is the middle of the rating scale."""
    sample_rate_hz: int = 16_000
    """Rate of the waveforms it hears."""
    max_clip_s: float = 12.0
    """Longest clip it was meant to hear at once."""
    format: Literal["emosphere-1"] = FORMAT
    """Layout of this file."""

    def __post_init__(self) -> None:
        if self.dims != VAD_DIMS:
            raise ValueError(f"dims={list(self.dims)} must be {list(VAD_DIMS)}: the one order of this project.")
        if len(self.region_names) != self.network.num_regions:
            raise ValueError(
                f"region_names has {len(self.region_names)} names, the region head {self.network.num_regions} outputs."
            )
        if self.sample_rate_hz != 16_000:
            raise ValueError(f"sample_rate_hz={self.sample_rate_hz} must be 16000.")
        if not self.region_temperature > 0:
            raise ValueError(f"region_temperature={self.region_temperature} must be above 0.")

        if self.vad_radius_90 is not None and not self.vad_radius_90 > 0:
            raise ValueError(f"vad_radius_90={self.vad_radius_90} must be above 0, or left out.")

    @property
    def num_regions(self) -> int:
        """Regions its region head tells apart; 0 without one."""
        return len(self.region_names)


class Described(NamedTuple):
    """A checkpoint without its network: enough to plan with, and to name what comes of it."""

    config: CheckpointConfig
    name: str
    """As of :class:`Checkpoint`."""
    digest: str
    """As of :class:`Checkpoint`."""

    @property
    def licence(self) -> str:
        """Licence of the weights."""
        return self.config.licence


class Checkpoint(NamedTuple):
    """A network ready for use, and what was written beside its weights."""

    network: Network
    """In eval mode, float32, on the CPU."""
    config: CheckpointConfig
    name: str
    """``[a-z0-9._-]`` only."""
    digest: str
    """First 12 hex digits of the sha256 over config.json and model.safetensors, in this order."""

    @property
    def licence(self) -> str:
        """Licence of the weights."""
        return self.config.licence


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
    config = _read_config(folder)
    network = _empty_network(config.network)
    _load_weights(network, folder / WEIGHTS_NAME)
    return Checkpoint(network.eval(), config, sanitise(config.name), digest_of(folder))


def describe_checkpoint(folder: str | Path) -> Described:
    """What :func:`load_checkpoint` would say of a folder. Raises BadCheckpoint as it does, but for one reason.

    A pretrained encoder's own code takes seconds to import. So whether all of its tensors fit its configuration is left
    to those who load it.
    """
    folder = Path(folder)
    config = _read_config(folder)
    if not isinstance(config.network.encoder, PretrainedConfig):
        loaded = load_checkpoint(folder)
        return Described(loaded.config, loaded.name, loaded.digest)
    _read_weights(folder / WEIGHTS_NAME)
    return Described(config, sanitise(config.name), digest_of(folder))


def digest_of(folder: str | Path) -> str:
    """First 12 hex digits of the sha256 over the bytes of config.json, then those of model.safetensors."""
    digest = hashlib.sha256((Path(folder) / CONFIG_NAME).read_bytes())
    digest.update((Path(folder) / WEIGHTS_NAME).read_bytes())
    return digest.hexdigest()[:12]


def sanitise(name: str) -> str:
    """Name fit for a partition path.

    >>> sanitise("ORG/WavLM Large")
    'org-wavlm-large'
    """
    return re.sub(r"[^a-z0-9._-]", "-", name.lower())


def _read_config(folder: Path) -> CheckpointConfig:
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        if not (folder / name).is_file():
            raise BadCheckpoint(
                f"{folder}: no {name} there; a model is a folder with {CONFIG_NAME} and {WEIGHTS_NAME}, "
                "as 'emosphere train' writes it."
            )
    path = folder / CONFIG_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadCheckpoint(f"{path}: not valid JSON ({error}); fetch or train the model again.") from error
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        kind = values.get("model_type") or values.get("architectures") if isinstance(values, dict) else None
        what = f"a configuration of {kind!r}" if kind else f"format {found!r}"
        raise BadCheckpoint(
            f"{path}: holds {what}, wanted format {FORMAT!r}; give a folder written by 'emosphere train' or one that "
            "docs/adopt.md names (other weights only serve as an encoder, named in a training configuration)."
        )
    try:
        return from_mapping(CheckpointConfig, values, source=str(path))
    except UsageError as error:
        raise BadCheckpoint(f"{error} Train or fetch the model again for this version.") from error


def _empty_network(config: NetworkConfig) -> Network:
    """A network whose weights are still to be loaded, all of them: random ones for a hundred million take seconds."""
    if not isinstance(config.encoder, PretrainedConfig):
        return Network(config)
    from transformers.initialization import no_init_weights  # seconds to import, as for the encoder itself

    with no_init_weights():
        return Network(config)


def _load_weights(network: Network, path: Path) -> None:
    weights = _read_weights(path)
    wanted = network.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in wanted.items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if found != shapes:
        odd = sorted(name for name in found.keys() | shapes.keys() if found.get(name) != shapes.get(name))
        raise BadCheckpoint(
            f"{path}: {len(odd)} tensors do not fit {CONFIG_NAME}, first {odd[0]}: found "
            f"{found.get(odd[0], 'none')}, wanted {shapes.get(odd[0], 'none')}; the two files are not of one model."
        )
    network.load_state_dict(weights)


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors, all of them finite."""
    try:
        weights: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadCheckpoint(f"{path}: not a safetensors file ({error}); fetch or train the model again.") from error
    if bad := _non_finite(weights):
        raise BadCheckpoint(f"{path}: {bad[0]} holds NaN or infinity; the training broke off badly, train it again.")
    return weights


def _non_finite(weights: dict[str, torch.Tensor]) -> list[str]:
    # The least and the largest value are NaN or infinite where any is: one pass, and nothing as large as the weights.
    return [
        name
        for name, tensor in weights.items()
        if tensor.is_floating_point() and tensor.numel() and not torch.stack(tensor.aminmax()).isfinite().all()
    ]
