"""How the branches of each Inception form are wired, one function a figure of the papers.

Szegedy et al., arXiv:1409.4842 (naive, v1), arXiv:1502.03167 (bn), arXiv:1512.00567 (v3),
arXiv:1602.07261 (v4).
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from search_spaces.blocks.branches import Branch, Conv, Fork, PoolOf3
from search_spaces.blocks.window import Padding

Form = Literal[
    "naive",
    "v1",
    "bn",
    "v3_a",
    "v3_b",
    "v3_c",
    "v4_c",
    "bn_reduction",
    "v3_reduction_a",
    "v3_reduction_b",
    "resnet_reduction_b",
    "v4_stem_a",
]


class BranchSettings(NamedTuple):
    """Settings of a form's branches; the last spatial operator of each branch has the stride."""

    stride: int
    padding: Padding
    kernel: int  # side of the form's large kernel, if it has one
    pool: Literal["max", "average"]


def square_conv(channels: int, kernel: int, shape: BranchSettings | None = None) -> Conv:
    """A k x k convolution; with `shape` it has the stride and padding of the module."""
    if shape is None:
        return Conv(channels, (kernel, kernel))
    return Conv(channels, (kernel, kernel), shape.stride, shape.padding)


def _pooled(shape: BranchSettings) -> PoolOf3:
    return PoolOf3(shape.pool, shape.stride, shape.padding)


def _naive(w: tuple[int, ...], s: BranchSettings) -> tuple[Branch, ...]:
    """1x1 | 3x3 | 5x5 | pool, which keeps its input's channels (1409.4842, figure 2a)."""
    return (
        (square_conv(w[0], 1, s),),
        (square_conv(w[1], 3, s),),
        (square_conv(w[2], 5, s),),
        (_pooled(s),),
    )


def _v1(w: tuple[int, ...], s: BranchSettings) -> tuple[Branch, ...]:
    """1x1 | 1x1-3x3 | 1x1-5x5 | pool-1x1 (1409.4842, figure 2b)."""
    return (
        (square_conv(w[0], 1, s),),
        (Conv(w[1]), square_conv(w[2], 3, s)),
        (Conv(w[3]), square_conv(w[4], s.kernel, s)),
        (_pooled(s), Conv(w[5])),
    )


def _double(w: tuple[int, ...], s: BranchSettings) -> tuple[Branch, ...]:
    """1x1 | 1x1-kxk | 1x1-3x3-3x3 | pool-1x1 (1512.00567, figure 5)."""
    return (
        (square_conv(w[0], 1, s),),
        (Conv(w[1]), square_conv(w[2], s.kernel, s)),
        (Conv(w[3]), square_conv(w[4], 3), square_conv(w[5], 3, s)),
        (_pooled(s), Conv(w[6])),
    )


def _factorised(w: tuple[int, ...], s: BranchSettings) -> tuple[Branch, ...]:
    """n x n as 1 x n and n x 1, once and twice (1512.00567, figure 6)."""
    row, column = (1, s.kernel), (s.kernel, 1)
    return (
        (square_conv(w[0], 1, s),),
        (Conv(w[1]), Conv(w[2], row), Conv(w[3], column, s.stride, s.padding)),
        (
            Conv(w[4]),
            Conv(w[5], column),
            Conv(w[6], row),
            Conv(w[7], column),
            Conv(w[8], row, s.stride, s.padding),
        ),
        (_pooled(s), Conv(w[9])),
    )


def _ends(channels: int, s: BranchSettings) -> Fork:
    return Fork(tuple(Conv(channels, k, s.stride, s.padding) for k in ((1, 3), (3, 1))))


def _v3_c(w: tuple[int, ...], s: BranchSettings) -> tuple[Branch, ...]:
    """Ends split into 1x3 and 3x1 (1512.00567, figure 7)."""
    return (
        (square_conv(w[0], 1, s),),
        (Conv(w[1]), _ends(w[2], s)),
        (Conv(w[3]), square_conv(w[4], 3), _ends(w[5], s)),
        (_pooled(s), Conv(w[6])),
    )


def _v4_c(w: tuple[int, ...], s: BranchSettings) -> tuple[Branch, ...]:
    """As v3's, with the 3x3 factorised too (1602.07261, figure 6)."""
    return (
        (square_conv(w[0], 1, s),),
        (Conv(w[1]), _ends(w[2], s)),
        (Conv(w[3]), Conv(w[4], (3, 1)), Conv(w[5], (1, 3)), _ends(w[6], s)),
        (_pooled(s), Conv(w[7])),
    )


def _bn_reduction(w: tuple[int, ...], s: BranchSettings) -> tuple[Branch, ...]:
    """1x1-3x3 | 1x1-3x3-3x3 | pool (1502.03167, the 3c and 4e rows)."""
    return (
        (Conv(w[0]), square_conv(w[1], 3, s)),
        (Conv(w[2]), square_conv(w[3], 3), square_conv(w[4], 3, s)),
        (_pooled(s),),
    )


def _v3_reduction_a(w: tuple[int, ...], s: BranchSettings) -> tuple[Branch, ...]:
    """3x3 | 1x1-3x3-3x3 | pool (1602.07261, figure 7: n | k, l, m)."""
    return (
        (square_conv(w[0], 3, s),),
        (Conv(w[1]), square_conv(w[2], 3), square_conv(w[3], 3, s)),
        (_pooled(s),),
    )


def _v3_reduction_b(w: tuple[int, ...], s: BranchSettings) -> tuple[Branch, ...]:
    """1x1-3x3 | 1x1-1x7-7x1-3x3 | pool (1602.07261, figure 8)."""
    return (
        (Conv(w[0]), square_conv(w[1], 3, s)),
        (Conv(w[2]), Conv(w[3], (1, 7)), Conv(w[4], (7, 1)), square_conv(w[5], 3, s)),
        (_pooled(s),),
    )


def _resnet_reduction_b(w: tuple[int, ...], s: BranchSettings) -> tuple[Branch, ...]:
    """1x1-3x3 | 1x1-3x3 | 1x1-3x3-3x3 | pool (1602.07261, figure 18)."""
    return (
        (Conv(w[0]), square_conv(w[1], 3, s)),
        (Conv(w[2]), square_conv(w[3], 3, s)),
        (Conv(w[4]), square_conv(w[5], 3), square_conv(w[6], 3, s)),
        (_pooled(s),),
    )


def _v4_stem_a(w: tuple[int, ...], s: BranchSettings) -> tuple[Branch, ...]:
    """pool | 3x3, the first fork of v4's stem (1602.07261, figure 3)."""
    return (_pooled(s),), (square_conv(w[0], 3, s),)


class FormRow(NamedTuple):
    """A form: how many widths it takes, its wiring, each width's share of the channels in 16ths."""

    widths: int
    wire: Callable[[tuple[int, ...], BranchSettings], tuple[Branch, ...]]
    shares: tuple[float, ...] | None = None  # None: only with widths, as the pool keeps channels


FORMS: dict[Form, FormRow] = {
    "naive": FormRow(3, _naive),
    "v1": FormRow(6, _v1, (4, 6, 8, 1, 2, 2)),
    "bn": FormRow(7, _double, (4, 4, 6, 4, 4, 4, 2)),
    "v3_a": FormRow(7, _double, (4, 3, 4, 4, 6, 6, 2)),
    "v3_b": FormRow(10, _factorised, (4, 2, 3, 4, 2, 2, 3, 3, 4, 4)),
    "v3_c": FormRow(7, _v3_c, (2, 3, 3, 3, 3, 3, 2)),
    "v4_c": FormRow(8, _v4_c, (2, 3, 3, 3, 3, 3, 3, 2)),
    "bn_reduction": FormRow(5, _bn_reduction),
    "v3_reduction_a": FormRow(4, _v3_reduction_a),
    "v3_reduction_b": FormRow(6, _v3_reduction_b),
    "resnet_reduction_b": FormRow(7, _resnet_reduction_b),
    "v4_stem_a": FormRow(1, _v4_stem_a),
}
LARGE_KERNELS: dict[str, int] = {"v1": 5, "bn": 3, "v3_a": 5, "v3_b": 7}
