"""Score the small archive that comes with the project, then show rows and three questions with their answers."""

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.door.leave import leave_with
from jobs.door.progress import progress_printer
from jobs.door.run import run
from jobs.score import ScoreOptions, progress_line
from pipelines.score.run.heap import share_one_heap

QUESTIONS = {
    "Where is the voice most agitated and displeased?": """
        SELECT regexp_extract(source_uri, '[^/]+$') AS recording, channel AS ch, start_ms / 1000 AS start_s,
               arousal, valence, region_name AS region, confidence
        FROM segments ORDER BY arousal - valence DESC LIMIT 5""",
    "Which recordings calm down, and which grow tense? (arousal per minute)": """
        SELECT regexp_extract(source_uri, '[^/]+$') AS recording, channel AS ch, num_segments AS segments,
               arousal_mean, arousal_slope_per_min AS arousal_per_min
        FROM recording_summary WHERE num_segments >= 4 ORDER BY arousal_per_min""",
    "What was not scored, and why?": """
        SELECT regexp_extract(source_uri, '[^/]+$') AS recording, status, error_code,
               left(coalesce(error_message, ''), 60) AS reason
        FROM recordings WHERE status <> 'scored' OR error_code IS NOT NULL ORDER BY recording""",
}

FIRST_ROWS = """
    SELECT regexp_extract(source_uri, '[^/]+$') AS recording, channel AS ch, start_ms, end_ms, valence, arousal,
           dominance, radius, azimuth_deg, region_name AS region, confidence
    FROM segments ORDER BY source_uri, channel, start_ms LIMIT 8"""


def demo(
    archive: Annotated[Path, typer.Argument(help="The archive to score.")] = Path("demo/archive"),
    out: Annotated[Path, typer.Option(help="Folder for the tables; made anew.")] = Path("out/demo"),
) -> None:
    """Score the bundled archive into OUT and show what can be asked of it."""

    def work() -> dict[str, Any]:
        share_one_heap()

        from emosphere.errors import UsageError
        from pipelines.output.ledger import HOME
        from pipelines.score.command import score
        from pipelines.sql.command import sql

        if out.exists() and not (out / HOME).is_dir():
            raise UsageError(f"{out}: exists and holds no tables; give another --out, this one would be made anew.")
        shutil.rmtree(out, ignore_errors=True)
        options = ScoreOptions(archives=[str(archive)], out=str(out), purpose="demonstration")
        with progress_printer("scoring", progress_line) as on_progress:
            result = score(options.request(), on_progress)
        texts = [("First rows of segments", sql(str(out), FIRST_ROWS))]
        texts += [(question, sql(str(out), query)) for question, query in QUESTIONS.items()]
        shown = "\n\n".join(f"{title}\n{text}" for title, text in texts)
        return {"result": result, "shown": shown}

    run(work, as_json=False, show=_show)


def _show(outcome: dict[str, Any]) -> str:
    result = outcome["result"]
    counts = ", ".join(f"{result[name]} {name}" for name in ("scored", "no_speech", "failed", "skipped"))
    return (
        f"{outcome['shown']}\n\n{result['recordings']} recordings: {counts}; {result['segments']} segments, "
        f"{result['audio_s']:.0f} s of audio in {result['wall_s']:.1f} s\n"
        f'Ask more: .venv/bin/emosphere sql {result["out"]} "SELECT * FROM recording_summary"\n'
        "The scores are a model's estimate of perceived vocal expression, not of feeling, intent or truth."
    )


if __name__ == "__main__":
    leave_with(lambda: typer.run(demo))
