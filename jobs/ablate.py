"""emosphere ablate: a table of trainings -> their figures beside the published ones."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.door.leave import run_alone
from jobs.door.progress import progress_printer
from jobs.door.run import run
from jobs.train import progress_line

EXAMPLES = """
Examples:

  emosphere ablate jobs/configs/paper/table-1.toml --workers 4

  emosphere ablate jobs/configs/paper/table-2.toml --over jobs/configs/acted/base.toml --seeds 3 --out runs/acted-2

The same command again goes on after the trainings that are finished.
Exit codes: 0 done; 1 could not finish (run it again); 2 wrong arguments or settings.
"""


def ablate(
    table: Annotated[Path, typer.Argument(metavar="TABLE.toml", help="Rows to compare, each with its settings.")],
    out: Annotated[Path, typer.Option(help="Folder for the trained models and the table.")] = Path("runs/ablation"),
    over: Annotated[
        Path | None, typer.Option(help="Settings to lay the rows over, instead of those they build on.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per row.")] = 3,
    row: Annotated[list[str] | None, typer.Option(help="Label of a row to run; repeatable. All when left out.")] = None,
    split: Annotated[str | None, typer.Option(help="Split to report on, instead of the table's own.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Training processes.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Train the rows of a table with several seeds and print them beside the published figures."""

    def work() -> dict[str, Any]:
        from pipelines.ablate import command

        with progress_printer("training", progress_line) as on_progress:
            return command.ablate(
                table, out, over=over, seeds=seeds, labels=row or (), split=split, num_workers=workers,
                on_line=lambda line: print(line, file=sys.stderr, flush=True), on_progress=on_progress,
            )  # fmt: skip

    run(work, as_json=json, show=_summary)


def _summary(result: dict[str, Any]) -> str:
    from pipelines.ablate.command import table_text

    return table_text(result)


if __name__ == "__main__":
    run_alone(ablate, EXAMPLES)
