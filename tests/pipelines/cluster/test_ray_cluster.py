"""When a command joins Ray, leaves it, and is told to stop meanwhile."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import ray

from pipelines.cluster.ray_cluster import connect, disconnect, in_use


@pytest.fixture
def shut_down(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A Ray that is up, and whether it was shut down."""
    calls: list[str] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shut down"))
    return calls


def test_ray_is_not_shut_down_under_a_thread_that_waits_in_it(shut_down: list[str]) -> None:
    waits, answered = threading.Event(), threading.Event()

    def ask() -> None:
        with in_use():
            waits.set()
            answered.wait()

    thread = threading.Thread(target=ask)
    thread.start()
    waits.wait()
    disconnect()
    assert shut_down == []
    answered.set()
    thread.join()
    disconnect()
    assert shut_down == ["shut down"]


def test_sigterm_while_ray_starts_is_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray answers it by leaving with code 15, and without a result."""
    before: Callable[..., Any] | int | None = signal.getsignal(signal.SIGTERM)

    def init(**options: object) -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(os, "environ", os.environ | {"RAY_ADDRESS": ""})
    with pytest.raises(KeyboardInterrupt):
        connect()
    assert signal.getsignal(signal.SIGTERM) is before
