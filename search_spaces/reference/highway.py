"""Highway networks of 19 and 32 layers on CIFAR, 32 px and 10 classes.

From the papers (Srivastava et al., arXiv:1507.06228, section 4; the sizes as arXiv:1512.03385,
table 6, quotes them): the layer, equal receptive fields of H and T, plain layers where the width
changes, 19 layers with about 2.3M parameters and 32 layers with about 1.25M, gate biases of -2 and
-3 at such depths. Chosen here, for the papers print no widths of single layers: three stages, max
pools between them, and the widths, so that the sizes come out.
"""

from typing import NamedTuple

from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.blocks import Convolution, Highway, Pool
from search_spaces.heads import Head
from search_spaces.reference.resnet import CONVENTIONS


class Chosen(NamedTuple):
    """Widths and layers of the three stages."""

    gate_bias: float
    channels: tuple[int, int, int]
    layers: tuple[int, int, int]


# depth = stem + layers + classifier
HIGHWAY = {
    19: Chosen(-2.0, (48, 88, 120), (5, 6, 6)),
    32: Chosen(-3.0, (32, 48, 64), (10, 10, 10)),
}


def highway(name: str, *, depth: int) -> Architecture:
    """A highway network of 19 or 32 weighted layers."""
    row = HIGHWAY[depth]
    block = Highway(kernel_size=3, gate_bias=row.gate_bias)
    stages: list[Stage] = []
    for channels, layers in zip(row.channels, row.layers, strict=True):
        if stages:
            pool = Pool(kernel_size=3)
            stages.append(Stage(channels=stages[-1].channels, layers=1, stride=2, block=pool))
        stages.append(Stage(channels=channels, layers=layers, stride=1, block=block))
    first = Convolution(kernel_size=3, activation="relu", norm="none", bias=True)
    return Architecture(
        name=name,
        resolution=32,
        stem=Stem(channels=row.channels[0], stride=1, block=first),
        stages=tuple(stages),
        head=Head(),
        conventions=CONVENTIONS,
    )
