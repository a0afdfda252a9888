"""Importing large packages in less time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """Let Python's garbage collector rest. Of modules that come in nothing becomes garbage, yet the collector goes
    through them again and again: a seventh of the time that torch takes to import.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
