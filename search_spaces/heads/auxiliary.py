"""Auxiliary classifiers in the middle of a network, which act in training only."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from search_spaces.blocks.block import Channels, Conventions, Growing, Layer, Rate
from search_spaces.blocks.convolution import ConvolutionLayer


class Auxiliary(Growing):
    """A second classifier in the middle of the network. It acts in training only.

    Its loss, times `weight`, is added to the network's and trains the layers below it. It reads
    the output of stage `after` (the first is 0). First comes an average pool 5x5/3. `form: v1`
    (arXiv:1409.4842, section 5) has 1x1 convolution, hidden fully connected layer, dropout, linear;
    `form: v3` (arXiv:1512.00567 as released) has 1x1 convolution, 5x5 convolution, pool, linear.
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

        Both forms begin with a 5 x 5 pool of stride 3. In `v3` a 5 x 5 convolution without padding
        follows, and (17 - 5) / 3 + 1 = 5.
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
