"""The module of detectors in two stages: torchvision's region proposals and heads on our layers."""

import math
from typing import Any

import torch
from torch import Tensor, fx, nn

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
        self.in_channels = in_channels
        self.side = pool
        self.scores = nn.Linear(self.num_features, num_classes)
        self.changes = nn.Linear(self.num_features, 4 * num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores and changes side by side. A map of another side is average-pooled."""
        return self.of_regions(self.pool(x))

    def of_regions(self, x: Tensor) -> Tensor:
        """The same for maps that already have this side."""
        features = self.hidden(x.flatten(1))
        return torch.cat([self.scores(features), self.changes(features)], dim=1)


class ScoresAndChanges(nn.Module):
    """What `RegionScores` gives, as the two tensors that torchvision takes."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(R, num_classes) scores and (R, 4 * num_classes) changes."""
        return x[:, : self.num_classes], x[:, self.num_classes :]


class TwoStage(nn.Module):
    """Maps, finest first, and the image's (height, width) -> losses by name, or boxes.

    Without `regions`, torchvision's first stage, the caller gives each image's regions.
    """

    def __init__(self, pyramid: Neck, regions: Any, boxes: Any, *, count: int) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.regions = regions
        self.boxes = boxes
        self.count = count

    @torch.no_grad()
    def begin(self) -> None:
        """torchvision's first weights: small in the first stage, by fan-in in the second."""
        for module in self.regions.modules() if self.regions is not None else ():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=STD)
        for module in self.boxes.modules():
            if isinstance(module, nn.Linear):
                bound = 1 / math.sqrt(module.in_features)
                nn.init.uniform_(module.weight, -bound, bound)

    def raw(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """The regions' scores and changes; `boxes` is for `count` empty regions an image.

        So the cost does not depend on what is in an image.
        """
        levels = self.pyramid(maps)
        found = {}
        if self.regions is not None:
            scores, changes = self.regions.head(levels)
            found["region_scores"] = torch.cat([level.flatten(1) for level in scores], dim=1)
            found["region_sides"] = torch.cat([level.flatten(1) for level in changes], dim=1)
        return {**found, "boxes": self._looked_at(levels).reshape(len(maps[0]), -1)}

    def planes(self, maps: list[Tensor]) -> list[Tensor]:
        """The same as maps, the regions' scores last, as they are in memory before boxes are made.

        The steps have the order of torchvision's code, in a form that torch.fx can trace.
        """
        levels = self.pyramid(maps)
        found = []
        if self.regions is not None:
            first = self.regions.head
            for x in levels:
                x = first.conv(x)
                found += [first.cls_logits(x), first.bbox_pred(x)]
        return [*found, self._looked_at(levels)]

    def _looked_at(self, levels: list[Tensor]) -> Tensor:
        head: Any = self.boxes.box_head
        read = levels[: len(self.pyramid.lateral)]
        scores: Tensor = head.of_regions(cut(read, self.count, head.side))
        return scores

    def forward(
        self,
        maps: list[Tensor],
        size: tuple[int, int],
        targets: list[Target] | None = None,
        regions: list[Tensor] | None = None,
    ) -> dict[str, Tensor] | list[Target]:
        """In training the losses of `targets`, else each image's boxes, labels and scores."""
        if self.regions is None:
            regions = self._checked(regions, len(maps[0]))
        levels = [x.float() for x in self.pyramid(maps)]
        given = None
        if self.training:  # torchvision counts its background as class 0
            given = [
                {"boxes": target["boxes"], "labels": target["labels"] + 1}
                for target in wanted(targets, len(maps[0]))
            ]
        # The rest is in float32, whatever autocast gave: 16 bits are too few for positions.
        with torch.autocast(maps[0].device.type, enabled=False):
            return self._found(levels, size, given, regions)

    def _checked(self, regions: list[Tensor] | None, count: int) -> list[Tensor]:
        """The given regions; ValueError if an image has none, or too many."""
        if regions is None or len(regions) != count:
            got = "none" if regions is None else len(regions)
            raise ValueError(
                f"a predictor of kind given needs regions for each of the {count} images, (R, 4) "
                f"as x1, y1, x2, y2 in pixels, but got {got}"
            )
        if (most := max(len(of_image) for of_image in regions)) > self.count:
            raise ValueError(
                f"an image has at most {self.count:,} regions, but got {most:,}: raise the "
                f"predictor's count, which its FLOPs are counted for"
            )
        return [of_image.float() for of_image in regions]

    def _found(
        self,
        levels: list[Tensor],
        size: tuple[int, int],
        given: list[Target] | None,
        regions: list[Tensor] | None,
    ) -> dict[str, Tensor] | list[Target]:
        named = {str(stride): x for stride, x in zip(self.pyramid.levels, levels, strict=True)}
        images = placed_images(levels, size)
        losses: dict[str, Tensor] = {}
        if regions is None:
            regions, losses = self.regions(images, named, given)
        found, more = self.boxes(named, regions, images.image_sizes, given)
        if given is not None:
            return {**losses, **more}
        return [{**boxes, "labels": boxes["labels"] - 1} for boxes in found]


def cut(levels: list[Tensor], count: int, side: int) -> Tensor:
    """The maps of `count` regions an image, all 0: (N * count, C, side, side) of levels (N, C)."""
    x = levels[0]
    return x.new_zeros(count * len(x), x.shape[1], side, side)


fx.wrap("cut")  # torch.fx cannot trace what looks at sizes; it records the call as one step
