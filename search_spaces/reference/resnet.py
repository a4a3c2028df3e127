"""ResNet, plain networks, ResNet in other activation orders, and ResNeXt.

He et al., arXiv:1512.03385, tables 1 and 6, and arXiv:1603.05027, table 2; Xie et al.,
arXiv:1611.05431. ImageNet at 224 px, CIFAR at 32 px and 10 classes.

The stride of a bottleneck stands on its 3 x 3 convolution (fb.resnet.torch, torchvision); the
names ending in `_v1` have it on the first 1 x 1, as the paper and its Caffe models do, for fewer
FLOPs. `_a` and `_c` are shortcuts A and C instead of B.
"""

from typing import Literal, NamedTuple

from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.blocks import Basic, Bottleneck, Conventions, Convolution, Pool
from search_spaces.blocks.residual import Order
from search_spaces.heads import Head

CONVENTIONS = Conventions(batch_norm_eps=1e-5, batch_norm_momentum=0.1, initialisation="he")
Shortcut = Literal["A", "B", "C", "none"]

# 1512.03385, table 1: layers of the stages of 64, 128, 256, 512 base channels
BASIC = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BOTTLENECK = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}


class Cardinality(NamedTuple):
    """1611.05431, table 3: layers, groups C and width per group d."""

    depth: int
    groups: int
    width: int


RESNEXT = {
    f"resnext{depth}_{groups}x{width}d": Cardinality(depth, groups, width)
    for depth, groups, width in (
        *((50, 2, 40), (50, 4, 24), (50, 8, 14), (50, 32, 4)),
        *((101, 2, 40), (101, 4, 24), (101, 8, 14), (101, 32, 4)),
        *((101, 1, 100), (101, 2, 64), (101, 64, 4), (101, 32, 8)),
    )
}
CIFAR_RESNEXT = {"cifar_resnext29_8x64d": (8, 64), "cifar_resnext29_16x64d": (16, 64)}
CIFAR_DEPTHS = (20, 32, 44, 56, 110, 1202)
ORDERS: tuple[Order, ...] = (
    "bn_after_addition",
    "relu_before_addition",
    "relu_only_pre_activation",
    "full_pre_activation",
)


def resnet(name: str, *, depth: int, shortcut: Shortcut = "B") -> Architecture:
    """18 or 34 layers of basic blocks; shortcut `none` is the plain network."""
    return _imagenet(name, Basic(shortcut=shortcut), BASIC[depth], expansion=1)


def bottleneck_resnet(
    name: str, *, depth: int, stride_on: Literal["3x3", "1x1"] = "3x3"
) -> Architecture:
    """50, 101, 152 or 200 layers of bottlenecks."""
    return _imagenet(name, Bottleneck(stride_on=stride_on), BOTTLENECK[depth], expansion=4)


def dilated_bottleneck_resnet(name: str, *, depth: int) -> Architecture:
    """A ResNet without its last two strides, whose place dilation takes: output stride 8.

    The first layer of each such stage still has the dilation of the stage before, as torchvision's
    `replace_stride_with_dilation=[False, True, True]`.
    """
    plain = bottleneck_resnet(name, depth=depth)
    *rest, third, fourth = plain.stages
    rows = [
        stage.replace(layers=layers, stride=1, block=stage.block.replace(dilation=dilation))
        for stage, first, after in ((third, 1, 2), (fourth, 2, 4))
        for layers, dilation in ((1, first), (stage.layers - 1, after))
    ]
    return plain.replace(stages=(*rest, *rows))


def resnext(name: str) -> Architecture:
    """ResNeXt by its name, as `resnext50_32x4d`."""
    depth, groups, width = RESNEXT[name]
    block = Bottleneck(groups=groups, width_per_group=width)
    return _imagenet(name, block, BOTTLENECK[depth], expansion=4)


def _imagenet(
    name: str, block: Basic | Bottleneck, layers: tuple[int, ...], *, expansion: int
) -> Architecture:
    channels = [base * expansion for base in (64, 128, 256, 512)]
    stages = [
        Stage(channels=width, layers=count, stride=1 if i == 0 else 2, block=block)
        for i, (width, count) in enumerate(zip(channels, layers, strict=True))
    ]
    pool = Stage(channels=64, layers=1, stride=2, block=Pool(kernel_size=3))
    return Architecture(
        name=name,
        resolution=224,
        stem=Stem(channels=64, stride=2, block=Convolution(kernel_size=7, activation="relu")),
        stages=(pool, *stages),
        head=Head(),
        conventions=CONVENTIONS,
    )


def cifar_resnet(
    name: str, *, depth: int, shortcut: Shortcut = "A", order: Order = "original"
) -> Architecture:
    """6n + 2 layers of basic blocks in three stages of 16, 32 and 64 channels.

    In full pre-activation the stem is a bare convolution and the head starts with batch norm.
    """
    block = Basic(shortcut=shortcut, order=order)
    return _cifar(name, block, layers=(depth - 2) // 6, stem=16, channels=(16, 32, 64))


def resnet8(name: str) -> Architecture:
    """ResNet-8 of MLPerf Tiny (arXiv:2106.07597): a basic block a stage of 16, 32, 64 channels.

    Each convolution has batch norm and no bias, the shortcuts' too: 78,042 parameters. In the
    reference code convolutions have a bias, and the shortcuts no batch norm: 78,186.
    """
    return _cifar(name, Basic(shortcut="B"), layers=1, stem=16, channels=(16, 32, 64))


def cifar_bottleneck_resnet(
    name: str, *, depth: int, order: Order, shortcut: Shortcut
) -> Architecture:
    """9n + 2 layers of bottlenecks of 64, 128 and 256 channels (resnet-1k-layers).

    There the stride is on the first 1 x 1. The paper gives ResNet-1001 10.2M parameters; its
    architecture as released has 10,327,706.
    """
    block = Bottleneck(shortcut=shortcut, order=order, stride_on="1x1")
    return _cifar(name, block, layers=(depth - 2) // 9, stem=16, channels=(64, 128, 256))


def cifar_resnext(name: str) -> Architecture:
    """ResNeXt-29 in the order of the released code: original, where the paper's figures have
    pre-activation."""
    groups, width = CIFAR_RESNEXT[name]
    block = Bottleneck(groups=groups, width_per_group=width)
    return _cifar(name, block, layers=3, stem=64, channels=(256, 512, 1024))


def _cifar(
    name: str,
    block: Basic | Bottleneck,
    *,
    layers: int,
    stem: int,
    channels: tuple[int, int, int],
) -> Architecture:
    full = block.order == "full_pre_activation"
    first = Convolution(kernel_size=3, activation="relu")
    if full:
        first = Convolution(kernel_size=3, activation="none", norm="none")
    return Architecture(
        name=name,
        resolution=32,
        stem=Stem(channels=stem, stride=1, block=first),
        stages=tuple(
            Stage(channels=width, layers=layers, stride=1 if i == 0 else 2, block=block)
            for i, width in enumerate(channels)
        ),
        head=Head(activation="relu", normalise="first" if full else "none"),
        conventions=CONVENTIONS,
    )
