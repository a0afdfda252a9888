"""The workers of one fit, as it knows them: answers of all, means over all."""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor


class Workers:
    """All ranks of the running process group."""

    def __init__(self) -> None:
        self.count = dist.get_world_size()
        self.rank = dist.get_rank()

    def gather(self, own: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
        """Rows of all ranks, in rank order; gradient reaches this rank's own.

        Ranks may hold different numbers of rows, each the same number in all its tensors, and names in any order.
        """
        places = [(number, name) for number, group in enumerate(own) for name in sorted(group)]
        mine = [own[number][name] for number, name in places]
        every: list[dict[str, Tensor]] = [{} for _ in own]
        for (number, name), parts in zip(places, self._exchange([tensor.detach() for tensor in mine]), strict=True):
            parts[self.rank] = own[number][name]
            every[number][name] = torch.cat(parts)
        return every

    def average(self, value: Tensor) -> None:
        dist.all_reduce(value)
        value /= self.count

    def _exchange(self, mine: Sequence[Tensor]) -> list[list[Tensor]]:
        """Each rank's part of each tensor, all in one message: on two cores a message costs more than what is in it."""
        size = torch.tensor([len(mine[0])], device=mine[0].device)
        sizes = [torch.zeros_like(size) for _ in range(self.count)]
        dist.all_gather(sizes, size)
        counts = [int(size) for size in sizes]
        widths = [math.prod(tensor.shape[1:]) for tensor in mine]
        # float64 holds answers of any precision and labels exactly.
        packed = torch.cat([tensor.double().reshape(-1, width) for tensor, width in zip(mine, widths, strict=True)], 1)
        padded = packed.new_zeros(max(counts), sum(widths))
        padded[: len(packed)] = packed
        everyone = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(everyone, padded)
        columns = [part[:count].split(widths, dim=1) for part, count in zip(everyone, counts, strict=True)]
        return [
            [part.reshape(-1, *tensor.shape[1:]).to(tensor.dtype) for part in parts]
            for parts, tensor in zip(zip(*columns, strict=True), mine, strict=True)
        ]
