"""emosphere score: archive + model -> emotion tables."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emosphere.importing import without_collector
from jobs.door.leave import run_alone
from jobs.door.options import takes
from jobs.door.progress import progress_printer
from jobs.door.run import run
from pipelines.score.run.heap import share_one_heap

if TYPE_CHECKING:
    from pipelines.score.request import ScoreRequest

EXAMPLES = """
Examples:

  emosphere score recordings/ --out scores/

  emosphere score s3://calls/2026/11/20/ --out s3://emotion/tables --dt 2026-11-20 --json

  emosphere score s3://calls/ --out s3://emotion/tables --since 2026-11-20 --until 2026-11-21 --roles 0=customer,1=agent

  emosphere score s3://line/ --out drivers/ --roles 0=employee --exception safety --purpose "fatigue of drivers"

The same command again resumes a broken run, picks up late files, and adds nothing when all is done.
Exit codes: 0 done; 1 could not finish (run it again); 2 wrong arguments; 3 too many failures, nothing published.
"""

ARCHIVE_HELP = "Folder, file, glob, .tar, .tar.gz, .zip, Parquet with audio, or manifest; path or URL."
DT_HELP = "Partition of what this run scores first; default: the UTC date on which it began. Selects nothing."
EXCEPTION_HELP = "Score roles such as agent or student all the same; wants --purpose. See docs/privacy-and-law.md."
PATH_DATE_HELP = "Take the time for --since/--until from the path, as in 'calls/%Y/%m/%d'."


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreOptions:
    """Words of one ``emosphere score`` command."""

    archives: Annotated[list[str], typer.Argument(metavar="ARCHIVE...", help=ARCHIVE_HELP)]
    out: Annotated[str, typer.Option(help="Folder for the tables; path or URL.")]
    model: Annotated[str, typer.Option(help="'default', a checkpoint folder or URL, or hf:ORG/NAME.")] = "default"
    config: Annotated[Path | None, typer.Option(help="TOML file of settings; see docs/operate.md.")] = None
    dt: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help=DT_HELP)] = None
    since: Annotated[str | None, typer.Option(help="Only recordings from this time on (ISO, UTC).")] = None
    until: Annotated[str | None, typer.Option(help="Only recordings before this time (ISO, UTC).")] = None
    path_date: Annotated[str | None, typer.Option(metavar="TEMPLATE", help=PATH_DATE_HELP)] = None
    roles: Annotated[str | None, typer.Option(metavar="0=NAME,1=NAME", help="Who speaks on which channel.")] = None
    purpose: Annotated[str | None, typer.Option(help="Why this is scored; kept in the table runs.")] = None
    exception: Annotated[str | None, typer.Option(metavar="medical|safety|out-of-scope", help=EXCEPTION_HELP)] = None
    max_error_rate: Annotated[float, typer.Option(min=0.0, max=1.0, help="Publish nothing if more fail.")] = 1.0
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many recordings.")] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False

    def request(self) -> "ScoreRequest":
        """The request, checked. Raises UsageError that names the option, what was found and what was wanted."""
        from emosphere.config import load_config
        from pipelines.archive.dates import parse_window
        from pipelines.score.request import ScoreRequest, parse_dt, parse_roles
        from pipelines.score.settings import ScoreSettings

        return ScoreRequest(
            archives=tuple(self.archives),
            out=self.out,
            model=self.model,
            window=parse_window(self.since, self.until, self.path_date),
            settings=load_config(ScoreSettings, self.config),
            dt=parse_dt(self.dt),
            roles=parse_roles(self.roles),
            purpose=self.purpose,
            exception=self.exception,
            max_error_rate=self.max_error_rate,
            limit=self.limit,
        )


@takes(ScoreOptions)
def score(options: ScoreOptions) -> None:
    """Score recordings: one row per stretch of speech, with times, VAD, sphere and region."""

    def work() -> dict[str, Any]:
        share_one_heap()
        with without_collector():
            request = options.request()
        if options.dry_run:
            from pipelines.score.dry_run import preview

            return preview(request)
        with without_collector():
            from pipelines.score import command

        with progress_printer("scoring", progress_line) as on_progress:
            return command.score(request, on_progress)

    run(work, as_json=options.json, show=_dry_summary if options.dry_run else _summary)


def progress_line(progress: Any) -> str:
    """One line of a ``Progress``."""
    hours = progress.audio_s / 3600
    return (
        f"recordings={progress.recordings}/{progress.num_recordings} failed={progress.failed} "
        f"segments={progress.segments} audio={hours:.2f} h wall={progress.wall_s:.0f} s "
        f"rate={progress.audio_s / max(progress.wall_s, 1e-9):.0f} audio_s/s"
    )


def _summary(result: dict[str, Any]) -> str:
    rate = result["audio_s"] / max(result["wall_s"], 1e-9)
    return (
        f"score  recordings={result['recordings']} scored={result['scored']} no_speech={result['no_speech']} "
        f"failed={result['failed']} skipped={result['skipped']} skipped_policy={result['skipped_policy']}  "
        f"segments={result['segments']} audio={result['audio_s'] / 3600:.2f} h "
        f"speech={result['speech_s'] / 3600:.2f} h wall={result['wall_s']:.1f} s rate={rate:.0f} audio_s/s\n"
        f"tables {result['out']}    ask: emosphere sql {result['out']} "
        '"SELECT status, error_code, count(*) FROM recordings GROUP BY ALL"'
    )


def _dry_summary(result: dict[str, Any]) -> str:
    about = "" if result["probed"] == result["to_score"] else f" (estimated from {result['probed']} of them)"
    return (
        f"would score {result['to_score']} of {result['recordings']} recordings ({result['skipped']} are finished), "
        f"{result['num_bytes'] / 1e6:.1f} MB, about {result['audio_s'] / 3600:.2f} h of audio{about}, "
        f"model {result['model']}, dt {result['dt']}\n"
        f"{_would_withhold(result)}"
        f"about {result['core_h']:.2f} core hours on CPUs at {result['assumed_rate']:.0f} audio_s per core second; "
        f"nothing was written"
    )


def _would_withhold(result: dict[str, Any]) -> str:
    if not result["withheld"]:
        return ""
    channels = ", ".join(f"{channel} ({role})" for channel, role in result["withheld"].items())
    return (
        f"would not score channel {channels}: policy; of {result['probed']} opened, {result['probed_skipped_policy']} "
        "have no other\n"
    )


if __name__ == "__main__":
    run_alone(score, EXAMPLES)
