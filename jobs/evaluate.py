"""emosphere evaluate: model + labelled clips -> figures with intervals, a table of answers, a page."""

from typing import Annotated, Any

import typer

from jobs.door.leave import run_alone
from jobs.door.run import run

EXAMPLES = """
Examples:

  emosphere evaluate default MANIFEST.parquet --split test --out evaluations/default

  emosphere evaluate runs/mine manifest.csv --split test --out evaluations/mine --against default --json

Writes evaluation.json, predictions.parquet and index.html into DIR; the same command again replaces them.
Exit codes: 0 done; 1 could not finish; 2 wrong arguments, unreadable clips, or a model that answers NaN or one value.
"""

MANIFEST_HELP = "Labelled clips: the table that 'emosphere prepare' writes, or a CSV of acted emotions."


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="'default', a folder or URL, or hf:ORG/NAME.")],
    manifest: Annotated[str, typer.Argument(metavar="MANIFEST", help=MANIFEST_HELP)],
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder for the results; path or URL.")],
    split: Annotated[str, typer.Option(help="Part of the manifest to evaluate on.")] = "test",
    against: Annotated[str | None, typer.Option(metavar="MODEL2", help="Compare with it, paired by clip.")] = None,
    num_bootstrap: Annotated[int, typer.Option(min=100, help="Draws of speakers for the intervals.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    max_unreadable: Annotated[int, typer.Option(min=0, help="Go on with so many unreadable clips left out.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be evaluated; write nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Say how well a model agrees with labels, with intervals over speakers, and for whom it does worse."""

    def work() -> dict[str, Any]:
        from pipelines.evaluate import command

        return command.evaluate(
            model, manifest, split=split, out=out, against=against, num_bootstrap=num_bootstrap, seed=seed,
            max_unreadable=max_unreadable, dry_run=dry_run,
        )  # fmt: skip

    run(work, as_json=json, show=_dry_summary if dry_run else _summary)


def _summary(result: dict[str, Any]) -> str:
    lines = [
        f"evaluate  {result['model']} on {result['clips']} clips of {result['speakers']} speakers, split "
        f"{result['split']}, {len(result['unreadable'])} unreadable, wall={result['wall_s']:.0f} s",
        *(f"  CCC {dim:10} {_figure(figure)}" for dim, figure in result["ccc"].items()),
        *(
            f"  UAR of the {result['classes'][way]}, {way:20} {_figure(figure)}"
            for way, figure in result["uar"].items()
        ),
    ]
    if result["against"]:
        lines.append(f"against {result['against']['model']} (difference, interval, two-sided p)")
        lines += [f"  CCC {dim:10} {_difference(figure)}" for dim, figure in result["against"]["ccc"].items()]
        lines += [
            f"  UAR of the {result['classes'][way]}, {way:20} {_difference(figure)}"
            for way, figure in result["against"]["uar"].items()
        ]
        if not result["against"]["ccc"] and not result["against"]["uar"]:
            lines.append("  nothing to compare: no question that both answer has figures on these clips")
    if result["weak"]:
        lines.append(f"  {result['weak']} targets are means of emotion words, not ratings of these clips")
    lines += [f"  unreadable: {uri}" for uri in result["unreadable"]]
    return "\n".join([*lines, f"results {result['out']}    look: {result['out']}/index.html"])


def _dry_summary(result: dict[str, Any]) -> str:
    missing = f"; {len(result['missing'])} files are missing, first {result['missing'][0]}" if result["missing"] else ""
    return (
        f"would evaluate {' against '.join(result['models'])} on {result['clips']} clips of {result['speakers']} "
        f"speakers, split {result['split']}, {result['audio_s'] / 3600:.2f} h "
        f"({result['clips_of_unknown_length']} of unknown length), {result['weak']} with weak targets{missing}\n"
        "nothing was written"
    )


def _figure(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return f"none: {figure['reason']}"
    return f"{figure['value']:.3f}" + _interval(figure)


def _difference(figure: dict[str, Any]) -> str:
    p = "" if figure["p"] is None else f"  p={figure['p']:.3f}"
    return f"{figure['difference']:+.3f}{_interval(figure)}{p}"


def _interval(figure: dict[str, Any]) -> str:
    return "" if figure["low"] is None else f" [{figure['low']:.3f}, {figure['high']:.3f}]"


if __name__ == "__main__":
    run_alone(evaluate, EXAMPLES)
