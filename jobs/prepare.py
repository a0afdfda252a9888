"""emosphere prepare: a labelled corpus -> the canonical manifest that training and evaluation read."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.door.leave import run_alone
from jobs.door.options import takes
from jobs.door.run import run

if TYPE_CHECKING:
    from pipelines.prepare.request import PrepareRequest

EXAMPLES = """
Examples:

  emosphere prepare MSP-Podcast/ --format msp-podcast --release 1.12 --in-house-test 300 --out msp.parquet

  emosphere prepare IEMOCAP_full_release/ --format iemocap --test-session 1 --dev-session 2 --out iemocap.parquet

  emosphere prepare s3://corpora/emodb/1.4.1/ --format audformat --out emodb.parquet

  emosphere prepare calls.csv --format csv --scale 1..5 --columns uri=file,valence=val,arousal=aro --out calls.parquet

  emosphere prepare ../shared/data/emotion/manifest.csv --format csv --words --out acted.parquet

What is left out is counted, and listed in MANIFEST.dropped.csv beside the manifest.
Exit codes: 0 done; 1 could not finish (run it again); 2 wrong arguments, or the corpus is refused.
"""

SOURCE_HELP = "Folder of the corpus, or its CSV or Parquet table; path or URL."
DROP_HELP = "msp-podcast: letters of EmoClass to leave out; default X,O as in the authors' code, '' for none."
IN_HOUSE_HELP = "msp-podcast: keep N clips per category of the development part as dev, make the rest in-house-test."
WORDS_HELP = "csv: acted emotion words only (path, speaker, emotion, intensity, corpus, split); see docs/train.md."
COLUMNS_HELP = "csv, parquet, audformat: what the columns are called there."
SHARDS_HELP = "Decode every clip once into 16 kHz FLAC files in this folder or URL, and point the manifest at them."


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareOptions:
    """Words of one ``emosphere prepare`` command: those of a PrepareRequest, and how to print its result."""

    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)]
    format: Annotated[str, typer.Option(help="msp-podcast, iemocap, audformat, csv or parquet.")]
    out: Annotated[str, typer.Option(metavar="MANIFEST.parquet", help="File to write; path or URL.")]
    release: Annotated[str | None, typer.Option(help="msp-podcast: 1.11, 1.12 or 2.0; never guessed.")] = None
    drop: Annotated[str | None, typer.Option(metavar="LETTERS", help=DROP_HELP)] = None
    in_house_test: Annotated[int | None, typer.Option(metavar="N", min=0, help=IN_HOUSE_HELP)] = None
    seed: Annotated[int | None, typer.Option(help="Of that draw; default 0.")] = None
    test_session: Annotated[int | None, typer.Option(help="iemocap: default 5.")] = None
    dev_session: Annotated[int | None, typer.Option(help="iemocap: default 4.")] = None
    scale: Annotated[str | None, typer.Option(metavar="LOW..HIGH", help="Ends of the labels' scale, as 1..7.")] = None
    words: Annotated[bool | None, typer.Option("--words", help=WORDS_HELP)] = None
    columns: Annotated[str | None, typer.Option(metavar="valence=NAME,...", help=COLUMNS_HELP)] = None
    tables: Annotated[str | None, typer.Option(metavar="NAME,...", help="audformat: only these tables.")] = None
    corpus: Annotated[str | None, typer.Option(help="csv, parquet: of all rows, where no column says it.")] = None
    split: Annotated[str | None, typer.Option(help="csv, parquet, audformat: of all rows, likewise.")] = None
    audio: Annotated[str | None, typer.Option(help="Folder or URL of the audio, if it is not where expected.")] = None
    shards: Annotated[str | None, typer.Option(metavar="DIR", help=SHARDS_HELP)] = None
    drop_missing: Annotated[bool, typer.Option("--drop-missing", help="Go on without clips that lack audio.")] = False
    drop_bad_labels: Annotated[
        bool, typer.Option("--drop-bad-labels", help="Go on without clips whose labels are off their scale.")
    ] = False
    allow_shared_speakers: Annotated[
        bool, typer.Option("--allow-shared-speakers", help="Let speakers be in two splits.")
    ] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check all; write nothing.")] = False
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False

    def request(self) -> "PrepareRequest":
        """The request; what is wrong with it is found by the command."""
        from pipelines.prepare.request import PrepareRequest

        return PrepareRequest(**{field.name: getattr(self, field.name) for field in fields(PrepareRequest)})


@takes(PrepareOptions)
def prepare(options: PrepareOptions) -> None:
    """Turn a labelled corpus into the manifest that `emosphere train` and `emosphere evaluate` read."""

    def work() -> dict[str, Any]:
        from pipelines.prepare import command

        return command.prepare(options.request())

    run(work, as_json=options.json, show=_summary)


def _summary(result: dict[str, Any]) -> str:
    lines = [
        f"{'would prepare' if result['dry_run'] else 'prepare'}  clips={result['clips']} "
        f"speakers={result['speakers']} audio={result['hours']:.2f} h dropped={sum(result['dropped'].values())}  "
        f"wall={result['wall_s']:.1f} s"
    ]
    for part in result["parts"]:
        categories = " ".join(f"{word}={count}" for word, count in part["categories"].items())
        lines.append(
            f"  {part['corpus']} {part['split']}: clips={part['clips']} speakers={part['speakers']} "
            f"audio={part['hours']:.2f} h  {categories}"
        )
    if result["waveform"]:
        lines.append("  " + " ".join(f"{name}={value:.8g}" for name, value in result["waveform"].items()) + "  (train)")
    if result["dropped"]:
        reasons = " ".join(f"{reason}={count}" for reason, count in result["dropped"].items())
        lines.append(
            f"  dropped: {reasons}" + (f"  listed in {result['dropped_list']}" if result["dropped_list"] else "")
        )
    lines += [f"  note: {note}" for note in result["notes"]]
    lines.append("nothing was written" if result["dry_run"] else f"manifest {result['out']}")
    return "\n".join(lines)


if __name__ == "__main__":
    run_alone(prepare, EXAMPLES)
