"""Perceived vocal emotion of speech as valence, arousal and dominance, with times.

Scores describe vocal expression as listeners would rate it; they are not feelings, intent or truth.
"""

from importlib import import_module
from typing import Any

from emosphere.importing import without_collector

__all__ = ["geometry", "load", "metrics"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Loaded on first use: the decoder's child processes import this package and must start without torch.
    with without_collector():
        if name == "load":
            return import_module("emosphere.inference").load
        if name in ("geometry", "metrics"):
            return import_module(f"emosphere.{name}")
    raise AttributeError(f"module 'emosphere' has no attribute {name!r}")
