"""The head: from the last feature map to class scores; and the auxiliary classifiers on the way."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag
from torch import Tensor, nn

from search_spaces.blocks.block import (
    ACTIVATIONS,
    ActivationName,
    Channels,
    Conventions,
    Growing,
    Layer,
    Rate,
)
from search_spaces.blocks.convolution import ConvolutionLayer, batch_norm
from search_spaces.blocks.window import square


class Head(Growing):
    """1x1 convolution to `channels`, batch norm, activation, global average pool, dropout, linear.

    `channels: 0` leaves the convolution out. `normalise: first` puts batch norm and activation
    before all that, as networks of pre-activation layers need.
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


class FullyConnectedHead(Growing):
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


def _kind_of_head(head: Any) -> str:
    """A head without `kind` is pooled: files written before there were kinds have none."""
    if isinstance(head, dict):
        return str(head.get("kind", "pooled"))
    return str(getattr(head, "kind", "pooled"))


AnyHead = Annotated[
    Annotated[Head, Tag("pooled")] | Annotated[FullyConnectedHead, Tag("fully_connected")],
    Discriminator(_kind_of_head),
]


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
    """From features to scores; 0 classes leave the features as they are."""
    return nn.Linear(features, num_classes) if num_classes else nn.Identity()


class Auxiliary(Growing):
    """A second classifier in the middle of the network. It acts in training only.

    Its loss trains the layers below it; `weight` is that of its loss beside the network's. It
    stands behind stage `after` (the first is 0): average pool 5x5/3, then with `form: v1`
    (arXiv:1409.4842, section 5) 1x1 convolution, hidden fully connected layer, dropout and linear;
    with `form: v3` (arXiv:1512.00567 as released) 1x1 convolution, 5x5 convolution, pool, linear.
    """

    grows: ClassVar = ("channels", "features")
    after: Annotated[int, Field(ge=0)]
    """Number of the stage whose output it reads. The first stage is 0."""
    form: Literal["v1", "v3"] = "v1"
    """Which paper's classifier it is."""
    channels: Channels = 128
    """Width of its 1x1 convolution."""
    features: Channels = 1024
    """Width of its hidden layer."""
    norm: Literal["batch_norm", "none"] = "batch_norm"
    """What normalises its convolutions."""
    dropout: Rate = 0.0
    """Dropout rate before its classifier."""
    weight: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Weight of its loss. The network's own loss has weight 1."""

    @property
    def smallest_map(self) -> int:
        """The least side in pixels of its input map.

        Both forms begin with a 5 x 5 pool of stride 3. `v3` has a 5 x 5 convolution without padding
        behind it, and (17 - 5) / 3 + 1 = 5.
        """
        return {"v1": 5, "v3": 17}[self.form]

    def layer(self, in_channels: int, num_classes: int) -> Layer:
        """The classifier behind a map of `in_channels`, resolved."""
        arguments = self.pairs("form", "channels", "features", "norm", "dropout")
        return Layer(AuxiliaryClassifier, in_channels, num_classes, arguments=arguments)


class AuxiliaryClassifier(nn.Module):
    """The module of `Auxiliary`: (N, C, H, W) -> (N, num_classes)."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        stride: int,
        form: Literal["v1", "v3"],
        channels: int,
        features: int,
        norm: Literal["batch_norm", "none"],
        dropout: float,
        conventions: Conventions,
    ) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int, kernel_size: int) -> nn.Module:
            """A convolution without padding, as both forms have them."""
            return ConvolutionLayer(
                inputs,
                outputs,
                kernel_size=kernel_size,
                activation="relu",
                norm=norm,
                bias=norm == "none",
                padding="valid",
                conventions=conventions,
            )

        self.features = nn.Sequential(nn.AvgPool2d(5, 3), conv(in_channels, channels, 1))
        if form == "v1":  # 4 x 4 at the published resolution; another map is pooled to that
            hidden = [nn.Linear(channels * 16, features), nn.ReLU()]
            self.features.extend([nn.AdaptiveAvgPool2d(4), nn.Flatten(), *hidden])
        else:
            pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
            self.features.extend([conv(channels, features, 5), *pooled])
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """The scores of the classes."""
        return self.classifier(self.dropout(self.features(x)))
