"""From an architecture to a torch module: stem, stages, head; feature taps at strides 2, 4, 8..."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.heads import Given, Task


def build_network(
    architecture: Architecture, *, num_classes: int = 1000, in_channels: int = 3
) -> "Network":
    """The module of `architecture`: (N, in_channels, R, R) -> (N, num_classes).

    With a head that scores pixels it gives (N, num_classes, R, R), and takes images of any height
    and width. With one that finds boxes see `DetectionNetwork`.

    `num_classes=0` leaves the classifiers out: it gives the features (N, network.num_features).
    Weights are initialised from torch's global generator by the architecture's conventions. With
    auxiliary classifiers the network gives `TrainingScores` in training; see `weighted_loss`.
    Raises InputError for `num_classes` below 0 or `in_channels` below 1.
    """
    network = NETWORKS[architecture.task](
        architecture, num_classes=num_classes, in_channels=in_channels
    )
    initialise(network, scheme=architecture.conventions.initialisation)
    if isinstance(network, DetectionNetwork):
        network.head.begin()
    return network


class TrainingScores(NamedTuple):
    """The scores, and those of the auxiliary classifiers with the weights of their losses."""

    scores: Tensor
    auxiliary: list[tuple[float, Tensor]]


def weighted_loss(output: Tensor | TrainingScores, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """`loss` of the scores, plus the weighted losses of auxiliary scores where there are some."""
    if isinstance(output, Tensor):
        return loss(output)
    extra = [weight * loss(scores) for weight, scores in output.auxiliary]
    return sum(extra, loss(output.scores))


class Network(nn.Module):
    """stem -> stages -> head, built row by row."""

    def __init__(self, architecture: Architecture, *, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.architecture = architecture
        rows = architecture.rows(num_classes=num_classes, in_channels=in_channels)
        built = [
            (row, row.layer.build(architecture.conventions, drop_rate=row.drop_rate))
            for row in rows
        ]
        stages: list[list[nn.Module]] = [[] for _ in architecture.stages]
        head: dict[str, nn.Module] = {}
        for row, module in built[1:]:
            kind, *place = row.part.split(".")
            if kind == "stages":
                stages[int(place[0])].append(module)
            else:
                head["".join(place)] = module
        self.stem = built[0][1]
        self.stages = nn.ModuleList(nn.Sequential(*layers) for layers in stages)
        self.head: Any = architecture.head.assembled(head)
        # What the classifier gets; of a dense head the channels in front of the scores.
        self.num_features = getattr(self.head, "num_features", rows[-1].layer.in_channels)
        self.auxiliary = nn.ModuleDict()  # by the stage that it stands behind
        self._auxiliary_weights = {str(a.after): a.weight for a in architecture.auxiliary}
        for row in architecture.auxiliary_rows(num_classes=num_classes):
            auxiliary = architecture.auxiliary[int(row.part.split(".")[1])]
            self.auxiliary[str(auxiliary.after)] = row.layer.build(architecture.conventions)
        strides = [architecture.stem.stride, *(stage.stride for stage in architecture.stages)]
        # The last stage before each further stride, and the last of all, is a tap.
        self._taps = [i for i in range(len(strides)) if i + 1 == len(strides) or strides[i + 1] > 1]

    def forward(self, x: Tensor) -> Any:
        """Scores or features; in training with auxiliary classifiers `TrainingScores`."""
        x = self.stem(x)
        extra: list[tuple[float, Tensor]] = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if self.training and str(i) in self.auxiliary:
                extra.append((self._auxiliary_weights[str(i)], self.auxiliary[str(i)](x)))
        scores = self.head(x)
        return TrainingScores(scores, extra) if extra else scores

    def raw(self, x: Tensor) -> Any:
        """What the layers give, all that costs: the scores, of a detector before they are boxes."""
        return self(x)

    def features(self, x: Tensor) -> list[Tensor]:
        """The last map at each stride, finest first, for dense heads."""
        return self._maps(x, self._taps)

    def _maps(self, x: Tensor, wanted: list[int]) -> list[Tensor]:
        """The maps of these numbers, 0 behind the stem; nothing behind the last is computed."""
        x = self.stem(x)
        maps = [x] if 0 in wanted else []
        for i, stage in enumerate(self.stages[: max(wanted)], start=1):
            x = stage(x)
            maps += [x] if i in wanted else []
        return maps


class DenseNetwork(Network):
    """A network whose head scores each pixel: (N, C, H, W) -> (N, num_classes, H, W)."""

    def __init__(self, architecture: Architecture, *, num_classes: int, in_channels: int) -> None:
        super().__init__(architecture, num_classes=num_classes, in_channels=in_channels)
        self._read = [tap.at - 1 for tap in architecture.head.read(architecture.maps())]

    def forward(self, x: Tensor) -> Tensor:
        """The scores of each pixel, as large as the image."""
        return self.head(self.read(x), (x.shape[-2], x.shape[-1]))

    def read(self, x: Tensor) -> list[Tensor]:
        """The maps that the head reads, finest first."""
        return self._maps(x, self._read)


class DetectionNetwork(DenseNetwork):
    """A network that finds boxes: torchvision's conventions, on images of one size as they are.

    In training it takes images (N, C, H, W) and for each a target, a dict of `boxes` (M, 4) as x1,
    y1, x2, y2 in pixels and `labels` (M,) int64 from 0 to num_classes - 1, and gives losses by
    name, to be summed. In eval mode it gives for each image a dict of `boxes`, `labels`, `scores`,
    the best first. M may be 0. Raises ValueError in training where targets are missing.

    A predictor of kind `given` also needs each image's `regions` (R, 4), as boxes are written.
    """

    def forward(
        self,
        x: Tensor,
        targets: list[dict[str, Tensor]] | None = None,
        regions: list[Tensor] | None = None,
    ) -> Any:
        """The losses, or the boxes."""
        predictor = getattr(self.architecture.head, "predictor", None)
        if regions is not None and not isinstance(predictor, Given):
            raise ValueError("regions are for a predictor of kind given; this one finds its own")
        more = () if regions is None else (regions,)
        return self.head(self.read(x), (x.shape[-2], x.shape[-1]), targets, *more)

    def raw(self, x: Tensor) -> dict[str, Tensor]:
        """What the layers give, by torchvision's names, before it becomes boxes."""
        found: dict[str, Tensor] = self.head.raw(self.read(x))
        return found


NETWORKS: dict[Task, type[Network]] = {
    "classification": Network,
    "segmentation": DenseNetwork,
    "detection": DetectionNetwork,
}


def initialise(network: nn.Module, *, scheme: str = "efficientnet") -> None:
    """Start every convolution and linear layer by `scheme` (see `Conventions`), biases at 0.

    `efficientnet`: convolutions normal with std sqrt(2 / fan_out), fan_out = k * k * C_out /
    groups, which for a depthwise kernel is sqrt(2) / k, as in TensorFlow, where torchvision's
    fan_out ignores the groups (`he`); linear layers uniform within 1/sqrt(classes)
    (tensorflow/tpu, efficientnet_model.py).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=_convolution_std(module, scheme))
        elif isinstance(module, nn.Linear):
            _initialise_linear(module, scheme)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _convolution_std(module: nn.Conv2d, scheme: str) -> float:
    area = math.prod(module.kernel_size)
    if scheme == "normal":
        return 0.1
    if scheme == "he_fan_in":
        return math.sqrt(2.0 * module.groups / (area * module.in_channels))
    if scheme == "glorot":
        fans = module.in_channels + module.out_channels
        return math.sqrt(2.0 * module.groups / (area * fans))
    groups = module.groups if scheme == "efficientnet" else 1
    return math.sqrt(2.0 * groups / (area * module.out_channels))


def _initialise_linear(module: nn.Linear, scheme: str) -> None:
    if scheme == "normal":
        nn.init.normal_(module.weight, std=0.1)
    else:
        fan = module.out_features if scheme == "efficientnet" else module.in_features
        nn.init.uniform_(module.weight, -1.0 / math.sqrt(fan), 1.0 / math.sqrt(fan))
