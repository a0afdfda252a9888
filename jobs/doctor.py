"""emosphere doctor: what would fail, before it does."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.door.leave import run_alone
from jobs.door.run import run

EXAMPLES = """
Examples:

  emosphere doctor

  emosphere doctor s3://calls/2026/ s3://emotion/tables --config night.toml
"""


def doctor(
    archive: Annotated[str | None, typer.Argument(metavar="[ARCHIVE]", help="Also check that it can be read.")] = None,
    out: Annotated[str | None, typer.Argument(metavar="[OUT]", help="Also check that it can be written.")] = None,
    model: Annotated[str, typer.Option(help="'default', a checkpoint folder or URL, or hf:ORG/NAME.")] = "default",
    config: Annotated[Path | None, typer.Option(help="The run's TOML file: its [store] and limits hold.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Check versions, codecs, model, machine, archive, OUT and encryption. Exit code 1 if a run would fail."""

    def work() -> dict[str, Any]:
        from emosphere.config import load_config
        from pipelines.doctor import command
        from pipelines.score.settings import ScoreSettings

        findings = command.doctor(archive, out, model, load_config(ScoreSettings, config))
        broken = [finding.check for finding in findings if finding.state == "fail"]
        lines = [{"check": one.check, "state": one.state, "found": one.details} for one in findings]
        result = {"findings": lines, "healthy": not broken}
        if broken:
            print(_report(result), file=sys.stderr)
            raise command.Unhealthy(f"a run would fail: {', '.join(broken)}", result)
        return result

    run(work, as_json=json, show=_report)


def _report(result: dict[str, Any]) -> str:
    return "\n".join(f"{line['state']:5} {line['check']:12} {line['found']}" for line in result["findings"])


if __name__ == "__main__":
    run_alone(doctor, EXAMPLES)
