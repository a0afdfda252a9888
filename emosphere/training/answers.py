"""What a network answers: as one to whole clips, and member by member to what it learns from."""

from collections import defaultdict

import torch
from torch import Tensor, nn

from emosphere.clips.batches import Clips, evaluation_batches, to_device
from emosphere.model.frames import Features, Frames
from emosphere.model.network import Network
from emosphere.training.terms import Answer

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


class MemberAnswers(nn.Module):
    """A network asked for every member's answers: a module, for what DistributedDataParallel wraps is a ``forward``."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Features, detached: frozenset[str]) -> dict[str, Answer]:
        """Head's name -> (member x clip, output): all clips for the first member, then all for the second, and so on.

        Of a head that reads frames, (member x clip, frame, output). Heads named in ``detached`` send no gradient into
        what they read.
        """
        answers: dict[str, Answer] = {}
        for name, (values, is_valid) in self.network.member_answers(
            self.network.embed(features), detached=detached
        ).items():
            rows = values.flatten(0, 1)
            answers[name] = rows if is_valid is None else Frames(rows, is_valid.repeat(len(values), 1))
        return answers
