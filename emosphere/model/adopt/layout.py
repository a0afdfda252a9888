"""What a published layout must be able to say, and what all of them check alike."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from torch import Tensor

from emosphere.errors import BadCheckpoint
from emosphere.model.description import CARD_NAME, CONFIG_NAME, CheckpointConfig
from emosphere.model.network import Network
from emosphere.vad import VAD_DIMS

PUBLISHED_DIMS: Final = ("arousal", "dominance", "valence")
"""Order of the outputs in every layout adopted so far, each in about [0, 1]."""


class AdoptedModel(NamedTuple):
    """A converted model, ready to be saved."""

    network: Network
    config: CheckpointConfig
    card: str


class Layout(Protocol):
    """One way in which others lay out a model; a module with these names."""

    NAME: str
    """For the folder in the cache."""
    SOURCE_FILES: tuple[str, ...]
    """Every file that can change the conversion; none of them has to be there."""

    def recognise(self, folder: Path) -> bool:
        """Whether ``folder`` is meant to be of this layout, whole or not. Reads no weights."""
        ...

    def convert(self, folder: Path) -> AdoptedModel:
        """Raises BadCheckpoint for whatever is missing, surplus or of another shape."""
        ...


def read_json(path: Path) -> dict[str, Any]:
    """The object in ``path``; empty when it is missing or holds anything else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def labels_of(config: Mapping[str, Any]) -> list[str]:
    """Names of the outputs by ``id2label``, in order; empty without it."""
    names = config.get("id2label")
    if not isinstance(names, Mapping):
        return []
    return [str(names[key]).lower() for key in sorted(names, key=lambda key: int(key) if str(key).isdecimal() else -1)]


def check_labels(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise BadCheckpoint unless the outputs are the published three in the published order."""
    labels = labels_of(config)
    if labels != list(PUBLISHED_DIMS):
        raise BadCheckpoint(
            f"{folder / CONFIG_NAME}: its outputs are {', '.join(labels) or 'not named (id2label)'}; only models with "
            f"the outputs {', '.join(PUBLISHED_DIMS)}, in this order, can be adopted."
        )


def to_centred(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The last linear layer, made to answer V, A, D in [-1, 1] instead of A, D, V in [0, 1].

    With y = Wx + b in the published order and scale, ``2 y - 1`` in our order is ``(2W)x + (2b - 1)``, rows exchanged.
    """
    rows = [PUBLISHED_DIMS.index(dim) for dim in VAD_DIMS]
    return 2 * weight[rows], 2 * bias[rows] - 1


def licence_of(folder: Path, *, published: str) -> str:
    """Licence named at the head of the folder's README.md, else the one ``published`` with this layout."""
    try:
        text = (folder / CARD_NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return published
    head = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    named = re.search(r"^license:\s*[\"']?([\w.-]+)", head.group(1), re.MULTILINE) if head else None
    return named.group(1).upper() if named else published


def card_of(name: str, licence: str, *, source: str, about: str) -> str:
    """README.md of a converted model."""
    return f"""# {name}

Converted by emosphere from {source}. {about}

**Scale.** The published model answers arousal, dominance, valence, each in about [0, 1]. The last linear layer was
rewritten once (`2 y - 1`, rows exchanged), so that this folder answers valence, arousal, dominance in [-1, 1], 0 being
the middle of the rating scale; scores are clipped there. There is no region head: `region` follows from the three
numbers and `region_prob` is null. Nothing was calibrated or evaluated here: see the publisher's own card for that.

**Licence of the weights:** {licence}.

## Must not be used

- To infer emotions of people at work or in education: prohibited in the European Union since 2 February 2025 by
  Regulation (EU) 2024/1689, Article 5(1)(f), medical and safety reasons excepted.
- For hiring, appraisal, discipline, credit, insurance, policing, border control, health or lie detection, or any
  decision about a person. A score is perceived vocal expression, not what a person feels, means or intends.
"""
