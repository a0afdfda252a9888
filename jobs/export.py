"""emosphere export: a model -> an ONNX graph with its card, or a repository on the Hugging Face hub."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

EXAMPLES = """
Examples:

  emosphere export default --out exported/default

  emosphere export runs/mine --push ORG/NAME --json

  emosphere export runs/mine --out exported/mine --evaluation evaluations/mine/evaluation.json

  emosphere export runs/mine --push ORG/NAME --public

With --out, DIR holds model.onnx (the front end included) and README.md; the graph was compared with the network.
With --push, the hub holds the model folder (and the graph); a new repository is private unless --public.
Exit codes: 0 done; 1 could not finish; 2 wrong arguments, no licence or no card.
"""


class Format(StrEnum):
    """What a model can be written as."""

    onnx = "onnx"


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="'default', a folder or URL, or hf:ORG/NAME.")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for the graph and its card.")] = None,
    format: Annotated[Format, typer.Option(help="What to write there.")] = Format.onnx,
    push: Annotated[
        str | None, typer.Option(metavar="ORG/NAME", help="Send the model to the Hugging Face hub.")
    ] = None,
    evaluation: Annotated[
        str | None, typer.Option(metavar="FILE", help="An evaluation.json of 'emosphere evaluate', for the card.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Whatever is pushed may be seen by all.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Write a model as one ONNX graph from waveform to scores, or share it on the Hugging Face hub."""
    from jobs.door import run

    def work() -> dict[str, Any]:
        from emosphere.errors import UsageError

        if out is None and push is None:
            raise UsageError("Say where to: --out DIR for the graph, --push ORG/NAME for the hub, or both.")
        if public and push is None:
            raise UsageError("--public is about --push ORG/NAME, which was not given.")
        return _export(model, out, push, evaluation=evaluation, public=public)

    run(work, as_json=json, show=_summary)


def _export(
    model: str, out: Path | None, push_to: str | None, *, evaluation: str | None, public: bool
) -> dict[str, Any]:
    from emosphere.model.checkpoint import load_checkpoint
    from emosphere.model.export import export_onnx
    from emosphere.model.find import find_model
    from emosphere.model.share import card_to_share, push
    from pipelines.card import model_card

    folder = find_model(model)
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


def _summary(result: dict[str, Any]) -> str:
    lines = [f"export  {result['model']}, licence {result['licence']}"]
    if "onnx" in result:
        size_mb, difference = result["bytes"] / 1e6, result["largest_difference"]
        lines.append(f"graph {result['onnx']}  {size_mb:.1f} MB, within {difference:.1g} of the network")
    if "pushed" in result:
        lines.append(f"hub {result['pushed']}  {'public' if result['public'] else 'private'}")
    return "\n".join(lines)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False)
    app.command(epilog=EXAMPLES)(export)
    app()
