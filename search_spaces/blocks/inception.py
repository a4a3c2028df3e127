"""Inception modules and their reductions, from the naive one to v4, and Inception-ResNet's.

Szegedy et al., arXiv:1409.4842 (naive, v1), arXiv:1502.03167 (bn), arXiv:1512.00567 (v3),
arXiv:1602.07261 (v4, Inception-ResNet). A form says how the branches are wired; `widths` are those
of their convolutions, in the order of the paper's row.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from search_spaces.blocks.block import ActivationName, Block, Channels, Layer
from search_spaces.blocks.branches import (
    Branch,
    Conv,
    PoolOf3,
    ScaledResidualLayer,
    branched_layer,
    paths_of,
    width_of,
)
from search_spaces.blocks.convolution import NormName
from search_spaces.blocks.inception_forms import (
    FORMS,
    LARGE_KERNELS,
    BranchSettings,
    Form,
    square_conv,
)
from search_spaces.blocks.window import Padding


class Inception(Block):
    """A module of parallel branches, or a reduction, whose pool keeps the input's channels.

    With `widths`, the row of the paper's table, the stage's `channels` are the branches' sum.
    Without, the stage's channels are divided among the branches in the form's proportions.
    """

    grows: ClassVar = ("widths",)
    kind: Literal["inception"] = "inception"
    """The name of the block family."""
    form: Form
    """How the branches are wired. Each form is from one paper."""
    widths: Annotated[tuple[Channels, ...], Field(min_length=1)] | None = None
    """Widths of the branches' convolutions, in the order of the paper's table. Without it the
    stage's channels are divided among the branches.
    """
    kernel_size: Literal[3, 5, 7] | None = None
    """Side of the form's large kernel. Without it: as published."""
    pool: Literal["max", "average"] = "max"
    """The pool of the pooling branch."""
    padding: Literal["symmetric", "valid"] = "symmetric"
    """Padding of the layers that have a stride."""
    activation: ActivationName = "relu"
    """The activation function."""
    norm: NormName = "batch_norm"
    """What normalises the convolutions."""

    @model_validator(mode="after")
    def _widths_fit_the_form(self) -> Self:
        row = FORMS[self.form]
        if self.widths is None and row.shares is None:
            raise ValueError(f"form {self.form} needs widths: {row.widths} numbers")
        if self.widths is not None and len(self.widths) != row.widths:
            raise ValueError(
                f"form {self.form} takes {row.widths} widths, but got {len(self.widths)}"
            )
        if self.padding == "valid" and (row.shares is not None or self.form == "naive"):
            raise ValueError(f"padding: valid is for reductions, but the form is {self.form}")
        if self.kernel_size is not None and self.form not in LARGE_KERNELS:
            raise ValueError(
                f"kernel_size can be changed in the forms {', '.join(LARGE_KERNELS)}, "
                f"but the form is {self.form}"
            )
        return self

    @property
    def passes_through(self) -> bool:
        """A branch is a bare pool, so a second module would have more channels than the first."""
        return FORMS[self.form].shares is None

    @property
    def fixed_layers(self) -> int | None:
        """One if a bare pool keeps the input's channels: a repeat would be wider."""
        return 1 if self.passes_through else None

    def fitting_channels(self, channels: int, *, in_channels: int, layers: int) -> int:
        """The branches' sum; without `widths` any number from 16 on, as shares are in 16ths."""
        if self.widths is None:
            return max(channels, 16)
        return sum(width_of(b, in_channels) for b in self._branches(self.widths, 1))

    def layer(self, in_channels: int, channels: int, stride: int) -> Layer:
        """The module. ValueError if there are too few channels for the branches."""
        widths = self.widths or self._shared_out(channels)
        return branched_layer(
            in_channels,
            self._branches(widths, stride),
            activation=self.activation,
            norm=self.norm,
            stride=stride,
        )

    def _branches(self, widths: tuple[int, ...], stride: int) -> tuple[Branch, ...]:
        kernel = self.kernel_size or LARGE_KERNELS.get(self.form, 3)
        padding: Padding = self.padding if stride > 1 else "symmetric"
        return FORMS[self.form].wire(widths, BranchSettings(stride, padding, kernel, self.pool))

    def _shared_out(self, channels: int) -> tuple[int, ...]:
        """The form's shares of `channels`; the first branch gets the remainder of rounding."""
        shares = FORMS[self.form].shares
        assert shares is not None
        widths = [int(share * channels / 16) for share in shares]
        if min(widths) == 0:
            raise ValueError(
                f"an inception module of {channels} channels has branches of width 0; "
                f"use at least 16 channels"
            )
        given = sum(width_of(branch, 0) for branch in self._branches(tuple(widths), 1))
        widths[0] += channels - given
        return tuple(widths)

    def describe(self) -> str:
        """As `Inception v3 a`."""
        return f"Inception {self.form.replace('_', ' ')}"


class InceptionStem(Block):
    """The second and third fork of Inception-v4's stem (1602.07261, figure 3), two layers.

    1x1-3x3 | 1x1-1x7-7x1-3x3, then 3x3/2 | max-pool/2, without padding. `widths` are the seven of
    the first (64, 96, 64, 64, 64, 96) and the 192 of the second.
    """

    grows: ClassVar = ("widths",)
    kind: Literal["inception_stem"] = "inception_stem"
    """The name of the block family."""
    widths: Annotated[tuple[Channels, ...], Field(min_length=7, max_length=7)] = (
        *(64, 96, 64, 64, 64, 96),
        192,
    )
    """Widths of its seven convolutions."""
    activation: ActivationName = "relu"
    """The activation function."""

    @property
    def fixed_layers(self) -> int | None:
        """Two: the second and the third fork."""
        return 2

    def fitting_channels(self, channels: int, *, in_channels: int, layers: int) -> int:
        """The reduction's width: its convolution, and its pool of both ends of the fork."""
        return self.widths[1] + self.widths[5] + self.widths[6]

    def layers(self, in_channels: int, channels: int, layers: int, stride: int) -> list[Layer]:
        """The fork and the reduction; only the reduction has a stride."""
        w = self.widths
        last = (3, 3)
        fork: tuple[Branch, ...] = (
            (Conv(w[0]), Conv(w[1], last, 1, "valid")),
            (Conv(w[2]), Conv(w[3], (1, 7)), Conv(w[4], (7, 1)), Conv(w[5], last, 1, "valid")),
        )
        reduction: tuple[Branch, ...] = (
            (Conv(w[6], last, stride, "valid"),),
            (PoolOf3("max", stride, "valid"),),
        )
        made = partial(branched_layer, activation=self.activation, norm="batch_norm")
        first = made(in_channels, fork, stride=1)
        second = made(first.out_channels, reduction, stride=stride)
        return [first, second]

    def describe(self) -> str:
        """`Inception v4 stem`."""
        return "Inception v4 stem"


def _resnet_a(w: tuple[int, ...]) -> tuple[Branch, ...]:
    return (
        (Conv(w[0]),),
        (Conv(w[1]), square_conv(w[2], 3)),
        (Conv(w[3]), square_conv(w[4], 3), square_conv(w[5], 3)),
    )


def _resnet_b(w: tuple[int, ...]) -> tuple[Branch, ...]:
    return (Conv(w[0]),), (Conv(w[1]), Conv(w[2], (1, 7)), Conv(w[3], (7, 1)))


def _resnet_c(w: tuple[int, ...]) -> tuple[Branch, ...]:
    return (Conv(w[0]),), (Conv(w[1]), Conv(w[2], (1, 3)), Conv(w[3], (3, 1)))


RESNET_FORMS: dict[str, tuple[int, Callable[[tuple[int, ...]], tuple[Branch, ...]]]] = {
    "a": (6, _resnet_a),
    "b": (4, _resnet_b),
    "c": (4, _resnet_c),
}


class InceptionResidual(Block):
    """An Inception-ResNet module: x + scale * (linear 1x1 of the branches), then `end`.

    1602.07261, figures 16, 17 and 19. It keeps map and channels.
    """

    grows: ClassVar = ("widths",)
    kind: Literal["inception_residual"] = "inception_residual"
    """The name of the block family."""
    form: Literal["a", "b", "c"]
    """Which module of the paper it is."""
    widths: Annotated[tuple[Channels, ...], Field(min_length=1)]
    """Widths of the branches' convolutions: 6 for form a, 4 for b and c."""
    scale: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Factor of the branches before they are added to the input."""
    end: ActivationName = "relu"
    """Activation after the addition."""
    activation: ActivationName = "relu"
    """Activation inside the branches."""

    @model_validator(mode="after")
    def _widths_fit_the_form(self) -> Self:
        count, _ = RESNET_FORMS[self.form]
        if len(self.widths) != count:
            raise ValueError(f"form {self.form} takes {count} widths, but got {len(self.widths)}")
        return self

    def fitting_channels(self, channels: int, *, in_channels: int, layers: int) -> int:
        """The addition keeps the width."""
        return in_channels

    def layer(self, in_channels: int, channels: int, stride: int) -> Layer:
        """The module. ValueError for a stride, which the addition forbids."""
        if stride != 1:
            raise ValueError(f"stride must be 1 for inception_residual, but got {stride}")
        _, wire = RESNET_FORMS[self.form]
        branches = wire(self.widths)
        return Layer(
            ScaledResidualLayer,
            channels,
            channels,
            residual=True,
            arguments=(("branches", branches), *self.pairs("scale", "end", "activation")),
            paths=(*paths_of(branches), ()),
        )

    def describe(self) -> str:
        """As `Inception-ResNet A, scale 0.17`."""
        return f"Inception-ResNet {self.form.upper()}, scale {self.scale:g}"
