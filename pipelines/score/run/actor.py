"""The scoring actor: one part of the plan in, its staged results out, one small row about it back to the driver."""

import datetime
import os
import queue
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from emosphere.errors import EmosphereError, MachineError
from emosphere.importing import without_collector
from emosphere.model.find import find_model
from emosphere.speech.cells import Cell
from pipelines.archive.seal import UNSEALED, Seal
from pipelines.cluster.resources import Pool
from pipelines.output.ledger import Ledger, RunHeader
from pipelines.score.policy import is_phone_call, withheld_channels
from pipelines.score.publish.staged import staged_part
from pipelines.score.run.decoders import ENDED, Decoders, DecodersLost, Ended, Event
from pipelines.score.run.heap import give_back, keep_freed_memory
from pipelines.score.settings import ScoreSettings
from pipelines.score.unit import DecodedUnit, Unit, UnitResult, results_of, units_of

if TYPE_CHECKING:
    from emosphere.inference import Scorer
    from emosphere.model.checkpoint import Checkpoint
    from pipelines.score.run.decoders_apart import DecodersApart

SIGN_S = 60.0
"""Time between signs of life."""
CELLS_PER_TRIM = 32
"""Cells, and ends of units, of a part after which freed memory is handed back to the system: it costs milliseconds."""
CLOSE_S = 10.0
"""Time that a write under way is given when a run is broken off."""
TRIES = 3
"""Times that a part is begun where its decoders, apart on another machine, are lost."""


class ScoreParts:
    """One actor: one model, and lanes that score parts with it, side by side. It knows nothing of who calls it.

    Reads:  part (int)
    Gives:  part, units, recordings, failed, segments, audio_s, phone_calls (stereo, 8 kHz);
            wait_s (for decoders), find_speech_s, predict_s, wall_s; samples through the network, padding among them
    """

    def __init__(
        self, ledger: Ledger, header: RunHeader, model: str, settings: ScoreSettings, pool: Pool, seal: Seal = UNSEALED
    ) -> None:
        withheld = withheld_channels(header.roles, header.exception)
        decoders = [
            _decoders(pool.apart, count, settings, seal, withheld)
            for count in (len(range(number, pool.decoders, pool.lanes)) for number in range(pool.lanes))
        ]
        for of_lane in decoders:
            of_lane.start()  # they load what decodes while this process loads torch
        # Here, where the model is: the driver knows this class too, and does without torch's seconds and 450 MB.
        with without_collector():
            from emosphere.model.checkpoint import load_checkpoint

        self._ledger, self._header, self._seal = ledger, header, seal
        self._threads: ThreadPoolExecutor | None = None
        self._lanes: list[_Lane] = []
        self._free: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        self._model_error: EmosphereError | None = None
        _prepare_process()
        try:
            # Found anew on every machine: "default" is the worker's own package, a URL its own copy.
            checkpoint = load_checkpoint(find_model(model))
            settings.listen.check_model(checkpoint)
        except EmosphereError as error:
            # Raised by the first call: of an actor that cannot be made Ray only says that it died.
            self._model_error = error
            for of_lane in decoders:
                of_lane.close()
            return
        self._model_digest = checkpoint.digest
        scorer = self._load(checkpoint, settings, pool)
        for of_lane in decoders:
            self._lanes.append(_Lane(scorer.another(), pool.threads, of_lane))
            self._free.put(self._lanes[-1])

    def _load(self, checkpoint: "Checkpoint", settings: ScoreSettings, pool: Pool) -> "Scorer":
        """The scorer that all lanes share."""
        import torch

        from emosphere.inference import Scorer, default_device

        device = default_device() if pool.num_gpus else "cpu"
        # Shared by the lanes, so that no core idles while one of them waits, or has nothing left. One thread each:
        # teams of OpenMP, one for every thread that ever used torch, sleep at each barrier where they outnumber the
        # cores, which cost WavLM 15 %.
        self._threads = ThreadPoolExecutor(pool.cores, "network", torch.set_num_threads, (1,))
        return Scorer(
            checkpoint,
            device=device,
            speech=settings.listen,
            batch=settings.batch,
            threads=self._threads if device == "cpu" else None,
        )

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        # What went wrong travels to the driver as a value: through Ray it would arrive as advice about Ray.
        try:
            if self._model_error is not None:
                raise self._model_error
            summaries = [self._score_in_a_lane(int(part)) for part in batch["part"]]
        except EmosphereError as error:
            return {"error": np.array([self._seal.hide(str(error))]), "exit_code": np.array([error.exit_code])}
        except Exception as error:
            if self._seal.key is None:
                raise
            words = self._seal.hide(f"{type(error).__name__}: {error}")  # a name may stand in it
            return {"error": np.array([words]), "exit_code": np.array([EmosphereError.exit_code])}
        return {name: np.array([summary[name] for summary in summaries]) for name in summaries[0]}

    def close(self) -> None:
        """End the lanes and their decoder processes, and wipe the scratch folders. Nothing is staged from here on."""
        for lane in self._lanes:
            lane.end()
        for lane in self._lanes:
            lane.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False)

    __del__ = close

    def _score_in_a_lane(self, part: int) -> dict[str, Any]:
        lane = self._free.get()
        try:
            lane.check()
            return lane.thread.submit(self._score_part, lane, part).result()
        finally:
            self._free.put(lane)

    def _score_part(self, lane: "_Lane", part: int) -> dict[str, Any]:
        if self._model_digest != self._header.model_digest:
            raise MachineError(
                f"A worker's model has digest {self._model_digest}, the run's is {self._header.model_digest}; give all "
                "machines the same version, then run the same command again."
            )
        began = time.monotonic()
        units = units_of(self._ledger.plan_part(self._header, part))
        for tries_left in reversed(range(TRIES)):
            scorer, decoding = lane.scorer.another(), lane.decoders.decode(units)
            try:
                results = _score_units(units, scorer, self._with_signs_of_life(lane, part, decoding.events()))
                break
            except DecodersLost:  # nothing of the part is staged yet: it begins anew
                if not tries_left:
                    raise
        staged = staged_part(results, scored_at=datetime.datetime.now(datetime.UTC))
        with lane.writing:
            lane.check()
            self._ledger.write_staged_part(self._header.run_id, part, staged)
        num_samples, num_padding = scorer.padding
        return {
            "part": part,
            **_counts(results),
            "wait_s": decoding.waited_s,
            **{f"{name}_s": spent_s for name, spent_s in scorer.spent_s.items()},
            "samples": num_samples,
            "padding": num_padding,
            "wall_s": time.monotonic() - began,
        }

    def _with_signs_of_life(self, lane: "_Lane", part: int, events: Iterable[Event]) -> Iterator[Event]:
        """The same events; once a minute the driver can see that they still come, since a part may last for hours."""
        last_sign = time.monotonic()
        for number, event in enumerate(events):
            yield event
            if time.monotonic() - last_sign >= SIGN_S:
                last_sign = time.monotonic()
                with lane.writing:
                    lane.check()
                    self._ledger.write_sign_of_life(self._header.run_id, part, number)
            if number % CELLS_PER_TRIM == CELLS_PER_TRIM - 1:
                give_back()


def stopped(error: Exception, report: str, seal: Seal) -> MachineError:
    """What the command says where an actor raised, or was lost; ``report``: text with the line that names the exception
    last.
    """
    lines = [line.strip() for line in report.splitlines() if re.match(r"[\w.]*(Error|Exception)\b", line.strip())]
    what = (lines or [type(error).__name__])[-1].rstrip(".")
    return MachineError(f"Scoring stopped: {seal.hide(what)}. The same command resumes.")


def _decoders(
    is_apart: bool, count: int, settings: ScoreSettings, seal: Seal, withheld: frozenset[int]
) -> "Decoders | DecodersApart":
    if not is_apart:
        return Decoders(count, settings, seal, withheld)
    # Only these need Ray.
    from pipelines.score.run.decoders_apart import DecodersApart

    return DecodersApart(count, settings, seal, withheld)


def _prepare_process() -> None:
    """Settle what torch and the C library do in this process."""
    import torch

    keep_freed_memory()
    # This thread only loads: a team of OpenMP's would stay with it for good.
    torch.set_num_threads(1)
    # One compiled kernel per shape would be kept for each of a thousand segment lengths. Enough for two lanes'
    # batches, in which the members of a network ask for the same ones in turn.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")


def _score_units(units: Sequence[Unit], scorer: "Scorer", events: Iterable[Event]) -> list[UnitResult]:
    """Score the cells of a part's units as they are decoded."""
    decoded: dict[int, DecodedUnit] = {}

    def cells() -> Iterator[tuple[int, Cell | None]]:
        for row, event in events:
            if isinstance(event, Cell):
                yield row, event
            else:
                decoded[row] = event
                yield row, None

    scored = dict(scorer.score_cells(cells()))
    return results_of(units, decoded, scored)


def _counts(results: Sequence[UnitResult]) -> dict[str, Any]:
    """What the driver is to know of a part."""
    headers = [result.decoded.header for result in results if result.decoded.header is not None]
    return {
        "units": len(results),
        "recordings": sum(result.unit.unit_index == 0 for result in results),
        "failed": sum(result.decoded.failure is not None for result in results),
        "segments": sum(result.num_distinct_segments for result in results),
        "audio_s": sum(result.decoded.audio_ms for result in results) / 1000,
        "phone_calls": sum(is_phone_call(header.sample_rate_hz, header.num_channels) for header in headers),
    }


class _Lane:
    """What it takes to score one part: a thread that looks for speech, and decoders that work ahead of it.

    One thread for good: whoever runs an actor makes it in one thread and calls it in others.
    """

    def __init__(self, scorer: "Scorer", threads: int, decoders: "Decoders | DecodersApart") -> None:
        import torch

        self.scorer, self.decoders = scorer, decoders
        self.thread = ThreadPoolExecutor(1, "lane", initializer=torch.set_num_threads, initargs=(threads,))
        self.writing = threading.Lock()
        """Held over each write below OUT, which begins with :meth:`check`."""
        self._is_ended = False

    def check(self) -> None:
        """Raise Ended where nobody wants the lane's work any more."""
        if self._is_ended:
            raise Ended(ENDED)

    def end(self) -> None:
        """Let a write that is under way come to its end; none follows.

        What is not written by now may be spoilt: decoders die with whatever ends the run.
        """
        is_free = self.writing.acquire(timeout=CLOSE_S)  # else the store hangs, and the fence is left to stop it
        self._is_ended = True
        if is_free:
            self.writing.release()

    def close(self) -> None:
        self.decoders.close()
        self.thread.shutdown(wait=False, cancel_futures=True)
