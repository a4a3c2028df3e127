"""MobileNetV1, MobileNetV2 and MnasNet A1, B1 and small, at 224 px."""

from typing import NamedTuple

from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.blocks import Conventions, Convolution, DepthwiseSeparable, MBConv
from search_spaces.blocks.block import ActivationName
from search_spaces.heads import Head

TORCH = Conventions(batch_norm_eps=1e-5, batch_norm_momentum=0.1)


class ResidualRow(NamedTuple):
    """A row of a table of inverted residuals."""

    expand: int
    kernel: int
    stride: int
    channels: int
    layers: int
    se: float = 0.0
    skip: bool = True


# Howard et al., arXiv:1704.04861, table 1: channels, layers, stride
MOBILENET_V1 = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))

# Sandler et al., arXiv:1801.04381, table 2
MOBILENET_V2 = (
    ResidualRow(1, 3, 1, 16, 1),
    ResidualRow(6, 3, 2, 24, 2),
    ResidualRow(6, 3, 2, 32, 3),
    ResidualRow(6, 3, 2, 64, 4),
    ResidualRow(6, 3, 1, 96, 3),
    ResidualRow(6, 3, 2, 160, 3),
    ResidualRow(6, 3, 1, 320, 1),
)

# Tan et al., arXiv:1807.11626, figure 7, and tensorflow/tpu, mnasnet_models.py
MNASNET: dict[str, tuple[int, tuple[ResidualRow, ...]]] = {  # stem channels, rows
    "mnasnet_a1": (
        32,
        (
            ResidualRow(1, 3, 1, 16, 1, skip=False),
            ResidualRow(6, 3, 2, 24, 2),
            ResidualRow(3, 5, 2, 40, 3, se=0.25),
            ResidualRow(6, 3, 2, 80, 4),
            ResidualRow(6, 3, 1, 112, 2, se=0.25),
            ResidualRow(6, 5, 2, 160, 3, se=0.25),
            ResidualRow(6, 3, 1, 320, 1),
        ),
    ),
    "mnasnet_b1": (
        32,
        (
            ResidualRow(1, 3, 1, 16, 1, skip=False),
            ResidualRow(3, 3, 2, 24, 3),
            ResidualRow(3, 5, 2, 40, 3),
            ResidualRow(6, 5, 2, 80, 3),
            ResidualRow(6, 3, 1, 96, 2),
            ResidualRow(6, 5, 2, 192, 4),
            ResidualRow(6, 3, 1, 320, 1, skip=False),
        ),
    ),
    "mnasnet_small": (
        8,
        (
            ResidualRow(1, 3, 1, 8, 1),
            ResidualRow(3, 3, 2, 16, 1),
            ResidualRow(6, 3, 2, 16, 2),
            ResidualRow(6, 5, 2, 32, 4, se=0.25),
            ResidualRow(6, 3, 1, 32, 3, se=0.25),
            ResidualRow(6, 5, 2, 88, 3, se=0.25),
            ResidualRow(6, 3, 1, 144, 1),
        ),
    ),
}


def mobilenet_v1(name: str, *, width: float = 1.0, resolution: int = 224) -> Architecture:
    """MobileNetV1, with ReLU6 as released (the paper's figure 3 says ReLU).

    The classifier stands on the last stage's channels, 1024 at width 1. At width 0.25 and 96 px it
    is the body that MLPerf Tiny (arXiv:2106.07597) uses to find out whether there is a person.
    """
    separable = DepthwiseSeparable(activation="relu6")
    return Architecture(
        name=name,
        resolution=resolution,
        stem=Stem(
            channels=round(32 * width),
            stride=2,
            block=Convolution(kernel_size=3, activation="relu6"),
        ),
        stages=tuple(
            Stage(channels=round(channels * width), layers=layers, stride=stride, block=separable)
            for channels, layers, stride in MOBILENET_V1
        ),
        head=Head(dropout=0.2),
        conventions=TORCH,
    )


def mobilenet_v2(name: str) -> Architecture:
    """MobileNetV2 at width 1, ReLU6."""
    return _inverted(name, 32, MOBILENET_V2, "relu6").replace(conventions=TORCH)


def mnasnet(name: str) -> Architecture:
    """MnasNet A1 (timm's semnasnet_100), B1 (mnasnet_100) or small; ReLU inside the SE too."""
    stem, rows = MNASNET[name]
    return _inverted(name, stem, rows, "relu")


def _inverted(
    name: str, stem: int, rows: tuple[ResidualRow, ...], activation: ActivationName
) -> Architecture:
    stages = tuple(
        Stage(
            channels=row.channels,
            layers=row.layers,
            stride=row.stride,
            block=MBConv(
                expand_ratio=row.expand,
                kernel_size=row.kernel,
                se_ratio=row.se,
                skip="identity" if row.skip else "none",
                activation=activation,
            ),
        )
        for row in rows
    )
    return Architecture(
        name=name,
        resolution=224,
        stem=Stem(channels=stem, stride=2, block=Convolution(kernel_size=3, activation=activation)),
        stages=stages,
        head=Head(channels=1280, activation=activation, dropout=0.2),
    )
