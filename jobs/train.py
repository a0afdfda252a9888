"""emosphere train: labelled clips + settings -> a checkpoint folder."""

from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.door.leave import run_alone
from jobs.door.progress import progress_printer
from jobs.door.run import run

EXAMPLES = """
Examples:

  emosphere train jobs/configs/train/smoke.toml

  emosphere train jobs/configs/train/default.toml --workers 2 --json

The same command again resumes a broken run, and leaves a finished one alone.
Exit codes: 0 done; 1 could not finish (run it again); 2 wrong arguments or settings.
"""


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="Settings of the run; see docs/train.md.")],
    workers: Annotated[int, typer.Option(min=1, help="Training processes; one learns what many learn.")] = 1,
    resume: Annotated[
        bool, typer.Option(help="Go on with a training that broke off; --no-resume refuses a folder that holds one.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Train a model from labelled clips and say how well it does on speakers it never heard."""

    def work() -> dict[str, Any]:
        from pipelines.train import command

        with progress_printer("training", progress_line, keeps=True) as on_progress:
            return command.train(config, num_workers=workers, resume=resume, on_progress=on_progress)

    run(work, as_json=json, show=_summary)


def progress_line(progress: Any) -> str:
    """One line of a ``TrainProgress``; the ablation shows the same."""
    if progress.loss is None:
        return f"train  epoch=0/{progress.num_epochs} wall={progress.wall_s:.0f} s (clips are decoded, workers start)"
    fit = f"{progress.fit} " if progress.fit else ""
    ccc = "" if progress.ccc is None else f" ccc={progress.ccc:.3f}"
    return (
        f"train  {fit}epoch={progress.epoch}/{progress.num_epochs} loss={progress.loss:.3f}{ccc} "
        f"rate={progress.clips_per_s:.0f} clips/s wall={progress.wall_s:.0f} s left={progress.left_s:.0f} s"
    )


def _summary(result: dict[str, Any]) -> str:
    if result["already_finished"]:
        return f"train  {result['out']} is finished already; nothing was done"
    figures = "  ".join(
        f"{part}: " + " ".join(f"{name}={value:.2f}" for name, value in result[part].items())
        for part in ("cross_validation", "test")
        if result.get(part)
    )
    return (
        f"train  epochs={result['epochs']} workers={result['workers']} wall={result['wall_s']:.0f} s  {figures}\n"
        f"model {result['out']}    use it: emosphere score ARCHIVE --model {result['out']} --out OUT"
    )


if __name__ == "__main__":
    run_alone(train, EXAMPLES)
