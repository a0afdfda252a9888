"""The Ray Data chain: parts of the plan -> scoring actors -> staging. Only part numbers travel through Ray."""

from collections.abc import Iterator
from typing import Any

import ray
import ray.data

from pipelines.archive.seal import Seal
from pipelines.cluster.ray_cluster import connect, in_use, pool_for
from pipelines.output.ledger import Ledger, RunHeader
from pipelines.score.run.actor import ScoreParts, stopped
from pipelines.score.settings import ScoreSettings


class Chain:
    """Scoring actors on the cluster that this process belongs to, or on a local Ray."""

    def __init__(
        self,
        ledger: Ledger,
        header: RunHeader,
        todo: list[int],
        model: str,
        settings: ScoreSettings,
        seal: Seal,
    ) -> None:
        """Raises MachineError where no machine has room for an actor."""
        connect()
        ray.data.DataContext.get_current().enable_progress_bars = False
        pool = pool_for(settings.resources, len(todo))
        self.size = pool.size
        self._seal = seal
        self._rows = ray.data.from_items([{"part": part} for part in todo], override_num_blocks=len(todo)).map_batches(
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

    def summaries(self) -> Iterator[dict[str, Any]]:
        """What the actors say of each part, as they end. Raises MachineError where the cluster gives up."""
        try:
            with in_use():
                yield from self._rows.iter_rows()
        except ray.exceptions.RayError as error:
            raise stopped(error, str(error), self._seal) from error

    def close(self) -> None:
        """The actors end with the rows, or with this process's part in the cluster."""
