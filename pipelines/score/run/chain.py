"""The Ray Data chain: parts of the plan -> scoring actors -> staging. Only part numbers travel through Ray."""

import logging
import queue
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import ray
import ray.data

from emosphere.errors import MachineError, UsageError
from pipelines.archive.seal import Seal
from pipelines.cluster.resources import connect, pool_for
from pipelines.output.ledger import Ledger, RunHeader
from pipelines.score.policy import NO_ROLES
from pipelines.score.run.actor import ScoreParts
from pipelines.score.settings import ScoreSettings

log = logging.getLogger("emosphere")


class Stalled(MachineError):
    """Nothing was finished for too long."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; figures of recordings are those of this command, without what was scored before it."""

    parts: int
    num_parts: int
    recordings: int
    num_recordings: int
    failed: int
    segments: int
    audio_s: float
    wall_s: float


def score_parts(
    ledger: Ledger,
    header: RunHeader,
    todo: list[int],
    model: str,
    settings: ScoreSettings,
    seal: Seal,
    on_progress: Callable[[Progress], None],
) -> None:
    """Score the parts ``todo`` into staging. A part scored twice writes the same object twice.

    Raises MachineError where the cluster gives up; what was staged stays, and the same command goes on from there.
    """
    connect()
    ray.data.DataContext.get_current().enable_progress_bars = False
    pool = pool_for(settings.resources, len(todo))
    summaries = ray.data.from_items([{"part": part} for part in todo], override_num_blocks=len(todo)).map_batches(
        ScoreParts,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            size=pool.size,
            max_tasks_in_flight_per_actor=2 * pool.lanes,
            max_concurrent_calls_per_actor=pool.lanes,
            enable_true_multi_threading=True,
        ),
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus,
        fn_constructor_args=(ledger, header, model, settings, pool, seal),
    )
    began, done = time.monotonic(), Counter[str]()
    try:
        rows = within_deadline(
            summaries.iter_rows(), settings.resources.stall_timeout_s, lambda: ledger.signs_of_life(header.run_id)
        )
        for row in rows:
            if row.get("error"):
                raise (UsageError if row["exit_code"] == UsageError.exit_code else MachineError)(row["error"])
            if row["phone_calls"] and not done["phone_calls"] and not header.roles:
                log.warning(NO_ROLES)
            done.update({name: n for name, n in row.items() if name not in ("part", "error", "exit_code")}, parts=1)
            on_progress(_progress_of(header, len(todo), done, time.monotonic() - began))
    except ray.exceptions.RayError as error:
        raise MachineError(
            f"Scoring stopped: {seal.hide(_exception_line(error))}. The same command resumes."
        ) from error
    log.info(
        "actors=%d busy=%.1f s: waiting for decoders %.0f %%, finding speech %.0f %%, model %.0f %% (padding %.1f %%)",
        pool.size,
        done["wall_s"],
        *(100 * done[name] / max(done["wall_s"], 1e-9) for name in ("wait_s", "find_speech_s", "predict_s")),
        100 * done["padding"] / max(done["samples"], 1),
    )


def within_deadline(
    rows: Iterable[dict[str, Any]], timeout_s: float, signs: Callable[[], object] = lambda: None
) -> Iterator[dict[str, Any]]:
    """The rows as they come. Raises Stalled where none comes for ``timeout_s``, and ``signs`` of life have not changed
    meanwhile: Ray would wait for ever.
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


def _exception_line(error: Exception) -> str:
    """The line of Ray's report that names the exception."""
    lines = [line.strip() for line in str(error).splitlines() if re.match(r"[\w.]*(Error|Exception)\b", line.strip())]
    return (lines or [type(error).__name__])[-1].rstrip(".")


def _progress_of(header: RunHeader, num_todo: int, done: Counter[str], wall_s: float) -> Progress:
    return Progress(
        parts=header.num_parts - num_todo + int(done["parts"]),
        num_parts=header.num_parts,
        recordings=int(done["recordings"]),
        num_recordings=header.num_recordings,
        failed=int(done["failed"]),
        segments=int(done["segments"]),
        audio_s=float(done["audio_s"]),
        wall_s=wall_s,
    )
