"""The head: features to class scores."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from search_spaces.blocks.block import ActivationName, Conventions, Layer, Rate
from search_spaces.blocks.convolution import ConvolutionLayer
from search_spaces.records import Record


class Head(Record):
    """1x1 convolution to `channels`, batch norm, activation, global average pool, dropout, linear.

    `channels: 0` leaves the convolution out.
    """

    channels: Annotated[int, Field(ge=0)] = 0
    activation: ActivationName = "silu"
    dropout: Rate = 0.0

    def layer(self, in_channels: int, num_classes: int) -> Layer:
        arguments = (
            ("features", self.channels),
            ("activation", self.activation if self.channels else None),
            ("dropout", self.dropout),
        )
        return Layer(ClassificationHead, in_channels, num_classes, arguments=arguments)


class ClassificationHead(nn.Module):
    """(N, C, H, W) -> (N, num_classes)."""

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
    ) -> None:
        super().__init__()
        self.features: nn.Module = nn.Identity()
        if activation is not None:
            self.features = ConvolutionLayer(
                in_channels,
                features,
                kernel_size=1,
                stride=stride,
                activation=activation,
                conventions=conventions,
            )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(features or in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x).mean((2, 3))  # (N, features)
        return self.classifier(self.dropout(x))
