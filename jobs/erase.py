"""emosphere erase: take recordings out of the tables, and out of everything else below OUT."""

from typing import Annotated, Any

import typer

from jobs.door.leave import run_alone
from jobs.door.run import run

EXAMPLES = """
Examples:

  emosphere erase scores/ --recording 0b6e1f2a9c3d4e5f60718293a4b5c6d7 --verify

  emosphere erase s3://emotion/tables --uri s3://calls/customer-17/ --verify --json

  emosphere erase scores/ --older-than 90d

What is erased is not scored again; the list that remembers it holds ids only. The same command again finishes what was
killed. Exit codes: 0 done; 1 could not finish, or --verify found something; 2 wrong arguments.
"""

URI_HELP = "Path or URI of a recording, or of a folder or archive file with all below it."
SPEAKER_HELP = "Recordings with this speaker (segments.speaker, or the attribute 'speaker')."


def erase(
    out: Annotated[str, typer.Argument(metavar="OUT", help="Folder of the tables; path or URL.")],
    recording: Annotated[str | None, typer.Option(metavar="ID", help="The recording_id.")] = None,
    uri: Annotated[str | None, typer.Option(help=URI_HELP)] = None,
    speaker: Annotated[str | None, typer.Option(metavar="NAME", help=SPEAKER_HELP)] = None,
    older_than: Annotated[str | None, typer.Option(metavar="DAYS", help="Scored so long ago, as in 90d.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Search every file below OUT afterwards.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; write nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Erase recordings by id, URI, speaker or age from every table and file below OUT."""

    def work() -> dict[str, Any]:
        from pipelines.erase import command
        from pipelines.erase.target import Target

        target = Target(recording=recording, uri=uri, speaker=speaker, older_than=older_than)
        return command.erase(out, target, verify=verify, dry_run=dry_run)

    run(work, as_json=json, show=_summary)


def _summary(result: dict[str, Any]) -> str:
    done = "would erase" if result["dry_run"] else "erased"
    proof = "; nothing of it remains in any file" if result.get("verified") else ""
    beside = f"\n{result['unreleased']}" if "unreleased" in result else ""
    what = f"{result['recordings']} recordings with {result['segments']} segments"
    return f"{done} {what} from {result['out']}{proof}{beside}"


if __name__ == "__main__":
    run_alone(erase, EXAMPLES)
