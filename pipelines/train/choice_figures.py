"""Which epoch of a fit counts, by clips that are not learnt from, and when to stop."""

from collections.abc import Mapping

import torch
import torch.distributed

from emosphere.clips.batches import Clips
from emosphere.model.network import Network
from emosphere.tasks import Task
from emosphere.training import Answers, answers_for


def choice_figures(
    network: Network, clips: Clips, rows: list[int], *, rank: int, num_ranks: int
) -> dict[str, dict[str, float]]:
    """Short figures of ``network`` on ``rows``, by head; every rank computes its part and gets the whole.

    A head for which no label of these clips is known has none.
    """
    own_rows = rows[rank::num_ranks]
    own_answers = answers_for(network, clips, own_rows) if own_rows else {}
    parts: list[tuple[list[int], Answers]] = [(own_rows, own_answers)]
    if num_ranks > 1:
        parts = [([], {})] * num_ranks
        torch.distributed.all_gather_object(parts, (own_rows, own_answers))
    parts = [(part_rows, part_answers) for part_rows, part_answers in parts if part_rows]
    targets = clips.targets([row for part_rows, _ in parts for row in part_rows])
    _, first = parts[0]
    answers = {name: torch.cat([part_answers[name] for _, part_answers in parts]) for name in first}
    return {
        head: task.choice_figures(answers[head], targets[head])
        for head, task in network.tasks.items()
        if targets[head].is_known.any()
    }


def logged_figures(figures: dict[str, dict[str, float]], tasks: Mapping[str, Task]) -> dict[str, float]:
    """The same by one name each: after the head's own where another head's figure has that name already."""
    logged: dict[str, float] = {}
    for head, own in figures.items():
        for name, value in own.items():
            key = tasks[head].key(head, name)
            logged[f"{head}_{name}" if key in logged else key] = value
    return logged
