"""Items come in order, errors in their place, and nothing runs far ahead or on for ever."""

import threading
import time
from collections.abc import Iterator

import pytest

from emosphere.clips.prefetch import prefetch


def test_items_come_in_order() -> None:
    assert list(prefetch(range(100))) == list(range(100))
    assert list(prefetch([])) == []


def test_an_error_comes_up_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    taken = []
    with pytest.raises(ValueError, match="broken"):
        for item in prefetch(items()):
            taken.append(item)
    assert taken == [1]


def test_it_works_ahead_but_not_far() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for item in range(50):
            made.append(item)
            yield item

    taken = prefetch(items(), depth=2)
    assert next(taken) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(made) == 4  # one taken, two waiting, one in the thread's hand
    taken.close()  # type: ignore[attr-defined]
    assert not any(thread.name == "ahead" for thread in threading.enumerate())
