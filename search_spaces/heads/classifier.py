"""Heads of classifiers: from the last feature map to the scores of the classes."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from search_spaces.blocks.block import (
    ACTIVATIONS,
    ActivationName,
    Channels,
    Conventions,
    Layer,
    Rate,
)
from search_spaces.blocks.convolution import ConvolutionLayer, batch_norm
from search_spaces.blocks.window import square
from search_spaces.heads.head import ClassifierHead


class Head(ClassifierHead):
    """1x1 convolution to `channels`, batch norm, activation, global average pool, dropout, linear.

    `channels: 0` leaves the convolution out. `normalise: first` puts batch norm and activation
    before everything else, for networks of pre-activation layers.
    """

    grows: ClassVar = ("channels",)
    kind: Literal["pooled"] = "pooled"
    """The kind of head. It may be left out."""
    channels: Annotated[int, Field(ge=0)] = 0
    """Width of the 1x1 convolution before pooling. 0 leaves the convolution out."""
    activation: ActivationName = "silu"
    """The activation function."""
    dropout: Rate = 0.0
    """Dropout rate before the classifier."""
    normalise: Literal["first", "none"] = "none"
    """`first` puts batch norm and activation before everything else."""

    def layer(self, in_channels: int, num_classes: int) -> Layer:
        """The head for `in_channels` of features, resolved."""
        acts = self.channels or self.normalise == "first"
        arguments = (
            ("features", self.channels),
            ("activation", self.activation if acts else None),
            *self.pairs("dropout", "normalise"),
        )
        return Layer(ClassificationHead, in_channels, num_classes, arguments=arguments)

    def describe(self) -> str:
        """The operator column of the paper's Table 1."""
        pieces = ["BN"] if self.normalise == "first" else []
        pieces += ["Conv1x1"] if self.channels else []
        return " & ".join([*pieces, "Pooling", "FC"])


class FullyConnectedHead(ClassifierHead):
    """VGG's head: hidden fully connected layers with dropout on a map of `pool` x `pool`.

    A map of another size is average-pooled to `pool` pixels, so any resolution works.
    """

    grows: ClassVar = ("widths",)
    kind: Literal["fully_connected"]
    """The kind of head."""
    widths: Annotated[tuple[Channels, ...], Field(min_length=1)] = (4096, 4096)
    """Widths of the hidden layers, in order."""
    pool: Channels = 7
    """Side of the map, in pixels, that the hidden layers read."""
    activation: ActivationName = "relu"
    """The activation function."""
    dropout: Rate = 0.5
    """Dropout rate after each hidden layer."""

    @property
    def channels(self) -> int:
        """The features that the classifier gets."""
        return self.widths[-1]

    def layer(self, in_channels: int, num_classes: int) -> Layer:
        """The head for `in_channels` of features, resolved."""
        arguments = self.pairs("widths", "pool", "activation", "dropout")
        path = (square(self.pool),)
        return Layer(FullyConnected, in_channels, num_classes, arguments=arguments, paths=(path,))

    def describe(self) -> str:
        """The operator column of the paper's Table 1."""
        return " & ".join(f"FC-{width}" for width in self.widths) + " & FC"


class ClassificationHead(nn.Module):
    """The module of `Head`: (N, C, H, W) -> (N, num_classes), or the features for 0 classes."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        stride: int,
        features: int,
        activation: ActivationName | None,
        dropout: float,
        conventions: Conventions,
        normalise: Literal["first", "none"] = "none",
    ) -> None:
        super().__init__()
        self.normalise: nn.Module = nn.Identity()
        if normalise == "first" and activation is not None:
            self.normalise = nn.Sequential(
                batch_norm(in_channels, conventions), ACTIVATIONS[activation]()
            )
        self.features: nn.Module = nn.Identity()
        if features and activation is not None:
            self.features = ConvolutionLayer(
                in_channels,
                features,
                kernel_size=1,
                stride=stride,
                activation=activation,
                conventions=conventions,
            )
        self.dropout = nn.Dropout(dropout)
        self.num_features = features or in_channels  # what the classifier gets
        self.classifier = _classifier(self.num_features, num_classes)

    def maps(self, x: Tensor) -> Tensor:
        """The map that is pooled: (N, num_features, H, W)."""
        return self.features(self.normalise(x))

    def pooled(self, x: Tensor) -> Tensor:
        """What the classifier gets of that map: (N, num_features)."""
        return self.dropout(x.mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        """The scores of the classes; without classes the pooled features."""
        return self.classifier(self.pooled(self.maps(x)))


class FullyConnected(nn.Module):
    """The module of `FullyConnectedHead`: (N, C, H, W) -> (N, num_classes), or the features."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        stride: int,
        widths: tuple[int, ...],
        pool: int,
        activation: ActivationName,
        dropout: float,
        conventions: Conventions,
    ) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(pool)
        self.hidden = nn.Sequential()
        inputs = in_channels * pool * pool
        for width in widths:
            self.hidden.extend(
                [nn.Linear(inputs, width), ACTIVATIONS[activation](), nn.Dropout(dropout)]
            )
            inputs = width
        self.num_features = inputs  # what the classifier gets
        self.classifier = _classifier(inputs, num_classes)

    def maps(self, x: Tensor) -> Tensor:
        """The map that is pooled: the network's last."""
        return x

    def pooled(self, x: Tensor) -> Tensor:
        """What the classifier gets of that map: (N, num_features)."""
        return self.hidden(self.pool(x).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """The scores of the classes; without classes the last hidden layer's features."""
        return self.classifier(self.pooled(self.maps(x)))


def _classifier(features: int, num_classes: int) -> nn.Module:
    """From features to scores; for 0 classes the features themselves."""
    return nn.Linear(features, num_classes) if num_classes else nn.Identity()
