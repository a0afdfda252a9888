"""The way out of a command: at once, when its work is done."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

import typer


def leave_with(app: Callable[[], object]) -> NoReturn:
    """Run the command and leave with its exit code, without the seconds that Python takes to take itself apart.

    Nothing is lost by it: results and logs are written by then.
    """
    code = 0
    try:
        app()
    except SystemExit as leaving:
        if not isinstance(leaving.code, int):
            raise
        code = leaving.code
    if "pipelines.cluster.ray_cluster" in sys.modules:
        from pipelines.cluster.ray_cluster import disconnect

        disconnect()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run_alone(verb: Callable[..., None], examples: str) -> NoReturn:
    """One verb as a program of its own: ``python -m jobs.VERB``."""
    app = typer.Typer(add_completion=False)
    app.command(epilog=examples)(verb)
    leave_with(app)
