"""DenseNet, for ImageNet at 224 px and for CIFAR at 32 px and 10 classes.

Huang et al., arXiv:1608.06993, table 1 and table 2. On CIFAR plain DenseNets start with 16
channels and those with bottleneck and compression (BC) with two growths, as the paper's text has
it and its sizes confirm; the authors' present code has two growths for all.
"""

from typing import NamedTuple

from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.blocks import Convolution, Dense, Pool
from search_spaces.heads import Head
from search_spaces.reference.resnet import CONVENTIONS


class DenseRow(NamedTuple):
    """A column of table 1, or a row of table 2: growth k and the layers of each dense stage."""

    growth: int
    layers: tuple[int, ...]
    bc: bool = True


IMAGENET = {
    "densenet121": DenseRow(32, (6, 12, 24, 16)),
    "densenet161": DenseRow(48, (6, 12, 36, 24)),
    "densenet169": DenseRow(32, (6, 12, 32, 32)),
    "densenet201": DenseRow(32, (6, 12, 48, 32)),
    "densenet264": DenseRow(32, (6, 12, 64, 48)),
}
CIFAR = {
    "cifar_densenet40_k12": DenseRow(12, (12, 12, 12), bc=False),
    "cifar_densenet100_k12": DenseRow(12, (32, 32, 32), bc=False),
    "cifar_densenet100_k24": DenseRow(24, (32, 32, 32), bc=False),
    "cifar_densenet_bc100_k12": DenseRow(12, (16, 16, 16)),
    "cifar_densenet_bc250_k24": DenseRow(24, (41, 41, 41)),
    "cifar_densenet_bc190_k40": DenseRow(40, (31, 31, 31)),
}


def densenet(name: str) -> Architecture:
    """A DenseNet by its name; a transition halves the channels (theta = 0.5) except on plain."""
    row = IMAGENET.get(name) or CIFAR[name]
    imagenet = name in IMAGENET
    start = 2 * row.growth if row.bc else 16
    pool = Stage(channels=start, layers=1, stride=2, block=Pool(kernel_size=3))
    stem = Convolution(kernel_size=7, activation="relu")
    if not imagenet:
        stem = Convolution(kernel_size=3, activation="none", norm="none")
    return Architecture(
        name=name,
        resolution=224 if imagenet else 32,
        stem=Stem(channels=start, stride=2 if imagenet else 1, block=stem),
        stages=(*([pool] if imagenet else []), *_stages(row, start)),
        head=Head(activation="relu", normalise="first"),
        conventions=CONVENTIONS,
    )


def _stages(row: DenseRow, channels: int) -> list[Stage]:
    block = Dense(growth=row.growth, bottleneck=4 if row.bc else 0)
    stages = []
    for i, layers in enumerate(row.layers):
        stages.append(
            Stage(channels=channels, layers=layers, stride=1 if i == 0 else 2, block=block)
        )
        channels += layers * row.growth
        channels = channels // 2 if row.bc else channels
    return stages
