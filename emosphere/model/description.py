"""What a model's folder says of itself, read without its network: torch alone takes seconds to import, and 450 MB."""

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from safetensors import SafetensorError, safe_open

from emosphere.config import from_mapping
from emosphere.errors import BadCheckpoint, UsageError
from emosphere.model.architecture import NetworkConfig
from emosphere.model.first_format import FIRST_FORMAT, of_today
from emosphere.tasks import Task, refuse_shared_columns

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"
EVALUATION_NAME = "evaluation.json"
"""What the model achieved, as its training measured it; in a folder of its own, what `emosphere evaluate` did."""
FORMAT: Final = "emosphere-2"
MAX_CLIP_S: Final = 12.0
"""Seconds that a network hears at once in training, evaluation and scoring, unless its checkpoint says otherwise."""
AT_WEIGHT_ZERO: Final = "at_weight_zero"
"""Folder inside a model's folder: the checkpoint as it was when a falling weight in its loss reached 0.

A training writes it and an evaluation measures its region head too; the whole network, since the encoder went on."""
EXPONENTS: Final[dict[str, tuple[type[np.unsignedinteger[Any]], int]]] = {
    "F64": (np.uint64, 0x7FF0000000000000),
    "F32": (np.uint32, 0x7F800000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}
"""Types of numbers in a safetensors file, and the bits of their exponent: all set in NaN and in infinity alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointConfig:
    """All that must be known to use the weights, as it stands in config.json."""

    network: NetworkConfig
    """Architecture."""
    name: str
    """Name for people and for partition paths; other characters than ``[a-z0-9._-]`` become ``-``."""
    licence: str
    """Licence of the weights."""
    labels: dict[str, Task] = field(default_factory=dict)
    """By name: what the heads answer, with what calibration found. A label of a kind's own name may be left out."""
    sample_rate_hz: int = 16_000
    """Rate of the waveforms that go into it."""
    max_clip_s: float = MAX_CLIP_S
    """Longest clip that it was trained to take at once."""
    format: Literal["emosphere-2"] = FORMAT
    """Layout of this file."""

    def __post_init__(self) -> None:
        refuse_shared_columns(self.tasks)
        if self.sample_rate_hz != 16_000:
            raise ValueError(f"sample_rate_hz={self.sample_rate_hz} must be 16000.")
        if not 0 < self.max_clip_s < math.inf:
            raise ValueError(f"max_clip_s={self.max_clip_s} must be above 0 and finite.")

    @property
    def tasks(self) -> dict[str, Task]:
        """What each head answers."""
        return self.network.tasks(self.labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """Enough of a checkpoint to plan with, and to name what comes of it."""

    config: CheckpointConfig
    digest: str
    """First 12 hex digits of the sha256 over config.json and model.safetensors, in this order."""

    @property
    def name(self) -> str:
        """``[a-z0-9._-]`` only."""
        return sanitise(self.config.name)

    @property
    def licence(self) -> str:
        """Licence of the weights."""
        return self.config.licence


def describe_checkpoint(folder: str | Path) -> Description:
    """Read a folder that ``save_checkpoint`` wrote. Raises BadCheckpoint, saying what was found and what was wanted.

    Whether the weights' shapes fit the configuration is left to ``load_checkpoint``.
    """
    folder = Path(folder)
    config = _read_config(folder)
    _check_weights(folder / WEIGHTS_NAME)
    digest = hashlib.sha256()
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        with (folder / name).open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return Description(config=config, digest=digest.hexdigest()[:12])


def is_in_our_format(folder: Path) -> bool:
    """Whether its config.json says so."""
    return bool(_format_of(folder) in (FORMAT, FIRST_FORMAT))


def is_of_first_format(folder: Path) -> bool:
    """Whether its config.json says so: then its tensors bear the names of that time."""
    return bool(_format_of(folder) == FIRST_FORMAT)


def _format_of(folder: Path) -> Any:
    try:
        values = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values.get("format") if isinstance(values, dict) else None


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
    named_format = values.get("format") if isinstance(values, dict) else None
    if named_format == FIRST_FORMAT:
        values = of_today(values, source=str(path))
    elif named_format != FORMAT:
        kind = values.get("model_type") or values.get("architectures") if isinstance(values, dict) else None
        what = f"a configuration of {kind!r}" if kind else f"format {named_format!r}"
        raise BadCheckpoint(
            f"{path}: holds {what}, wanted format {FORMAT!r}; give a folder written by 'emosphere train' or one that "
            "docs/adopt.md names (other weights only serve as an encoder, named in a training configuration)."
        )
    try:
        return from_mapping(CheckpointConfig, values, source=str(path))
    except UsageError as error:
        raise BadCheckpoint(f"{error} Train or fetch the model again for this version.") from error


def _check_weights(path: Path) -> None:
    """Raise BadCheckpoint where the file is not whole, or holds what is not a number."""
    try:
        with safe_open(path, framework="numpy"):  # which checks that the header fits the file
            pass
        with path.open("rb") as file:
            num_bytes = int.from_bytes(file.read(8), "little")
            tensors = json.loads(file.read(num_bytes))
        tensors.pop("__metadata__", None)
        content = np.memmap(path, np.uint8, "r", offset=8 + num_bytes)
    except (SafetensorError, OSError, ValueError) as error:
        raise BadCheckpoint(f"{path}: not a safetensors file ({error}); fetch or train the model again.") from error
    for name, tensor in tensors.items():
        if tensor["dtype"] not in EXPONENTS:
            continue
        unsigned, exponent = EXPONENTS[tensor["dtype"]]
        start, stop = tensor["data_offsets"]
        if ((content[start:stop].view(unsigned) & unsigned(exponent)) == exponent).any():
            raise BadCheckpoint(f"{path}: {name} holds NaN or infinity; the training broke off badly, train it again.")
