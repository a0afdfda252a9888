"""The one scoring actor in the command's own process: the same class, called from as many threads as it has lanes."""

import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any

import numpy as np

from pipelines.archive.seal import Seal
from pipelines.cluster.resources import Pool
from pipelines.output.ledger import Ledger, RunHeader
from pipelines.score.run.actor import ScoreParts, stopped
from pipelines.score.run.heap import give_back
from pipelines.score.settings import ScoreSettings


class InProcess:
    """What :class:`pipelines.score.run.chain.Chain` is, without Ray."""

    size = 1

    def __init__(
        self,
        ledger: Ledger,
        header: RunHeader,
        todo: list[int],
        model: str,
        settings: ScoreSettings,
        seal: Seal,
        pool: Pool,
    ) -> None:
        self._todo, self._seal, self._lanes = todo, seal, pool.lanes
        self._arguments = (ledger, header, model, settings, pool, seal)
        self._actor: ScoreParts | None = None
        self._is_closed = False
        self._closing = threading.Lock()

    def summaries(self) -> Iterator[dict[str, Any]]:
        """What the actor says of each part, as they end. Raises MachineError where it raises anything."""
        # Made here, not by whoever waits for it: loading a model may take for ever, too.
        actor = self._made()
        parts = iter(self._todo)
        calls = ThreadPoolExecutor(self._lanes, "call")
        try:
            running = {calls.submit(self._call, actor, part) for part in islice(parts, self._lanes)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {calls.submit(self._call, actor, part) for part in islice(parts, len(done))}
                for call in done:
                    yield call.result()
        finally:  # what goes wrong in one lane is heard at once, whatever the other is at
            calls.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End what is under way: nothing is staged from here on."""
        with self._closing:
            self._is_closed = True
            if self._actor is not None:
                self._actor.close()
        self._actor = None
        give_back()

    def _made(self) -> ScoreParts:
        actor = ScoreParts(*self._arguments)
        with self._closing:
            self._actor = actor
            if self._is_closed:
                actor.close()
        return actor

    def _call(self, actor: ScoreParts, part: int) -> dict[str, Any]:
        try:
            answer = actor({"part": np.array([part])})
        except Exception as error:
            raise stopped(error, "".join(traceback.format_exception_only(error)), self._seal) from error
        return {name: values[0].item() for name, values in answer.items()}
