"""Where a training takes its batches from: images on the device, or streamed from files.

    split = place(data.train, device)                    # DeviceSplit or StreamedSplit
    chosen = torch.randperm(len(split), generator=...).split(batch_size)
    for images, labels in split.batches(chosen):         # uint8 (B, C, H, W), int64 (B,), on device
        ...

The caller draws the order, so that an epoch follows from (seed, epoch) alone: the same numbers give
the same batches, bit for bit, from either kind of split. Each of several workers takes its own part
of every batch's numbers. `measure_confusion` reads a part in its order.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from experiments.data.decoding import decode_file
from experiments.data.images import CARD_SHARE, FileSplit, Part, Split
from experiments.training.augmentation import Preparation
from experiments.training.hardware import autocast, card_is_full
from experiments.training.metrics import confusion
from experiments.training.windows import pixel_scores, resized
from search_spaces.records import InputError

Batch: TypeAlias = tuple[Tensor, Tensor]  # uint8 (B, C, H, W) and int64 (B,), on the device
_BATCH = 256  # images at a time; there is no gradient to keep
_PIXELS = 1 << 21  # of masks at a time: each pixel has a score for every class


class Placed(Protocol):
    """A part of a data set from which a training on one device takes its batches."""

    @property
    def labels(self) -> Tensor:
        """int64 (N,), or masks uint8 (N, H, W)."""

    @property
    def device(self) -> torch.device:
        """The device that the batches are on."""

    def __len__(self) -> int: ...

    def batches(self, chosen: Iterable[Tensor]) -> Iterator[Batch]:
        """For each tensor of image numbers (on any device) these images, in that order."""

    def part(self, rank: int, of: int) -> Self:
        """Every `of`-th image, from the `rank`-th on."""


def in_order(count: int, *, batch_size: int) -> Iterator[Tensor]:
    """The numbers of `count` images, batch by batch; the last one may be smaller."""
    return (
        torch.arange(start, min(start + batch_size, count)) for start in range(0, count, batch_size)
    )


@dataclass(frozen=True, eq=False)
class DeviceSplit:
    """A Split as two tensors: images uint8 (N, C, H, W), labels int64 (N,), on the training device.

    For images with masks, `labels` are the masks, uint8 (N, H, W).

    If the device has no room for the images, they stay in the machine's memory, with the masks, and
    each batch is copied over.
    """

    images: Tensor
    labels: Tensor
    device: torch.device

    @classmethod
    def of(cls, split: Split, device: torch.device) -> Self:
        """The split's images and labels on the device. Each trial of a card has its own copy."""
        images, labels = _shared(split.images), _shared(split.targets)
        beside = cls(images, labels.to(device) if split.masks is None else labels, device)
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if images.nbytes + labels.nbytes > CARD_SHARE * free:
                return beside
        try:
            return cls(images.to(device), beside.labels.to(device), device)
        except RuntimeError as error:
            if not card_is_full(error):
                raise
            return beside  # another trial took the card's memory first

    def batches(self, chosen: Iterable[Tensor]) -> Iterator[Batch]:
        """See experiments.training.batches."""
        images, labels, device = self.images, self.labels, self.device
        if images.device == device:
            for numbers in chosen:
                numbers = numbers.to(images.device)
                yield images[numbers], labels[numbers]
            return
        # All numbers are copied at once: each such copy waits until the card has done its work.
        batches = list(chosen)
        here = torch.split(torch.cat(batches).to(images.device), [len(batch) for batch in batches])
        for numbers, own in zip(batches, here, strict=True):
            some = images[own].pin_memory().to(device, non_blocking=True)
            if labels.device == device:
                yield some, labels[numbers.to(device)]
            else:
                yield some, labels[own].pin_memory().to(device, non_blocking=True)

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rank: int, of: int) -> Self:
        """Every `of`-th image, from the `rank`-th on."""
        return type(self)(self.images[rank::of], self.labels[rank::of], self.device)


def _shared(array: np.ndarray) -> Tensor:
    """The same memory as a tensor, so that the trials of a node on the CPU share one copy of it.

    It may be mapped read-only, and torch warns of that; but nothing here writes to a split.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(array))


AHEAD = 4  # batches that each worker decodes in advance


def place(part: Part, device: torch.device, *, workers: int | None = None) -> Placed:
    """Images in memory are copied to the device; files are streamed to it by `workers` processes.

    None: one for each of torch's threads, which are the trial's CPUs.
    """
    if isinstance(part, Split):
        return DeviceSplit.of(part, device)
    return StreamedSplit(part, device, torch.get_num_threads() if workers is None else workers)


@dataclass(frozen=True, eq=False)
class StreamedSplit:
    """Batches of a FileSplit, equal bit for bit to those of its decoded images on the device.

    The `workers` processes live from the first batch until this object ends. With 0 workers the
    training's own process decodes.
    """

    files: FileSplit
    device: torch.device
    workers: int

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def labels(self) -> Tensor:
        """(N,) classes, on the device."""
        return torch.from_numpy(self.files.labels).to(self.device)

    def part(self, rank: int, of: int) -> Self:
        """Every `of`-th image, from the `rank`-th on."""
        return type(self)(self.files.take(slice(rank, None, of)), self.device, self.workers)

    def batches(self, chosen: Iterable[Tensor]) -> Iterator[Batch]:
        """See experiments.training.batches. InputError for a file that no longer decodes."""
        numbers = [batch.tolist() for batch in chosen]
        self._loader.batch_sampler.numbers = numbers  # type: ignore[union-attr]
        try:
            for images, labels in self._loader:
                yield (
                    images.to(self.device, non_blocking=True),
                    labels.to(self.device, non_blocking=True),
                )
        except InputError as error:  # a worker's error has its traceback in it
            last = str(error).strip().splitlines()[-1]
            raise InputError(last.split("InputError: ")[-1]) from None

    @cached_property
    def _loader(self) -> DataLoader[tuple[Tensor, int]]:
        options: dict[str, Any] = {"persistent_workers": True, "prefetch_factor": AHEAD}
        return DataLoader(
            _Files(self.files),
            batch_sampler=_Numbers(),
            collate_fn=_collate,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            **(options if self.workers else {}),
        )


class _Numbers:
    """The batches of the current epoch: the workers stay the same, their numbers change."""

    def __init__(self) -> None:
        self.numbers: list[list[int]] = []

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


class _Files(Dataset[tuple[Tensor, int]]):
    def __init__(self, files: FileSplit) -> None:
        self._files = files

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        files = self._files
        image = decode_file(
            files.paths[number],
            image_size=files.image_size,
            fit=files.fit,
            max_pixels=files.max_pixels,
        )
        return torch.from_numpy(image.copy()), int(self._files.labels[number])


def _collate(images: list[tuple[Tensor, int]]) -> Batch:
    return (
        torch.stack([image for image, _ in images]),
        torch.tensor([label for _, label in images], dtype=torch.int64),
    )


T = TypeVar("T")

# (numbers of the images (B,), scores, labels): called for a look image by image
Each = Callable[[Tensor, Tensor, Tensor], None]


def most_at_once(split: Placed) -> int:
    """How many images go through a network at a time when no gradient is kept."""
    pixels = math.prod(split.labels.shape[1:])
    return _BATCH if pixels == 1 else min(_BATCH, max(1, _PIXELS // pixels))


def measure_confusion(
    network: nn.Module,
    split: Placed,
    *,
    prepare: Preparation,
    precision: torch.dtype | None = None,
    first: int = 1,
    each: Each | None = None,
) -> Tensor:
    """The confusion matrix (K, K) on `split` in eval mode; the network's mode is restored.

    `first` is that of `confusion`. `each` is called with every batch, perhaps twice for an image
    (see `in_eval_mode`).
    """

    def measure(batch_size: int) -> Tensor:
        return _confusion(network, split, prepare, precision, batch_size, first, each)

    return in_eval_mode(network, measure, batch_size=most_at_once(split))


def in_eval_mode(network: nn.Module, measure: Callable[[int], T], *, batch_size: int) -> T:
    """`measure(batch_size)` with the network in eval mode; its mode is restored.

    If memory runs out, for example because another trial on the card took it, it begins again with
    half the batch. Raises RuntimeError if one image is too much.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        while True:
            try:
                return measure(batch_size)
            except RuntimeError as error:
                if not card_is_full(error) or batch_size == 1:
                    raise
                batch_size //= 2
            torch.cuda.empty_cache()  # outside of `except`, which still holds the tensors
    finally:
        for module, mode in modes.items():
            module.training = mode


@torch.inference_mode()
def _confusion(
    network: nn.Module,
    split: Placed,
    prepare: Preparation,
    precision: torch.dtype | None,
    batch_size: int,
    first: int,
    each: Each | None,
) -> Tensor:
    device = split.device
    matrix = torch.zeros((), dtype=torch.int64, device=device)
    order = list(in_order(len(split), batch_size=batch_size))
    for numbers, (images, labels) in zip(order, split.batches(order), strict=True):
        with autocast(device, precision):
            scores = pixel_scores(network, images, prepare)  # (B, K) or (B, K, R, R)
        if scores.ndim == 4:
            scores = resized(scores, labels.shape[1:])
        matrix = matrix + confusion(scores, labels, first=first)
        if each is not None:
            each(numbers, scores, labels)
    return matrix
