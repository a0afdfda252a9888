"""A command's work, its exit code, and the one JSON line or summary on standard output."""

import json
import logging
import os
import signal
import sys
import threading
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
    with quiet_stdout() as print_answer:
        try:
            with _terminable():
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
            print_answer(json.dumps(result | ({"exit_code": code} if code else {})))
        elif "error" not in result:
            print_answer(show(result))
    raise typer.Exit(code)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does: whoever stops a run finds it tidied up, with its result."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
