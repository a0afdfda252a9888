"""A model -> an ONNX graph with its card, or a repository on the Hugging Face hub. Needs no Ray."""

from pathlib import Path
from typing import Any

from emosphere.errors import UsageError
from emosphere.model.checkpoint import load_checkpoint
from emosphere.model.export import export_onnx
from emosphere.model.find import find_model
from emosphere.model.share import card_to_share, push
from pipelines.card.text import model_card


def export(
    model: str, out: Path | None, push_to: str | None, *, evaluation: str | None = None, public: bool = False
) -> dict[str, Any]:
    """Write the graph of ``model`` into ``out``, send the model to ``push_to``, or both; a JSON-ready summary.

    Raises UsageError when neither is given, or the model has no licence or card to be shared with.
    """
    if out is None and push_to is None:
        raise UsageError("Say where to: --out DIR for the graph, --push ORG/NAME for the hub, or both.")
    if public and push_to is None:
        raise UsageError("--public is about --push ORG/NAME, which was not given.")
    folder = find_model(model, whole=push_to is not None)
    checkpoint = load_checkpoint(folder)
    result: dict[str, Any] = {"model": f"{checkpoint.name}-{checkpoint.digest}", "licence": checkpoint.licence}
    card, graph = model_card(checkpoint, folder, evaluation), None
    if push_to is not None:
        card_to_share(checkpoint, card)  # refused before any work is done
    if out is not None:
        exported = export_onnx(checkpoint, out, card=card)
        graph = exported.path
        result |= {"onnx": str(graph), "bytes": exported.num_bytes, "largest_difference": exported.largest_difference}
    if push_to is not None:
        address = push(checkpoint, folder, push_to, card=card, graph=graph, public=public)
        result |= {"pushed": address, "public": public}
    return result
