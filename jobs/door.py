"""What all doors share: exit codes, one JSON line on standard output, progress on standard error."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from emosphere.errors import EmosphereError, UsageError

DONE, UNFINISHED, WRONG, TOO_MANY_FAILURES = 0, 1, 2, 3
"""Exit codes of the contract."""


@contextmanager
def quiet_stdout() -> Iterator[Callable[[str], None]]:
    """Send everything that any library prints to standard error; yields the one way to standard output.

    Works on the file descriptor: Ray's workers and native decoders write past ``sys.stdout``.
    """
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    try:
        yield lambda line: _write_all(real, f"{line}\n".encode())
    finally:
        sys.stdout.flush()
        os.dup2(real, 1)
        os.close(real)


def run(work: Callable[[], dict[str, Any]], *, as_json: bool, show: Callable[[dict[str, Any]], str]) -> NoReturn:
    """Do ``work``, print its result (as JSON, or by ``show``), and leave with the exit code of the contract."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    logging.getLogger("emosphere").setLevel(logging.INFO)
    code, result = DONE, {}
    with quiet_stdout() as say:
        try:
            result = work()
        except EmosphereError as error:
            code = WRONG if isinstance(error, UsageError) else UNFINISHED
            # Raised after all was scored, so there is a result to show beside the refusal.
            if isinstance(getattr(error, "result", None), dict):
                code, result = TOO_MANY_FAILURES, error.result
            result = result | {"error": str(error)}
            print(f"emosphere: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            code, result = UNFINISHED, {"error": "interrupted"}
            print("emosphere: interrupted; the same command resumes.", file=sys.stderr)
        except Exception as error:
            logging.getLogger("emosphere").exception("unexpected error")
            code, result = UNFINISHED, {"error": f"{type(error).__name__}: {error}"}
        if as_json:
            say(json.dumps(result | ({"exit_code": code} if code else {})))
        elif "error" not in result:
            say(show(result))
    raise typer.Exit(code)


def progress_printer(unit: str = "recordings") -> Callable[[Any], None]:
    """A bar on a terminal, one line a minute in a log; both on standard error."""
    if sys.stderr.isatty():
        return _bar(unit)
    last = [time.monotonic()]

    def line(progress: Any) -> None:
        if time.monotonic() - last[0] >= 60 or progress.recordings == progress.num_recordings:
            last[0] = time.monotonic()
            print(_line(progress), file=sys.stderr, flush=True)

    return line


def _bar(unit: str) -> Callable[[Any], None]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("scoring"), BarColumn(), TextColumn("{task.fields[line]}"), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    task = bar.add_task(unit, total=None, line="")
    bar.start()

    def advance(progress: Any) -> None:
        bar.update(
            task, total=progress.num_recordings, completed=progress.recordings, line=_line(progress), refresh=True
        )
        if progress.recordings == progress.num_recordings:
            bar.stop()

    return advance


def _line(progress: Any) -> str:
    hours = progress.audio_s / 3600
    return (
        f"recordings={progress.recordings}/{progress.num_recordings} failed={progress.failed} "
        f"segments={progress.segments} audio={hours:.2f} h wall={progress.wall_s:.0f} s "
        f"rate={progress.audio_s / max(progress.wall_s, 1e-9):.0f} audio_s/s"
    )


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
