"""EfficientNet-B0 and the released rows of B1 to B8, L2 and Lite0 to Lite4.

Tan and Le, arXiv:1905.11946, Table 1 (stage 6 reads 14 x 14: version 1 misprints 28 x 28), and
tensorflow/tpu, efficientnet_builder.py, for what the table leaves out.
"""

from typing import NamedTuple

from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.blocks import Convolution, MBConv
from search_spaces.blocks.block import ActivationName
from search_spaces.heads import Head
from search_spaces.resizing import resize

# operator: expand ratio, kernel; then stride, channels, layers
TABLE_1 = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class Released(NamedTuple):
    """A row of `efficientnet_params`: rounded by hand, no single phi gives it."""

    width: float
    depth: float
    resolution: int
    dropout: float


RELEASED = {
    "b0": Released(1.0, 1.0, 224, 0.2),
    "b1": Released(1.0, 1.1, 240, 0.2),
    "b2": Released(1.1, 1.2, 260, 0.3),
    "b3": Released(1.2, 1.4, 300, 0.3),
    "b4": Released(1.4, 1.8, 380, 0.4),
    "b5": Released(1.6, 2.2, 456, 0.4),
    "b6": Released(1.8, 2.6, 528, 0.5),
    "b7": Released(2.0, 3.1, 600, 0.5),
    "b8": Released(2.2, 3.6, 672, 0.5),
    "l2": Released(4.3, 5.3, 800, 0.5),
}
RELEASED_LITE = {
    "lite0": Released(1.0, 1.0, 224, 0.2),
    "lite1": Released(1.0, 1.1, 240, 0.2),
    "lite2": Released(1.1, 1.2, 260, 0.3),
    "lite3": Released(1.2, 1.4, 280, 0.3),
    "lite4": Released(1.4, 1.8, 300, 0.3),
}


def efficientnet(name: str, *, member: str) -> Architecture:
    """`b0` ... `b8`, `l2`, or `lite0` ... `lite4`, which have ReLU6 and no SE."""
    lite = member in RELEASED_LITE
    row = RELEASED_LITE[member] if lite else RELEASED[member]
    return resize(
        _baseline(lite=lite, dropout=row.dropout),
        depth=row.depth,
        width=row.width,
        resolution=row.resolution,
        fix_stem_and_head=lite,
        name=name,
    )


def _baseline(*, lite: bool, dropout: float) -> Architecture:
    activation: ActivationName = "relu6" if lite else "silu"
    se_ratio = 0.0 if lite else 0.25
    stages = tuple(
        Stage(
            channels=channels,
            layers=layers,
            stride=stride,
            block=MBConv(
                expand_ratio=expand_ratio,
                kernel_size=kernel_size,
                se_ratio=se_ratio,
                activation=activation,
            ),
        )
        for expand_ratio, kernel_size, stride, channels, layers in TABLE_1
    )
    return Architecture(
        resolution=224,
        stem=Stem(channels=32, stride=2, block=Convolution(kernel_size=3, activation=activation)),
        stages=stages,
        head=Head(channels=1280, activation=activation, dropout=dropout),
        drop_connect=0.2,
    )
