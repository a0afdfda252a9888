"""What all doors share: exit codes, one JSON line on standard output, progress on standard error."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import typer

from emosphere.errors import EmosphereError
from emosphere.redaction import redact
from emosphere.tables.identity import id_key


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


def printable(text: str) -> str:
    """The text without secrets; with an id key in the environment, without paths and URIs too."""
    with suppress(EmosphereError):
        if key := id_key():
            text = key.hide(text)
    return redact(text)


class _Printable(logging.Formatter):
    """Lines of the log, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """The finished line."""
        return printable(super().format(record))


def run(work: Callable[[], dict[str, Any]], *, as_json: bool, show: Callable[[dict[str, Any]], str]) -> NoReturn:
    """Do ``work``, print its result (as JSON, or by ``show``), and leave with the exit code of the contract."""
    log_to_stderr = logging.StreamHandler(sys.stderr)
    log_to_stderr.setFormatter(_Printable("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[log_to_stderr])
    logging.getLogger("emosphere").setLevel(logging.INFO)
    code, result = 0, {}
    with quiet_stdout() as say:
        try:
            result = work()
        except EmosphereError as error:
            # Some errors are raised after the work: they bring its result along.
            code, result = error.exit_code, getattr(error, "result", {}) | {"error": printable(str(error))}
            print(f"emosphere: {result['error']}", file=sys.stderr)
        except KeyboardInterrupt:
            code, result = 1, {"error": "interrupted"}
            print("emosphere: interrupted; the same command resumes.", file=sys.stderr)
        except Exception as error:
            logging.getLogger("emosphere").exception("unexpected error")
            code, result = 1, {"error": printable(f"{type(error).__name__}: {error}")}
        if as_json:
            say(json.dumps(result | ({"exit_code": code} if code else {})))
        elif "error" not in result:
            say(show(result))
    raise typer.Exit(code)


@contextmanager
def progress_printer(
    what: str = "scoring", say: Callable[[Any], str] | None = None, *, keeps: bool = False
) -> Iterator[Callable[[Any], None]]:
    """A bar on a terminal, one line a minute in a log; both on standard error.

    Called with an object that knows ``parts`` and ``num_parts``; ``say`` makes a line of it. ``keeps``: on a terminal
    the line of each part stays above the bar.
    """
    say = say or _scored
    if sys.stderr.isatty():
        with _bar(what, say, keeps=keeps) as advance:
            yield advance
        return
    last, ended = time.monotonic(), False

    def line(progress: Any) -> None:
        nonlocal last, ended
        ends = progress.parts == progress.num_parts
        if time.monotonic() - last >= 60 or (ends and not ended):
            last = time.monotonic()
            print(say(progress), file=sys.stderr, flush=True)
        ended = ends

    yield line


@contextmanager
def _bar(what: str, say: Callable[[Any], str], *, keeps: bool) -> Iterator[Callable[[Any], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), TextColumn("{task.fields[line]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, parts = bar.add_task(what, total=None, line="starting Ray"), 0

        def advance(progress: Any) -> None:
            nonlocal parts
            if keeps and progress.parts != parts:
                bar.console.print(say(progress), markup=False, highlight=False)
            parts = progress.parts
            bar.update(task, total=progress.num_parts, completed=parts, line=say(progress), refresh=True)

        yield advance


def _scored(progress: Any) -> str:
    hours = progress.audio_s / 3600
    return (
        f"recordings={progress.recordings}/{progress.num_recordings} failed={progress.failed} "
        f"segments={progress.segments} audio={hours:.2f} h wall={progress.wall_s:.0f} s "
        f"rate={progress.audio_s / max(progress.wall_s, 1e-9):.0f} audio_s/s"
    )


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
