"""How far a training is, from its log while the workers write it."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POLL_S = 0.5
HEARTBEAT_S = 20.0
"""So often progress is reported where no epoch ends meanwhile."""


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """The last epoch that ended, and what is left."""

    parts: int
    """Epochs behind, over all fits: on all clips, then the folds of a cross-validation. Early stops count as whole."""
    num_parts: int
    fit: str
    """Which it is, such as ``fold=1/2``; empty for that of the network that will be written."""
    epoch: int
    """Epochs that ended in this fit; 0 while clips are decoded and workers start."""
    num_epochs: int
    loss: float | None
    """Sum of the loss terms, mean over the epoch."""
    ccc: float | None
    """Mean CCC on the clips to choose by, where there are any."""
    clips_per_s: float | None
    wall_s: float
    """Since this command began to train."""
    left_s: float | None
    """What is left, if epochs go on as they did and none stops early."""


OnProgress = Callable[[TrainProgress], None]


@contextlib.contextmanager
def followed(log: Path, *, num_epochs: int, folds: int, on_progress: OnProgress | None) -> Iterator[None]:
    """While inside, call ``on_progress`` for every epoch that ``log`` gets, and from time to time for none."""
    if on_progress is None:
        yield
        return
    started, stopped = time.monotonic(), threading.Event()

    def watch() -> None:
        num_reported, reported_at = None, time.monotonic()
        while True:
            last = stopped.wait(POLL_S)
            lines = _lines(log)
            if len(lines) != num_reported or time.monotonic() - reported_at >= HEARTBEAT_S:
                num_reported, reported_at = len(lines), time.monotonic()
                wall_s = reported_at - started
                on_progress(progress_of(lines, num_epochs=num_epochs, folds=folds, wall_s=wall_s))
            if last:
                return

    thread = threading.Thread(target=watch, daemon=True, name="train-progress")
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def progress_of(lines: list[dict[str, Any]], *, num_epochs: int, folds: int, wall_s: float) -> TrainProgress:
    """How far a training with these ``lines`` in its log is."""
    num_parts = num_epochs * (1 + folds)
    if not lines:
        return TrainProgress(0, num_parts, "", 0, num_epochs, None, None, None, wall_s, None)
    last = lines[-1]
    fold = last["stage"]
    parts = fold * num_epochs + last["epoch"]
    return TrainProgress(
        parts=parts,
        num_parts=num_parts,
        fit=f"fold={fold}/{folds}" if fold else "",
        epoch=last["epoch"],
        num_epochs=num_epochs,
        loss=sum(last["loss"].values()),
        ccc=last.get("choose", {}).get("ccc"),
        clips_per_s=last["clips_per_s"],
        wall_s=wall_s,
        left_s=(num_parts - parts) * sum(line["wall_s"] for line in lines) / len(lines),
    )


def _lines(log: Path) -> list[dict[str, Any]]:
    """The whole lines; a worker may be about to write one."""
    try:
        text = log.read_text(encoding="utf-8")
    except OSError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
