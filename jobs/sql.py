"""emosphere sql: ask the tables."""

from typing import Annotated, Any

import typer

from jobs.door.leave import run_alone
from jobs.door.run import run

EXAMPLES = """
Tables: segments, recordings, runs. Views: segments_1to7, segments_0to1 (other scales), recording_summary.

Examples:

  emosphere sql scores/ "SELECT source_uri, start_ms, arousal FROM segments ORDER BY arousal DESC LIMIT 5"

  emosphere sql s3://emotion/tables "SELECT status, error_code, count(*) FROM recordings GROUP BY ALL" --format csv
"""


def sql(
    out: Annotated[str, typer.Argument(metavar="OUT", help="Folder of the tables; path or URL.")],
    query: Annotated[str, typer.Argument(metavar="SQL", help="A DuckDB query.")],
    format: Annotated[str, typer.Option(help="table, csv or json.")] = "table",
) -> None:
    """Query the tables with DuckDB; S3 is read in place, nothing is downloaded."""

    def work() -> dict[str, Any]:
        from pipelines.sql import command

        return {"text": command.sql(out, query, format)}

    run(work, as_json=False, show=lambda result: str(result["text"]))


if __name__ == "__main__":
    run_alone(sql, EXAMPLES)
