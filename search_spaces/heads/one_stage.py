"""The module of detectors in one stage: torchvision's FCOS or RetinaNet behind our body."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.heads.predictor import Target

PRIOR = 0.01  # the first score of every class (arXiv:1708.02002, section 4.1)
STD = 0.01  # of first weights (the same section)


def placed_images(maps: list[Tensor], size: tuple[int, int]) -> Any:
    """What torchvision needs to know about the images: their number and (height, width)."""
    from torchvision.models.detection.image_list import ImageList

    count = len(maps[0])
    return ImageList(maps[0].new_empty(count, 0, *size), [size] * count)


def wanted(targets: list[Target] | None, count: int) -> list[Target]:
    """The targets of a training step; ValueError unless each image has one."""
    if targets is None or len(targets) != count:
        got = "none" if targets is None else len(targets)
        raise ValueError(
            f"in training a detector needs a target for each of the {count} images, a dict of "
            f"boxes and labels, but got {got}"
        )
    return targets


class OneStage(nn.Module):
    """Maps, finest first, and the image's (height, width) -> losses by name, or boxes.

    `detector` is torchvision's FCOS or RetinaNet, whose backbone is our pyramid. `towers` (classes,
    boxes) run before its head if they have norms for each level, which torchvision's have not.
    """

    def __init__(self, detector: Any, towers: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        self.detector = detector
        self.towers = nn.ModuleList(towers)

    @torch.no_grad()
    def begin(self) -> None:
        """The papers' first weights: small ones; the biases give each class the score `PRIOR`."""
        for module in self.detector.head.modules():
            if isinstance(module, nn.Conv2d) and module.groups == 1 != module.kernel_size[0]:
                nn.init.normal_(module.weight, std=STD)  # separable ones begin like the body
        scores = self.detector.head.classification_head.cls_logits
        *_, bias = (weight for name, weight in scores.named_parameters() if name.endswith("bias"))
        nn.init.constant_(bias, -math.log((1 - PRIOR) / PRIOR))

    def raw(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """torchvision's outputs of the head, (N, places, classes) and so on, not yet boxes."""
        return self._outputs(self.detector.backbone(maps))

    def planes(self, maps: list[Tensor]) -> list[Tensor]:
        """The same as maps, one for each level, as they are in memory before boxes are made.

        The steps have the order of torchvision's code, in a form that torch.fx can trace.
        """
        levels = self.detector.backbone(maps)
        of_classes, of_boxes = (
            self.detector.head.classification_head,
            self.detector.head.regression_head,
        )
        classes, boxes = (
            (tower(levels) for tower in self.towers) if len(self.towers) else (levels,) * 2
        )
        found = [of_classes.cls_logits(of_classes.conv(x)) for x in classes]
        for x in boxes:
            x = of_boxes.conv(x)
            found.append(of_boxes.bbox_reg(x))
            if hasattr(of_boxes, "bbox_ctrness"):
                found.append(of_boxes.bbox_ctrness(x))
        return found

    def _outputs(self, levels: list[Tensor]) -> dict[str, Tensor]:
        head = self.detector.head
        if not len(self.towers):
            return dict(head(levels))
        classes, boxes = (tower(levels) for tower in self.towers)
        return {
            "cls_logits": head.classification_head(classes),
            "bbox_regression": head.regression_head(boxes),
        }

    def forward(
        self, maps: list[Tensor], size: tuple[int, int], targets: list[Target] | None = None
    ) -> dict[str, Tensor] | list[Target]:
        """In training the losses of `targets`, else each image's boxes, labels and scores."""
        detector = self.detector
        levels = detector.backbone(maps)
        outputs = {name: x.float() for name, x in self._outputs(levels).items()}
        # The rest is in float32, whatever autocast gave: 16 bits are too few for positions.
        with torch.autocast(maps[0].device.type, enabled=False):
            return self._found(levels, outputs, size, targets)

    def _found(
        self,
        levels: list[Tensor],
        outputs: dict[str, Tensor],
        size: tuple[int, int],
        targets: list[Target] | None,
    ) -> dict[str, Tensor] | list[Target]:
        detector, levels = self.detector, [x.float() for x in levels]
        images = placed_images(levels, size)
        anchors = detector.anchor_generator(images, levels)
        each = detector.anchor_generator.num_anchors_per_location()
        counts = [n * x.shape[-2] * x.shape[-1] for n, x in zip(each, levels, strict=True)]
        if self.training:
            return self._losses(wanted(targets, len(anchors)), outputs, anchors, counts)
        split = {name: list(torch.split(x, counts, dim=1)) for name, x in outputs.items()}
        places = [list(of_image.split(counts)) for of_image in anchors]
        found: list[Target] = detector.postprocess_detections(split, places, images.image_sizes)
        return found

    def _losses(
        self,
        targets: list[Target],
        outputs: dict[str, Tensor],
        anchors: list[Tensor],
        counts: list[int],
    ) -> dict[str, Tensor]:
        by_level = [counts] if "bbox_ctrness" in outputs else []  # FCOS needs the levels too
        losses: dict[str, Tensor] = self.detector.compute_loss(targets, outputs, anchors, *by_level)
        return losses
