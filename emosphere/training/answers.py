"""What a network answers to whole clips."""

from collections import defaultdict

import torch
from torch import Tensor

from emosphere.clips.batches import Clips, evaluation_batches, to_device
from emosphere.model.network import Network

Answers = dict[str, Tensor]
"""Head's name -> (clip, output)."""


@torch.inference_mode()
def answers_for(network: Network, clips: Clips, rows: list[int], *, version: int = 0) -> Answers:
    """Each head's answers for whole clips, in the order of ``rows``, on the CPU."""
    network.eval()
    device = next(network.parameters()).device
    place = {row: index for index, row in enumerate(rows)}
    batches: defaultdict[str, list[Tensor]] = defaultdict(list)
    places: list[int] = []
    for batch_rows, batch in evaluation_batches(clips, rows, version=version):
        for name, answer in network(to_device(batch, device).features).items():
            batches[name].append(answer.float().cpu())
        places += [place[row] for row in batch_rows]
    in_order = torch.argsort(torch.tensor(places))
    return {name: torch.cat(answers)[in_order] for name, answers in batches.items()}
