"""Which epoch of a fit counts, by clips that are not learnt from, and when to stop."""

import torch
import torch.distributed

from emosphere.clips.batches import Clips
from emosphere.metrics import ccc, region_report
from emosphere.model.network import Network
from emosphere.training import Answers, answers_for
from emosphere.vad import VAD_DIMS


def choice_figures(
    network: Network, clips: Clips, rows: list[int], num_regions: int, *, rank: int, num_ranks: int
) -> dict[str, float]:
    """Mean CCC and region figures of ``network`` on ``rows``; every rank computes its part and gets the whole."""
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
    agreement = ccc(answers["vad"], targets["vad"])
    figures = {"ccc": round(float(agreement.mean()), 6)}
    figures |= {f"ccc_{dim}": round(float(value), 4) for dim, value in zip(VAD_DIMS, agreement, strict=True)}
    if "region" in answers and (targets["region"] >= 0).any():
        report = region_report(answers["region"].argmax(dim=1), targets["region"], num_regions)
        figures |= {"uar": report.uar, "macro_f1": report.macro_f1, "accuracy": report.accuracy}
    return figures
