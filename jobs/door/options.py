"""A command whose options are the fields of a dataclass, so that no door passes on a long list of arguments."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Options = TypeVar("Options")


def takes(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Make a command for Typer of a function of one ``options``, whose fields are annotated as parameters would be."""

    def as_command(door: Callable[[Options], None]) -> Callable[..., None]:
        @functools.wraps(door)
        def command(**values: Any) -> None:
            door(options(**values))

        # Where Typer looks for the parameters: those by which the dataclass is made.
        command.__dict__["__signature__"] = inspect.signature(options)
        return command

    return as_command
