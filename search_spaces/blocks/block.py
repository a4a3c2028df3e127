"""What every block family offers: its data (`Block`) and its layers with all widths resolved."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer
from torch import nn

from search_spaces.blocks.window import Path, sizes_along
from search_spaces.records import Record


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError(f"a kernel size must be odd (1, 3, 5, 7, ...), but got {size}")
    return size


Channels = Annotated[int, Field(ge=1)]
KernelSize = Annotated[int, Field(ge=1), AfterValidator(_odd)]
Rate = Annotated[float, Field(ge=0, lt=1)]
ActivationName = Literal["relu", "relu6", "silu", "none"]
Widening = Callable[[int], int]  # channels -> channels

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "none": nn.Identity,
}


def round_channels(channels: int, width: float, *, divisor: int = 8) -> int:
    """`channels * width` to the nearest multiple of 8, ties up, never below 90 % of it.

    `round_filters` of tensorflow/tpu, efficientnet_model.py. A width of exactly 1 changes nothing.
    """
    if width == 1:
        return channels
    wished = channels * width
    rounded = max(divisor, int(wished + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * wished else rounded


class Conventions(Record):
    """Settings that all layers of one network share, and that published implementations differ in.

    The defaults are EfficientNet's: TensorFlow's batch-norm epsilon 1e-3 and momentum 0.99, which
    torch writes 0.01. `padding` of convolutions is torch's `symmetric` k//2 or TensorFlow's `same`:
    sizes are equal, but a stride samples other pixels of an even map. Pools are symmetric.

    `average_pool`: whether a padded average counts the padding's pixels too, as in torchvision's
    Inception v3.

    `initialisation`: `efficientnet` is normal with fan-out per group and the classifier uniform
    within 1/sqrt(classes) (tensorflow/tpu); `he` is normal with fan-out over all groups, as
    in fb.resnet.torch and torchvision; `he_fan_in` the same with fan-in (arXiv:1502.01852);
    `normal` has variance 1e-2 everywhere (VGG, arXiv:1409.1556, section 3.1); `glorot` has
    variance 2 / (fan-in + fan-out), of which each ReLU halves the signal (Glorot and Bengio,
    AISTATS 2010, equation 16).
    `drop_connect_schedule`: `linear` rises to the rate with depth, `constant` is the rate itself.
    """

    batch_norm_eps: Annotated[float, Field(gt=0)] = 1e-3
    """The small number under the root in batch norm."""
    batch_norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Momentum of batch norm's running averages, as torch counts it."""
    padding: Literal["symmetric", "same"] = "symmetric"
    """Where a convolution's padding goes: torch's `symmetric`, or TensorFlow's `same`."""
    average_pool: Literal["without_padding", "with_padding"] = "without_padding"
    """Whether an average over a window also counts the pixels of the padding."""
    initialisation: Literal["efficientnet", "he", "he_fan_in", "normal", "glorot"] = "efficientnet"
    """The random distribution of the first weights."""
    drop_connect_schedule: Literal["linear", "constant"] = "linear"
    """`linear` grows the drop rate with depth, `constant` does not."""

    def describe(self) -> str:
        """The settings that change the scores of given weights."""
        return f"batch-norm eps {self.batch_norm_eps:g}, {self.padding} padding"

    def identity(self) -> list[Any]:
        """The settings that show in the network's graph; `initialisation` does not."""
        return [self.batch_norm_eps, self.batch_norm_momentum, self.padding, self.average_pool]


@dataclass(frozen=True)
class Layer:
    """One layer of a network, resolved: exactly the arguments of its module's constructor.

    Two networks whose layers are equal are the same network; the cost of a layer is measured once
    for each distinct (layer, input shape). `paths` are its windows, a path for each branch; the
    other fields determine them.
    """

    module: Callable[..., nn.Module]
    in_channels: int
    out_channels: int
    stride: int = 1
    residual: bool = False  # has an identity skip, so drop-connect applies
    arguments: tuple[tuple[str, Any], ...] = ()  # the family's own, by name
    paths: tuple[Path, ...] = ((),)

    def output_size(self, size: int) -> int:
        """Side of the output map for an input of `size` px; ValueError if that is too small."""
        return min(sizes_along(path, size)[-1] for path in self.paths)  # they are equal

    def build(self, conventions: Conventions, *, drop_rate: float = 0.0) -> nn.Module:
        """The module with fresh weights; `drop_rate` counts only if the layer has a skip."""
        own = dict(self.arguments)
        if self.residual:
            own["drop_rate"] = drop_rate
        return self.module(
            self.in_channels, self.out_channels, stride=self.stride, conventions=conventions, **own
        )

    def identity(self) -> list[Any]:
        """What distinguishes this layer from others, as plain data."""
        name = getattr(self.module, "__name__", str(self.module))
        size = [self.in_channels, self.out_channels, self.stride, self.residual]
        return [name, *size, *(list(pair) for pair in self.arguments)]


class Growing(Record):
    """Data with widths of its own, which grow with the network's channels."""

    grows: ClassVar[tuple[str, ...]] = ()  # the fields that are widths, or tuples of widths

    def widen(self, width: Widening) -> Self:
        """A copy with every field of `grows` mapped by `width`; 0 and None (none) are kept."""

        def grown(value: Any) -> Any:
            """One field's value, grown."""
            if isinstance(value, tuple):
                return tuple(width(channels) for channels in value)
            return width(value) if value else value

        if not self.grows:
            return self
        return self.replace(**{name: grown(getattr(self, name)) for name in self.grows})


class Block(Growing):
    """The data of a block family; subclasses are tagged by `kind`."""

    kind: str
    """The name of the block family."""

    @model_serializer(mode="wrap")
    def _tagged(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """`kind` is written even if defaults are left out: a reader needs it to know the family."""
        return {"kind": self.kind, **handler(self)}

    @property
    def fixed_layers(self) -> int | None:
        """How many layers a stage of this block must have; None if any number is allowed."""
        return None

    def fitting_channels(self, channels: int, *, in_channels: int, layers: int) -> int:
        """The width nearest to `channels` that a stage of this block can have."""
        return channels

    def layer(self, in_channels: int, channels: int, stride: int) -> Layer:
        """One layer of this block."""
        raise NotImplementedError

    def layers(self, in_channels: int, channels: int, layers: int, stride: int) -> list[Layer]:
        """A stage of this block: the first layer has the stride and changes the width.

        Raises ValueError, in the user's words, if the widths do not fit together.
        """
        first = self.layer(in_channels, channels, stride)
        if layers == 1:
            return [first]
        return [first] + [self.layer(channels, channels, 1)] * (layers - 1)

    def describe(self) -> str:
        """The operator column of the paper's Table 1."""
        raise NotImplementedError
