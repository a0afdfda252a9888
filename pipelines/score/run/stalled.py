"""A run in which nothing is finished for too long ends, whatever it waits for."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from emosphere.errors import MachineError


class Stalled(MachineError):
    """Nothing was finished for too long."""


def within_deadline(
    rows: Iterable[dict[str, Any]], timeout_s: float, signs: Callable[[], object] = lambda: None
) -> Iterator[dict[str, Any]]:
    """The rows as they come. Raises Stalled where none comes for ``timeout_s``, and ``signs`` of life have not changed
    meanwhile: whoever gives them might wait for ever.
    """
    arrived: queue.Queue[dict[str, Any] | BaseException | None] = queue.Queue()
    unwanted = threading.Event()

    def pull() -> None:
        try:
            for row in rows:
                arrived.put(row)
                if unwanted.is_set():
                    return
            arrived.put(None)
        except BaseException as error:
            arrived.put(error)

    threading.Thread(target=pull, name="scoring", daemon=True).start()
    last_signs = signs()
    try:
        while True:
            try:
                row = arrived.get(timeout=timeout_s)
            except queue.Empty:
                if (now := signs()) == last_signs:
                    raise Stalled(
                        f"Nothing was scored for {timeout_s:g} s (stall_timeout_s in [resources]): a worker hangs, or "
                        "the cluster gives none. What was scored is kept; the same command resumes."
                    ) from None
                last_signs = now
                continue
            if row is None:
                return
            if isinstance(row, BaseException):
                raise row
            yield row
    finally:
        unwanted.set()
