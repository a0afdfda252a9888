"""Checkpoints of the first format, as they are read today: one encoder, and heads that were known by their names.

Neither file is changed, so a model keeps its digest, and what was scored with it stays finished.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeVar

from emosphere.errors import BadCheckpoint
from emosphere.model.architecture import SPEECH
from emosphere.region_names import REGION_NAMES
from emosphere.tasks.region import REGION
from emosphere.tasks.vad import VAD
from emosphere.vad import VAD_DIMS

FIRST_FORMAT: Final = "emosphere-1"

_OF_MEMBER = re.compile(r"((?:others\.\d+\.)*)(encoder|pooling|heads)\.(.*)", re.DOTALL)
_PLACES: Final = {"encoder": f"streams.{SPEECH}", "pooling": f"poolings.{SPEECH}", "heads": "heads"}
Value = TypeVar("Value")


def of_today(values: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Plain values of a config.json of the first format, as today's would say them. Raises BadCheckpoint.

    Heads other than the two whose answers were published then are left out: nothing ever read them.
    """
    rest = {name: value for name, value in values.items() if name != "format"}
    try:
        network = dict(rest["network"])
        outputs = {name: head["outputs"] for name, head in network["heads"].items()}
        heads = {name: dict(head) for name, head in network.pop("heads").items() if name in (VAD, REGION)}
        network |= {"streams": {SPEECH: network.pop("encoder")}, "heads": heads}
    except (KeyError, TypeError, AttributeError) as error:
        raise BadCheckpoint(f"{source}: not the settings of a model ({error!r}); fetch or train it again.") from error
    for head in heads.values():
        del head["outputs"]
    dims, scale = rest.pop("dims", list(VAD_DIMS)), rest.pop("scale", "centred")
    if dims != list(VAD_DIMS) or scale != "centred" or outputs.get(VAD) != len(VAD_DIMS):
        raise BadCheckpoint(
            f"{source}: dims={dims} must be {list(VAD_DIMS)}, the one order of this project, on the scale 'centred'."
        )
    labels: dict[str, Any] = {VAD: {"kind": VAD, "radius_90": rest.pop("vad_radius_90", None)}}
    names, temperature = rest.pop("region_names", []), rest.pop("region_temperature", 1.0)
    if REGION in heads:
        labels[REGION] = {"kind": REGION, "regions": outputs[REGION], "temperature": temperature}
    if names != list(REGION_NAMES.get(outputs.get(REGION, 0), ())):
        raise BadCheckpoint(
            f"{source}: region_names has {len(names)} names, the region head {outputs.get(REGION, 0)} outputs; wanted "
            "the names of that table of regions."
        )
    return rest | {"network": network, "labels": labels}


def weights_of_today(weights: Mapping[str, Value], heads: Collection[str]) -> dict[str, Value]:
    """Tensors of the first format by today's names, without heads other than ``heads``; any others as they are."""
    renamed: dict[str, Value] = {}
    for name, value in weights.items():
        match = _OF_MEMBER.fullmatch(name)
        if match is None:
            renamed[name] = value
        elif match[2] != "heads" or match[3].split(".")[0] in heads:
            renamed[f"{match[1]}{_PLACES[match[2]]}.{match[3]}"] = value
    return renamed
