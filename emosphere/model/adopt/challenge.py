"""State dicts as the MSP-Podcast challenge baselines' training scripts leave them: one file per part.

``final_ssl.pt``, ``final_pool.pt`` (not with mean pooling), ``final_ser.pt`` (``best_*.pt`` in later scripts), and the
waveforms' mean and deviation. Those stand in a pickle, which is not opened: train_norm_stat.json says them instead.
"""

from pathlib import Path
from typing import Final

from torch import Tensor

from emosphere.errors import BadCheckpoint
from emosphere.model.adopt.baseline import POOL, SER, SSL, rebuild
from emosphere.model.adopt.layout import AdoptedModel, card_of, licence_of, read_json
from emosphere.model.adopt.tensors import read_tensors
from emosphere.model.description import CARD_NAME, CheckpointConfig

NAME = "challenge"
STATISTICS_NAME = "train_norm_stat.json"
PREFIXES: Final = ("final", "best")
PARTS: Final = {"ssl": SSL, "pool": POOL, "ser": SER}
SOURCE_FILES: tuple[str, ...] = (
    *(f"{prefix}_{part}.pt" for prefix in PREFIXES for part in PARTS),
    STATISTICS_NAME,
    CARD_NAME,
)
UNLICENSED = "none published (MSP-Podcast terms apply)"
TO_JSON = (
    "python -c \"import json, pickle; mean, std = pickle.load(open('train_norm_stat.pkl', 'rb')); "
    "json.dump({'mean': float(mean), 'std': float(std)}, open('train_norm_stat.json', 'w'))\""
)
"""For the user to run where the pickle is trusted."""


def recognise(folder: Path) -> bool:
    """By the file of the encoder or of the regression."""
    return _prefix(folder) is not None


def convert(folder: Path) -> AdoptedModel:
    """See :class:`emosphere.model.adopt.layout.Layout`."""
    prefix = _prefix(folder)
    for part in ("ssl", "ser"):
        if not (folder / f"{prefix}_{part}.pt").is_file():
            raise BadCheckpoint(f"{folder}: {prefix}_{part}.pt is missing beside the other state dicts.")
    statistics = read_json(folder / STATISTICS_NAME)
    mean, std = statistics.get("mean"), statistics.get("std")
    if not isinstance(mean, int | float) or not isinstance(std, int | float):
        raise BadCheckpoint(
            f"{folder}: no {STATISTICS_NAME} with 'mean' and 'std' of the training waveforms. Their numbers stand in "
            "train_norm_stat.pkl, but a pickle can run code and is not opened here; where you trust it, run there: "
            f"{TO_JSON}"
        )
    tensors: dict[str, Tensor] = {}
    for part, start in PARTS.items():
        path = folder / f"{prefix}_{part}.pt"
        if path.is_file():
            tensors |= {start + name: tensor for name, tensor in read_tensors(path).items()}
    network = rebuild(tensors, mean=float(mean), std=float(std), source=folder)
    licence = licence_of(folder, published=UNLICENSED)
    name = "msp-podcast-challenge-baseline"
    about = "Encoder, pooling and regression of the Odyssey 2024 and Interspeech 2025 challenges' multi-task baseline."
    card = card_of(name, licence, source="the challenge baseline's state dicts (`final_*.pt`)", about=about)
    return AdoptedModel(network, CheckpointConfig(network=network.config, name=name, licence=licence), card)


def _prefix(folder: Path) -> str | None:
    for prefix in PREFIXES:
        if any((folder / f"{prefix}_{part}.pt").is_file() for part in ("ssl", "ser")):
            return prefix
    return None
