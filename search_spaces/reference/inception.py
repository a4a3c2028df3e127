"""GoogLeNet, BN-Inception, Inception v3 and v4, Inception-ResNet-v2.

Names ending in `_aux` have the auxiliary classifiers, which train and are gone afterwards: more
parameters, the same FLOPs.
"""

from collections.abc import Iterable
from typing import Any, Literal

from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.blocks import (
    AnyBlock,
    Conventions,
    Convolution,
    Inception,
    InceptionResidual,
    InceptionStem,
    Normalisation,
    Pool,
)
from search_spaces.blocks.convolution import NormName
from search_spaces.heads import Auxiliary, Head

TENSORFLOW = Conventions(batch_norm_eps=1e-3, batch_norm_momentum=0.1, initialisation="he")

# Szegedy et al., arXiv:1409.4842, table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj
GOOGLENET = (
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    None,
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    None,
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)

# Ioffe and Szegedy, arXiv:1502.03167, figure 5: #1x1, #3x3 reduce, #3x3, double reduce, double
# 3x3 twice, pool proj; five numbers are a reduction (no #1x1, the pool passes through)
BN_INCEPTION = (
    (64, 64, 64, 64, 96, 96, 32),
    (64, 64, 96, 64, 96, 96, 64),
    (128, 160, 64, 96, 96),
    (224, 64, 96, 96, 128, 128, 128),
    (192, 96, 128, 96, 128, 128, 128),
    (160, 128, 160, 128, 160, 160, 128),
    (96, 128, 192, 160, 192, 192, 128),
    (128, 192, 192, 256, 256),
    (352, 192, 320, 160, 224, 224, 128),
    (352, 192, 320, 192, 224, 224, 128),
)


class _Table:
    """Rows one under the other; each knows what the one before gives."""

    def __init__(self, stem: Convolution, channels: int) -> None:
        self.stem = Stem(channels=channels, stride=2, block=stem)
        self.channels = channels
        self.stages: list[Stage] = []

    def row(
        self, block: AnyBlock, channels: int | None = None, *, layers: int = 1, stride: int = 1
    ) -> None:
        """Append a stage; without `channels` it has the width that its block gives."""
        if channels is None:
            channels = block.fitting_channels(0, in_channels=self.channels, layers=layers)
        self.stages.append(Stage(channels=channels, layers=layers, stride=stride, block=block))
        self.channels = channels

    def rows(self, blocks: Iterable[AnyBlock]) -> None:
        """Append a stage for each block."""
        for block in blocks:
            self.row(block)

    def network(
        self,
        name: str,
        resolution: int,
        *,
        dropout: float = 0.0,
        auxiliary: tuple[Auxiliary, ...] = (),
        conventions: Conventions = TENSORFLOW,
    ) -> Architecture:
        """The network of the table, with a linear head."""
        return Architecture(
            name=name,
            resolution=resolution,
            stem=self.stem,
            stages=tuple(self.stages),
            head=Head(dropout=dropout),
            auxiliary=auxiliary,
            conventions=conventions,
        )


def googlenet(
    name: str, *, variant: Literal["5x5", "3x3"] = "5x5", auxiliary: bool = False
) -> Architecture:
    """GoogLeNet at 224 px: the paper's, or with 3 x 3 where it has 5 x 5.

    `5x5`: biases, local response normalisation (Caffe's replica), dropout 0.4; its first
    convolution is a full one of 9,408 weights, for the table's 2.7K belong to a separable one, and
    the table's parameters of 4c and 5a fit no reading. `3x3`: torchvision's and TF-slim's, with
    batch norm, dropout 0.2 and a 2 x 2 last pool.
    """
    paper = variant == "5x5"
    norm: NormName = "none" if paper else "batch_norm"
    table = _Table(_conv(7, norm=norm), 64)
    lrn = [Normalisation()] if paper else []
    table.row(Pool(kernel_size=3, padding="ceil"), stride=2)
    table.rows(lrn)
    table.row(_conv(1, norm=norm), 64)
    table.row(_conv(3, norm=norm), 192)
    table.rows(lrn)
    table.row(Pool(kernel_size=3, padding="ceil"), stride=2)
    pools = iter((3, 3 if paper else 2))
    for widths in GOOGLENET:
        if widths is None:
            table.row(Pool(kernel_size=next(pools), padding="ceil"), stride=2)
        else:
            kernel: Literal[3, 5] = 5 if paper else 3
            table.row(Inception(form="v1", widths=widths, kernel_size=kernel, norm=norm))
    classifiers = tuple(
        Auxiliary(after=_module(table, nth), norm=norm, dropout=0.7, weight=0.3) for nth in (2, 5)
    )
    return table.network(
        name, 224, dropout=0.4 if paper else 0.2, auxiliary=classifiers if auxiliary else ()
    )


def bn_inception(name: str, *, variant: Literal["608", "576"] = "608") -> Architecture:
    """BN-Inception at 224 px. The paper's table gives 4c and 4d 576 channels, its filters 608.

    `608` keeps the filters (Caffe's and Cadene's replicas; the last stage but one gives 1056);
    `576` narrows the pool projection of 4c and 4d to 96 (TF-slim) for the table's widths.
    """
    table = _Table(_conv(7), 64)
    table.row(Pool(kernel_size=3, padding="ceil"), stride=2)
    table.row(_conv(1), 64)
    table.row(_conv(3), 192)
    table.row(Pool(kernel_size=3, padding="ceil"), stride=2)
    for i, widths in enumerate(BN_INCEPTION):
        if len(widths) == 5:
            table.row(Inception(form="bn_reduction", widths=widths), stride=2)
            continue
        if variant == "576" and i in (5, 6):
            widths = (*widths[:-1], 96)
        last = i + 1 == len(BN_INCEPTION)
        table.row(Inception(form="bn", widths=widths, pool="max" if last else "average"))
    return table.network(name, 224)


def inception_v3(name: str, *, auxiliary: bool = False) -> Architecture:
    """Inception v3 at 299 px as released (arXiv:1512.00567; its table 1 prints another stem).

    The modules at 35 px keep one 5 x 5 branch, four modules stand at 17 px, and averages count
    the padding (torchvision, timm).
    """
    table = _Table(_conv(3, padding="valid"), 32)
    _v3_stem(table)
    for projection in (32, 64, 64):
        table.row(_average("v3_a", 64, 48, 64, 64, 96, 96, projection))
    table.row(_reduction("v3_reduction_a", 384, 64, 96, 96), stride=2)
    for c in (128, 160, 160, 192):
        table.row(_average("v3_b", 192, c, c, 192, c, c, c, c, 192, 192))
    last_at_17 = len(table.stages) - 1
    table.row(_reduction("v3_reduction_b", 192, 320, 192, 192, 192, 192), stride=2)
    table.row(_average("v3_c", 320, 384, 384, 448, 384, 384, 192), layers=2)
    classifier = Auxiliary(after=last_at_17, form="v3", features=768, weight=0.4)
    return table.network(
        name,
        299,
        dropout=0.5,
        auxiliary=(classifier,) if auxiliary else (),
        conventions=TENSORFLOW.replace(average_pool="with_padding"),
    )


def _v3_stem(table: _Table) -> None:
    """From 149 px to 35 px and 192 channels, behind the first convolution."""
    table.row(_conv(3, padding="valid"), 32)
    table.row(_conv(3), 64)
    table.row(Pool(kernel_size=3, padding="valid"), stride=2)
    table.row(_conv(1), 80)
    table.row(_conv(3, padding="valid"), 192)
    table.row(Pool(kernel_size=3, padding="valid"), stride=2)


def inception_v4(name: str) -> Architecture:
    """Inception v4 at 299 px (arXiv:1602.07261, figures 3 to 9)."""
    table = _Table(_conv(3, padding="valid"), 32)
    table.row(_conv(3, padding="valid"), 32)
    table.row(_conv(3), 64)
    table.row(_reduction("v4_stem_a", 96), stride=2)
    table.row(InceptionStem(), layers=2, stride=2)
    table.row(_average("bn", 96, 64, 96, 64, 96, 96, 96), layers=4)
    table.row(_reduction("v3_reduction_a", 384, 192, 224, 256), stride=2)
    table.row(_average("v3_b", 384, 192, 224, 256, 192, 192, 224, 224, 256, 128), layers=7)
    table.row(_reduction("v3_reduction_b", 192, 192, 256, 256, 320, 320), stride=2)
    table.row(_average("v4_c", 256, 384, 256, 384, 448, 512, 256, 256), layers=3)
    return table.network(name, 299, dropout=0.2)


def inception_resnet_v2(name: str) -> Architecture:
    """Inception-ResNet-v2 at 299 px as released: 10, 20 and 10 modules (the paper: 5, 10, 5)."""
    table = _Table(_conv(3, padding="valid"), 32)
    _v3_stem(table)
    table.row(_average("v3_a", 96, 48, 64, 64, 96, 96, 64))
    block35 = InceptionResidual(form="a", widths=(32, 32, 32, 32, 48, 64), scale=0.17)
    table.row(block35, layers=10)
    table.row(_reduction("v3_reduction_a", 384, 256, 256, 384), stride=2)
    table.row(InceptionResidual(form="b", widths=(192, 128, 160, 192), scale=0.1), layers=20)
    table.row(_reduction("resnet_reduction_b", 256, 384, 256, 288, 256, 288, 320), stride=2)
    block8 = InceptionResidual(form="c", widths=(192, 192, 224, 256), scale=0.2)
    table.row(block8, layers=9)
    table.row(block8.replace(scale=1.0, end="none"))
    table.row(_conv(1), 1536)
    return table.network(name, 299, dropout=0.2)


def _conv(
    kernel_size: int,
    *,
    norm: NormName = "batch_norm",
    padding: Literal["symmetric", "valid"] = "symmetric",
) -> Convolution:
    return Convolution(
        kernel_size=kernel_size,
        activation="relu",
        norm=norm,
        bias=norm == "none",
        padding=padding,
    )


def _average(form: Any, *widths: int) -> Inception:
    return Inception(form=form, widths=widths, pool="average")


def _reduction(form: Any, *widths: int) -> Inception:
    return Inception(form=form, widths=widths, padding="valid")


def _module(table: _Table, nth: int) -> int:
    """The stage of the nth module (from 0) of the table."""
    places = [i for i, stage in enumerate(table.stages) if stage.block.kind == "inception"]
    return places[nth]
