"""emosphere export: a model -> an ONNX graph with its card, or a repository on the Hugging Face hub."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.door.leave import run_alone
from jobs.door.run import run

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

    def work() -> dict[str, Any]:
        from pipelines.export import command

        return command.export(model, out, push, evaluation=evaluation, public=public)

    run(work, as_json=json, show=_summary)


def _summary(result: dict[str, Any]) -> str:
    lines = [f"export  {result['model']}, licence {result['licence']}"]
    if "onnx" in result:
        size_mb, difference = result["bytes"] / 1e6, result["largest_difference"]
        lines.append(f"graph {result['onnx']}  {size_mb:.1f} MB, within {difference:.1g} of the network")
    if "pushed" in result:
        lines.append(f"hub {result['pushed']}  {'public' if result['public'] else 'private'}")
    return "\n".join(lines)


if __name__ == "__main__":
    run_alone(export, EXAMPLES)
