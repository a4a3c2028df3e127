"""Layers of parallel branches: convolutions and pools in chains, their ends concatenated."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from search_spaces.blocks.block import ACTIVATIONS, ActivationName, Conventions, Layer
from search_spaces.blocks.convolution import ConvolutionLayer, NormName, convolution
from search_spaces.blocks.mbconv import DropConnect
from search_spaces.blocks.pooling import pool
from search_spaces.blocks.window import Padding, Path, Window


class Conv(NamedTuple):
    """A convolution of a branch; `kernel` is (rows, columns)."""

    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: Padding = "symmetric"


class PoolOf3(NamedTuple):
    """A 3 x 3 pool of a branch."""

    form: Literal["max", "average"]
    stride: int = 1
    padding: Padding = "symmetric"


class Fork(NamedTuple):
    """Convolutions side by side at the end of a branch, concatenated (Inception v3, figure 7)."""

    ends: tuple[Conv, ...]


Branch = tuple[Conv | PoolOf3 | Fork, ...]


def width_of(branch: Branch, in_channels: int) -> int:
    """Output channels of a branch."""
    width = in_channels
    for piece in branch:
        if isinstance(piece, Conv):
            width = piece.channels
        elif isinstance(piece, Fork):
            width = sum(end.channels for end in piece.ends)
    return width


def paths_of(branches: tuple[Branch, ...]) -> tuple[Path, ...]:
    """The windows of every way through the branches."""
    paths: list[Path] = []
    for branch in branches:
        ways: list[Path] = [()]
        for piece in branch:
            ends = piece.ends if isinstance(piece, Fork) else (piece,)
            ways = [(*way, _window(end)) for way in ways for end in ends]
        paths += ways
    return tuple(dict.fromkeys(paths))


def _window(piece: Conv | PoolOf3) -> Window:
    kernel = piece.kernel if isinstance(piece, Conv) else (3, 3)
    return Window(kernel, piece.stride, piece.padding)


def branched_layer(
    in_channels: int,
    branches: tuple[Branch, ...],
    *,
    activation: ActivationName,
    norm: NormName,
    stride: int,
) -> Layer:
    """The resolved layer of `branches`; its width is the sum of theirs."""
    return Layer(
        BranchedLayer,
        in_channels,
        sum(width_of(branch, in_channels) for branch in branches),
        stride=stride,
        arguments=(("branches", branches), ("activation", activation), ("norm", norm)),
        paths=paths_of(branches),
    )


class BranchedLayer(nn.Module):
    """(N, C_in, H, W) -> (N, sum of the branches' widths, H', W')."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        branches: tuple[Branch, ...],
        activation: ActivationName,
        norm: NormName,
        conventions: Conventions,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList()
        for branch in branches:
            chain, width = nn.Sequential(), in_channels
            for piece in branch:
                chain.append(_module(width, piece, activation, norm, conventions))
                width = width_of((piece,), width)
            self.branches.append(chain)

    def forward(self, x: Tensor) -> Tensor:
        """The ends of all branches, concatenated in the channels."""
        return torch.cat([branch(x) for branch in self.branches], 1)


def _module(
    in_channels: int,
    piece: Conv | PoolOf3 | Fork,
    activation: ActivationName,
    norm: NormName,
    conventions: Conventions,
) -> nn.Module:
    if isinstance(piece, PoolOf3):
        return pool(
            piece.form, 3, stride=piece.stride, padding=piece.padding, conventions=conventions
        )
    if isinstance(piece, Fork):
        ends: tuple[Branch, ...] = tuple((end,) for end in piece.ends)
        return BranchedLayer(
            in_channels,
            width_of((piece,), in_channels),
            stride=1,
            branches=ends,
            activation=activation,
            norm=norm,
            conventions=conventions,
        )
    return ConvolutionLayer(
        in_channels,
        piece.channels,
        kernel_size=piece.kernel,
        stride=piece.stride,
        padding=piece.padding,
        activation=activation,
        norm=norm,
        bias=norm == "none",
        conventions=conventions,
    )


class ScaledResidualLayer(nn.Module):
    """(N, C, H, W) -> the same: end(x + scale * conv1x1(branches(x)))."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        branches: tuple[Branch, ...],
        scale: float,
        end: ActivationName,
        activation: ActivationName,
        conventions: Conventions,
        drop_rate: float,
    ) -> None:
        super().__init__()
        inner = sum(width_of(branch, in_channels) for branch in branches)
        self.branches = BranchedLayer(
            in_channels,
            inner,
            stride=stride,
            branches=branches,
            activation=activation,
            norm="batch_norm",
            conventions=conventions,
        )
        self.linear = convolution(inner, out_channels, bias=True, conventions=conventions)
        self.scale = scale
        self.drop_connect = DropConnect(drop_rate)
        self.end = ACTIVATIONS[end]()

    def forward(self, x: Tensor) -> Tensor:
        """The input plus the scaled branch, activated."""
        branch = self.linear(self.branches(x)) * self.scale
        return self.end(x + self.drop_connect(branch))

    def extra_repr(self) -> str:
        """The scale, for printing."""
        return f"scale={self.scale:g}"
