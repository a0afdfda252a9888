"""The workers of one fit, as it knows them: answers of all, means over all."""

import torch
import torch.distributed as dist
from torch import Tensor


class Workers:
    """All ranks of the running process group."""

    def __init__(self) -> None:
        self.count = dist.get_world_size()
        self.rank = dist.get_rank()

    def gather(self, own: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rows of all ranks, in rank order; gradient reaches this rank's own.

        Ranks may hold different numbers of rows.
        """
        any_tensor = next(iter(own.values()))
        size = torch.tensor([len(any_tensor)], device=any_tensor.device)
        sizes = [torch.zeros_like(size) for _ in range(self.count)]
        dist.all_gather(sizes, size)
        counts = [int(size) for size in sizes]
        # In one order of names everywhere: collectives are matched by order.
        return {name: self._gather(own[name], counts) for name in sorted(own)}

    def average(self, value: Tensor) -> None:
        dist.all_reduce(value)
        value /= self.count

    def _gather(self, own: Tensor, counts: list[int]) -> Tensor:
        padded = own.detach().new_zeros(max(counts), *own.shape[1:])
        padded[: len(own)] = own.detach()
        everyone = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(everyone, padded)
        parts = [part[:count] for part, count in zip(everyone, counts, strict=True)]
        return torch.cat([own if index == self.rank else part for index, part in enumerate(parts)])
