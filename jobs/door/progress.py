"""How far a command is, on standard error: a bar on a terminal, a line a minute in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress_printer(
    what: str, line_of: Callable[[Any], str], *, keeps: bool = False
) -> Iterator[Callable[[Any], None]]:
    """A bar on a terminal, one line a minute in a log; both on standard error.

    Called with an object that knows ``parts`` and ``num_parts``; ``line_of`` makes a line of it. ``keeps``: on a
    terminal the line of each part stays above the bar.
    """
    if sys.stderr.isatty():
        with _bar(what, line_of, keeps=keeps) as advance:
            yield advance
        return
    last, ended = time.monotonic(), False

    def print_line(progress: Any) -> None:
        nonlocal last, ended
        ends = progress.parts == progress.num_parts
        if time.monotonic() - last >= 60 or (ends and not ended):
            last = time.monotonic()
            print(line_of(progress), file=sys.stderr, flush=True)
        ended = ends

    yield print_line


@contextmanager
def _bar(what: str, line_of: Callable[[Any], str], *, keeps: bool) -> Iterator[Callable[[Any], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), TextColumn("{task.fields[line]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, parts = bar.add_task(what, total=None, line="starting"), 0

        def advance(progress: Any) -> None:
            nonlocal parts
            if keeps and progress.parts != parts:
                bar.console.print(line_of(progress), markup=False, highlight=False)
            parts = progress.parts
            bar.update(task, total=progress.num_parts, completed=parts, line=line_of(progress), refresh=True)

        yield advance
