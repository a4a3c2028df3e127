"""VGG A, A-LRN, B, C, D and E, with and without batch norm.

Simonyan and Zisserman, arXiv:1409.1556, table 1. Input 224, ReLU, 2 x 2 max-pools, three fully
connected layers. Convolutions keep their biases beside batch norm, as torchvision's do.
"""

from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.blocks import Conventions, Convolution, Normalisation, Pool
from search_spaces.heads import FullyConnectedHead

# A column of table 1: channels of the stage, then its kernels
TABLE_1: dict[str, tuple[tuple[int, str], ...]] = {
    "vgg11": ((64, "3"), (128, "3"), (256, "33"), (512, "33"), (512, "33")),
    "vgg11_lrn": ((64, "3L"), (128, "3"), (256, "33"), (512, "33"), (512, "33")),
    "vgg13": ((64, "33"), (128, "33"), (256, "33"), (512, "33"), (512, "33")),
    "vgg16_c": ((64, "33"), (128, "33"), (256, "331"), (512, "331"), (512, "331")),
    "vgg16": ((64, "33"), (128, "33"), (256, "333"), (512, "333"), (512, "333")),
    "vgg19": ((64, "33"), (128, "33"), (256, "3333"), (512, "3333"), (512, "3333")),
}
# A-LRN: Krizhevsky's n = 5, alpha = 1e-4 a pixel (torch divides alpha by n), beta = 0.75, k = 2
LRN = Normalisation(size=5, alpha=5e-4, beta=0.75, k=2.0)


def vgg(name: str, *, column: str, norm: bool = False) -> Architecture:
    """`vgg11` (A), `vgg11_lrn`, `vgg13` (B), `vgg16_c` (C), `vgg16` (D) or `vgg19` (E)."""
    rows = [
        stage
        for channels, kernels in TABLE_1[column]
        for stage in (*_convolutions(channels, kernels, norm=norm), _pool(channels))
    ]
    first = rows[0]
    rest = [first.replace(layers=first.layers - 1)] if first.layers > 1 else []
    return Architecture(
        name=name,
        resolution=224,
        stem=Stem(channels=first.channels, stride=1, block=first.block),
        stages=(*rest, *rows[1:]),
        head=FullyConnectedHead(kind="fully_connected"),
        conventions=Conventions(batch_norm_eps=1e-5, batch_norm_momentum=0.1, initialisation="he"),
    )


def _convolutions(channels: int, kernels: str, *, norm: bool) -> list[Stage]:
    """A row for each run of equal kernels; `L` is local response normalisation."""
    rows: list[Stage] = []
    for kernel in kernels:
        if rows and _kernel(rows[-1]) == kernel:
            rows[-1] = rows[-1].replace(layers=rows[-1].layers + 1)
            continue
        block = LRN if kernel == "L" else _convolution(int(kernel), norm=norm)
        rows.append(Stage(channels=channels, layers=1, stride=1, block=block))
    return rows


def _kernel(stage: Stage) -> str:
    return str(getattr(stage.block, "kernel_size", "L"))


def _convolution(kernel_size: int, *, norm: bool) -> Convolution:
    return Convolution(
        kernel_size=kernel_size,
        activation="relu",
        norm="batch_norm" if norm else "none",
        bias=True,
    )


def _pool(channels: int) -> Stage:
    return Stage(channels=channels, layers=1, stride=2, block=Pool(kernel_size=2))
