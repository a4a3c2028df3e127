"""The processes that train one network together, from the view of one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from experiments.config.recipe import TrainConfig
from search_spaces.records import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """One process alone, or `count` of one torch.distributed group, of which this is number `rank`.

    All must call each method at the same point, where each waits for the others.
    """

    rank: int
    count: int
    device: torch.device

    def share(self, batch: Tensor) -> Tensor:
        """This worker's part of a batch (N,)."""
        return batch.tensor_split(self.count)[self.rank]

    def wrapped(self, model: nn.Module) -> nn.Module:
        """The model, with the gradients of the whole batch."""
        return model if self.count == 1 else nn.parallel.DistributedDataParallel(model)

    def summed(self, value: Tensor) -> Tensor:
        """The sum over all workers, in place."""
        if self.count > 1:
            dist.all_reduce(value)
        return value

    def gathered(self, values: list[T]) -> list[T]:
        """The lists of all workers in a row, on every worker."""
        if self.count == 1:
            return values
        lists: list[list[T]] = [[] for _ in range(self.count)]
        dist.all_gather_object(lists, values)
        return [value for own in lists for value in own]

    def as_first(self, network: nn.Module) -> None:
        """Give all workers the batch norm statistics of the first: each saw other images."""
        if self.count > 1:
            for buffer in network.buffers():
                dist.broadcast(buffer, src=0)

    def agreed(self, choose: Callable[[], torch.memory_format]) -> torch.memory_format:
        """The first worker's choice, for all.

        Machines measure differently, and gradients must have one memory layout.
        """
        if self.count == 1:
            return choose()
        first = torch.zeros((), device=self.device)
        if self.rank == 0:
            first += choose() == torch.channels_last
        dist.broadcast(first, src=0)
        return torch.channels_last if first else torch.contiguous_format


def batch_size(images: int, config: TrainConfig, *, workers: int) -> int:
    """The recipe's batch size, or the whole set if that is smaller; at least 2, for batch norm.

    Raises InputError for fewer than 2 images, and for a batch that `workers` do not divide.
    """
    if images < 2:
        raise InputError(f"training needs at least 2 training images, but there is {images}")
    if config.batch_size % workers or images < 2 * workers:
        raise InputError(
            f"every worker takes an equal share of a batch, but got "
            f"(batch_size={config.batch_size}, workers={workers}) for {images} images; "
            f"choose a batch_size that is a multiple of the workers"
        )
    return min(images // workers * workers, config.batch_size)
