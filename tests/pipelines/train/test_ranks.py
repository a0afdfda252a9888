"""What ranks exchange: rows of all, of every kind, in two messages, with gradient for their own; means over all."""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor

from pipelines.train.ranks import DistributedRanks

ROWS = (3, 2)


def rows_of(rank: int) -> list[dict[str, Tensor]]:
    """Answers and targets of one rank, which no two have alike; names stand in another order on each."""
    torch.manual_seed(rank)
    rows = ROWS[rank]
    answers = {"vad": torch.randn(rows, 3, dtype=torch.float64), "region": torch.randn(rows, 8, dtype=torch.float64)}
    names = sorted(answers, reverse=bool(rank))
    targets = {"vad": torch.randn(rows, 3), "region": torch.randint(-1, 8, (rows,)), "odd": torch.rand(rows, 2, 2),
               "mask": torch.rand(rows, 3) < 0.5}  # fmt: skip
    return [{name: answers[name] for name in names}, targets]


def as_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    messages: list[Any] = []
    send = dist.all_gather

    def counted(*args: Any) -> None:
        messages.append(args)
        send(*args)

    dist.all_gather = counted
    own = rows_of(rank)
    for answer in own[0].values():
        answer.requires_grad_()
    answers, targets = DistributedRanks().gather(own)
    torch.cat([answer.flatten() for answer in answers.values()]).square().sum().backward()
    gradients = {name: answer.grad for name, answer in own[0].items()}
    detached = {name: answer.detach() for name, answer in answers.items()}
    mean = DistributedRanks().mean(torch.tensor([rank, 3.0]))
    torch.save((detached, targets, gradients, len(messages), mean), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_all_workers_know_the_rows_of_all_after_two_messages(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(as_rank, (str(tmp_path),), nprocs=2)
    each = [rows_of(0), rows_of(1)]
    for rank in (0, 1):
        answers, targets, gradients, messages, mean = torch.load(tmp_path / f"{rank}.pt")
        assert messages == 2, "the numbers of rows, and all the rest"
        assert mean.tolist() == [0.5, 3.0]
        for number, gathered in enumerate((answers, targets)):
            assert gathered.keys() == each[0][number].keys()
            for name, tensor in gathered.items():
                expected = torch.cat([each[0][number][name], each[1][number][name]])
                assert tensor.dtype == expected.dtype
                assert torch.equal(tensor, expected), name
        assert all(torch.equal(gradient, 2 * each[rank][0][name]) for name, gradient in gradients.items())
