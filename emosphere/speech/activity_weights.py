"""The weights in the silero-vad wheel, read without compiling the program that they come with."""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ARCHIVE: Final = "data/silero_vad.jit"
"""In the package: a TorchScript archive, which is a ZIP of raw tensors, a pickled tree of modules, and source code."""


def activity_weights() -> dict[str, Tensor]:
    """Float32 tensors by their names in ``state_dict()`` of the archive's module.

    Raises ModuleNotFoundError without the package, UnpicklingError where the archive holds what no module is made of.
    """
    spec = find_spec("silero_vad")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("Speech activity needs the weights in the silero-vad wheel: pip install silero-vad")
    with zipfile.ZipFile(Path(spec.origin).parent / ARCHIVE) as archive:
        folder = archive.namelist()[0].partition("/")[0]
        with archive.open(f"{folder}/data.pkl") as tree:
            return dict(_named(_Tree(tree, archive, folder).load()))


class _Module:
    """A module of the archive: its attributes, tensors and other modules among them."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes


class _Tree(pickle.Unpickler):
    """Knows the few names that such a tree is made of; nothing of it is ever run."""

    def __init__(self, tree: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(tree)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        """Stand-ins for the archive's own classes and for torch's."""
        if module.startswith("__torch__."):
            return _Module
        if (known := _KNOWN.get((module, name))) is not None:
            return known
        raise pickle.UnpicklingError(f"{ARCHIVE} holds {module}.{name}, which no module of tensors is made of.")

    def persistent_load(self, pid: Any) -> NDArray[np.float32]:
        """The numbers of a tensor, one after the other."""
        _, _, key, _, count = pid
        return np.frombuffer(self._archive.read(f"{self._folder}/data/{key}"), dtype=np.float32, count=count)


def _tensor(
    numbers: NDArray[np.float32], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> Tensor:
    """In memory of torch's own, which is aligned: the last bits of products may depend on that."""
    tensor = torch.empty(shape, dtype=torch.float32)
    strides_bytes = tuple(numbers.itemsize * stride for stride in strides)
    tensor.numpy()[...] = np.lib.stride_tricks.as_strided(numbers[offset:], shape, strides_bytes)
    return tensor


_KNOWN: Final[dict[tuple[str, str], Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch", "FloatStorage"): "float32",
    ("torch.jit._pickle", "build_intlist"): list,
    ("collections", "OrderedDict"): OrderedDict,
}


def _named(module: _Module, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors below a module, by dotted name."""
    for name, value in module.attributes.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Module):
            yield from _named(value, f"{prefix}{name}.")
