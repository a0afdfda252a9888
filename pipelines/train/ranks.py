"""The workers of one fit, as it knows them: answers of all, means over all."""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor


class DistributedRanks:
    """All ranks of the running process group."""

    def __init__(self) -> None:
        self.count = dist.get_world_size()
        self.rank = dist.get_rank()

    def gather(self, own: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
        """Rows of all ranks, in rank order; gradient reaches this rank's own.

        ``own``: groups of (row, ...) tensors by name. Ranks may hold different numbers of rows, each the same number in
        all its tensors, and names in any order.
        """
        places = [(number, name) for number, group in enumerate(own) for name in sorted(group)]
        tensors = [own[number][name] for number, name in places]
        widths = [math.prod(tensor.shape[1:]) for tensor in tensors]
        # All in one message, which costs more than what is in it. float64 holds any precision and labels exactly.
        flat = [tensor.detach().double().reshape(-1, width) for tensor, width in zip(tensors, widths, strict=True)]
        ranks = [torch.split(rows, widths, dim=1) for rows in self._rows_of_all(torch.cat(flat, dim=1))]
        gathered: list[dict[str, Tensor]] = [{} for _ in own]
        for column, (number, name) in enumerate(places):
            tensor = tensors[column]
            parts = [rows[column].reshape(-1, *tensor.shape[1:]).to(tensor.dtype) for rows in ranks]
            parts[self.rank] = tensor
            gathered[number][name] = torch.cat(parts)
        return gathered

    def mean(self, value: Tensor) -> Tensor:
        """Mean of a tensor of one shape over all ranks."""
        total = value.clone()
        dist.all_reduce(total)
        return total / self.count

    def _rows_of_all(self, own: Tensor) -> list[Tensor]:
        """Each rank's (row, column) tensor."""
        size = torch.tensor([len(own)], device=own.device)
        sizes = [torch.zeros_like(size) for _ in range(self.count)]
        dist.all_gather(sizes, size)
        counts = [int(size) for size in sizes]
        padded = own.new_zeros(max(counts), own.shape[1])
        padded[: len(own)] = own
        of_ranks = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(of_ranks, padded)
        return [rows[:count] for rows, count in zip(of_ranks, counts, strict=True)]
