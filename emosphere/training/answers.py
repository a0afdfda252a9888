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
    found: defaultdict[str, list[Tensor]] = defaultdict(list)
    order: list[int] = []
    for batch_rows, batch in evaluation_batches(clips, rows, version=version):
        for name, answer in network(to_device(batch, device).features).items():
            found[name].append(answer.float().cpu())
        order += [place[row] for row in batch_rows]
    back = torch.argsort(torch.tensor(order))
    return {name: torch.cat(parts)[back] for name, parts in found.items()}
