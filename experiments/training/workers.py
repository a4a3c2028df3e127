"""The processes that train one network together, as one of them sees it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """One process alone, or `count` of one torch.distributed group, of which this is number `rank`.

    Every one calls each method at the same point, as it waits there for the others.
    """

    rank: int
    count: int
    device: torch.device

    def share(self, batch: Tensor) -> Tensor:
        """This worker's part of a batch (N,)."""
        return batch.tensor_split(self.count)[self.rank]

    def wrapped(self, model: nn.Module) -> nn.Module:
        """The model, its gradients those of the whole batch."""
        return model if self.count == 1 else nn.parallel.DistributedDataParallel(model)

    def summed(self, value: Tensor) -> Tensor:
        """The sum over all workers, in place."""
        if self.count > 1:
            dist.all_reduce(value)
        return value

    def gathered(self, values: list[T]) -> list[T]:
        """The lists of all workers, one after the other, on every one."""
        if self.count == 1:
            return values
        lists: list[list[T]] = [[] for _ in range(self.count)]
        dist.all_gather_object(lists, values)
        return [value for own in lists for value in own]

    def as_first(self, network: nn.Module) -> None:
        """Give all the first one's batch norm statistics: each has seen images of its own."""
        if self.count > 1:
            for buffer in network.buffers():
                dist.broadcast(buffer, src=0)

    def agreed(self, choose: Callable[[], torch.memory_format]) -> torch.memory_format:
        """The first one's choice, for all.

        Machines measure and remember differently, and gradients must lie alike.
        """
        if self.count == 1:
            return choose()
        first = torch.zeros((), device=self.device)
        if self.rank == 0:
            first += choose() == torch.channels_last
        dist.broadcast(first, src=0)
        return torch.channels_last if first else torch.contiguous_format
