"""The module of detectors in two stages: torchvision's region proposals and heads on our layers."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.blocks.block import Conventions
from search_spaces.heads.classifier import FullyConnected
from search_spaces.heads.one_stage import STD, placed_images, wanted
from search_spaces.heads.predictor import Target
from search_spaces.heads.pyramid import Neck


class RegionScores(FullyConnected):
    """A region's map (R, C, pool, pool) -> (R, 5 * num_classes): scores, then four changes each.

    The first class is the background.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        stride: int,
        widths: tuple[int, ...],
        pool: int,
        conventions: Conventions,
    ) -> None:
        super().__init__(
            in_channels,
            0,
            stride=stride,
            widths=widths,
            pool=pool,
            activation="relu",
            dropout=0.0,
            conventions=conventions,
        )
        self.num_classes = num_classes
        self.side = pool
        self.scores = nn.Linear(self.num_features, num_classes)
        self.changes = nn.Linear(self.num_features, 4 * num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores and changes side by side."""
        features = self.pooled(x)
        return torch.cat([self.scores(features), self.changes(features)], dim=1)


class Split(nn.Module):
    """What `RegionScores` gives, as the two tensors that torchvision takes."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(R, num_classes) scores and (R, 4 * num_classes) changes."""
        return x[:, : self.num_classes], x[:, self.num_classes :]


class TwoStage(nn.Module):
    """Maps, finest first, and the image's (height, width) -> losses by name, or boxes."""

    def __init__(self, pyramid: Neck, regions: Any, boxes: Any, *, count: int) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.regions = regions
        self.boxes = boxes
        self.count = count

    @torch.no_grad()
    def begin(self) -> None:
        """torchvision's first weights: small ones of the first stage, by fan-in of the second."""
        for module in self.regions.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=STD)
        for module in self.boxes.modules():
            if isinstance(module, nn.Linear):
                bound = 1 / math.sqrt(module.in_features)
                nn.init.uniform_(module.weight, -bound, bound)

    def raw(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """The regions' scores and changes; `boxes` is of `count` regions an image, all empty.

        So it costs what it must, whatever an image holds.
        """
        levels = self.pyramid(maps)
        scores, changes = self.regions.head(levels)
        head, x = self.boxes.box_head, levels[0]
        count = self.count * len(x)
        empty = x.new_zeros(count, x.shape[1], head.side, head.side)
        return {
            "region_scores": torch.cat([level.flatten(1) for level in scores], dim=1),
            "region_sides": torch.cat([level.flatten(1) for level in changes], dim=1),
            "boxes": head(empty).reshape(len(x), -1),
        }

    def forward(
        self, maps: list[Tensor], size: tuple[int, int], targets: list[Target] | None = None
    ) -> dict[str, Tensor] | list[Target]:
        """In training the losses of `targets`, else each image's boxes, labels and scores."""
        levels = [x.float() for x in self.pyramid(maps)]
        given = None
        if self.training:  # torchvision counts its background as class 0
            given = [
                {"boxes": target["boxes"], "labels": target["labels"] + 1}
                for target in wanted(targets, len(maps[0]))
            ]
        # What follows is in float32, whatever autocast gave: in 16 bits places are lost.
        with torch.autocast(maps[0].device.type, enabled=False):
            return self._found(levels, size, given)

    def _found(
        self, levels: list[Tensor], size: tuple[int, int], given: list[Target] | None
    ) -> dict[str, Tensor] | list[Target]:
        named = {str(stride): x for stride, x in zip(self.pyramid.levels, levels, strict=True)}
        images = placed_images(levels, size)
        regions, losses = self.regions(images, named, given)
        found, more = self.boxes(named, regions, images.image_sizes, given)
        if given is not None:
            return {**losses, **more}
        return [{**boxes, "labels": boxes["labels"] - 1} for boxes in found]
