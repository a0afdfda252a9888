"""emosphere VERB: the one command, a verb per door."""

import typer

from jobs import ablate, doctor, erase, evaluate, export, prepare, score, sql, train
from jobs.door.leave import leave_with

app = typer.Typer(
    name="emosphere",
    help="Speech emotion from audio archives into SQL tables: valence, arousal, dominance, with times.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(epilog=score.EXAMPLES)(score.score)
app.command(epilog=prepare.EXAMPLES)(prepare.prepare)
app.command(epilog=train.EXAMPLES)(train.train)
app.command(epilog=ablate.EXAMPLES)(ablate.ablate)
app.command(epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command(epilog=export.EXAMPLES)(export.export)
app.command(epilog=sql.EXAMPLES)(sql.sql)
app.command(epilog=erase.EXAMPLES)(erase.erase)
app.command(epilog=doctor.EXAMPLES)(doctor.doctor)


def main() -> None:
    """Entry point of the ``emosphere`` command."""
    leave_with(app)


if __name__ == "__main__":
    main()
