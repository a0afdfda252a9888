"""Weights of other projects into a network of ours, tensor by tensor; no code in them is ever run."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from emosphere.errors import BadCheckpoint
from emosphere.model.description import WEIGHTS_NAME
from emosphere.model.network import Network

PICKLED_NAME = "pytorch_model.bin"
TRAINING_ONLY = "masked_spec_embed"
"""Stands in for frames that training hides; some publishers leave it out, and scoring never looks at it."""

# Older versions of PyTorch kept a normalised weight under these names.
_RENAMED = {".weight_g": ".parametrizations.weight.original0", ".weight_v": ".parametrizations.weight.original1"}


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Tensors of the folder's model.safetensors, else of its pytorch_model.bin."""
    for name in (WEIGHTS_NAME, PICKLED_NAME):
        if (folder / name).is_file():
            return read_tensors(folder / name)
    raise BadCheckpoint(f"{folder}: no weights there; wanted {WEIGHTS_NAME} or {PICKLED_NAME}. See docs/adopt.md.")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name, float32: of a safetensors file, or of a state dict that PyTorch pickled (weights only).

    Raises BadCheckpoint for anything else; a pickle that holds code is refused before any of it runs.
    """
    try:
        if path.suffix == ".safetensors":
            loaded = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadCheckpoint(
            f"{path}: holds more than tensors and was not opened any further (it could run code); wanted a plain state "
            f"dict or {WEIGHTS_NAME}."
        ) from error
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise BadCheckpoint(f"{path}: cannot be read as weights ({str(error)[:200]}); fetch it again.") from error
    if not isinstance(loaded, Mapping) or not all(isinstance(tensor, Tensor) for tensor in loaded.values()):
        raise BadCheckpoint(f"{path}: is not a state dict, a mapping from names to tensors.")
    return {_present_name(name): tensor.float() for name, tensor in loaded.items()}


def shape_of(tensors: Mapping[str, Tensor], name: str, *, source: Path) -> torch.Size:
    """Shape of a tensor that must be there. Raises BadCheckpoint."""
    if name not in tensors:
        raise BadCheckpoint(_absent(source, name))
    return tensors[name].shape


def place(network: Network, tensors: Mapping[str, Tensor], names: Mapping[str, str], *, source: Path) -> None:
    """Fill ``network``; ``names`` gives, by the start of our names, the start of theirs.

    Raises BadCheckpoint when a tensor is missing, surplus, of another shape or not finite, by its published name.
    """
    wanted = network.state_dict()
    filled: dict[str, Tensor] = {}
    left = set(tensors)
    for name, empty in wanted.items():
        [published_name] = [new + name.removeprefix(old) for old, new in names.items() if name.startswith(old)]
        tensor = tensors.get(published_name)
        left.discard(published_name)
        if tensor is None and name.endswith(TRAINING_ONLY):
            tensor = torch.zeros_like(empty)
        if tensor is None:
            raise BadCheckpoint(_absent(source, published_name))
        if tensor.shape != empty.shape:
            raise BadCheckpoint(
                f"{source}: the tensor {published_name} has shape {tuple(tensor.shape)}, wanted {tuple(empty.shape)}."
            )
        if not tensor.isfinite().all():
            raise BadCheckpoint(f"{source}: the tensor {published_name} holds NaN or infinity; fetch it again.")
        filled[name] = tensor
    if left:
        raise BadCheckpoint(
            f"{source}: {len(left)} tensors have no place in the published layout, first {min(left)}: another model."
        )
    network.load_state_dict(filled)


def _absent(source: Path, name: str) -> str:
    return f"{source}: the tensor {name} is missing; this is not the published layout, or not all of it."


def _present_name(name: str) -> str:
    for old, new in _RENAMED.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name
