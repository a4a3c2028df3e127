"""From an architecture to a torch module: stem, stages, head; feature taps at strides 2, 4, 8..."""

import math

from torch import Tensor, nn

from search_spaces.architecture import Architecture


def build_network(
    architecture: Architecture, *, num_classes: int = 1000, in_channels: int = 3
) -> "Network":
    """The module of `architecture`: (N, in_channels, R, R) -> (N, num_classes).

    Weights are initialised from torch's global generator as the EfficientNet authors do.
    """
    network = Network(architecture, num_classes=num_classes, in_channels=in_channels)
    initialise(network)
    return network


class Network(nn.Module):
    """stem -> stages -> head, built row by row."""

    def __init__(self, architecture: Architecture, *, num_classes: int, in_channels: int) -> None:
        super().__init__()
        rows = architecture.rows(num_classes=num_classes, in_channels=in_channels)
        built = [
            (row, row.layer.build(architecture.conventions, drop_rate=row.drop_rate))
            for row in rows
        ]
        stages: list[list[nn.Module]] = [[] for _ in architecture.stages]
        for row, module in built[1:-1]:
            stages[int(row.part.split(".")[1])].append(module)
        self.stem = built[0][1]
        self.stages = nn.ModuleList(nn.Sequential(*layers) for layers in stages)
        self.head = built[-1][1]
        strides = [architecture.stem.stride, *(stage.stride for stage in architecture.stages)]
        # The last stage before each further stride, and the last of all, is a tap.
        self._taps = [i for i in range(len(strides)) if i + 1 == len(strides) or strides[i + 1] > 1]

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(x)

    def features(self, x: Tensor) -> list[Tensor]:
        """The last map at each stride, finest first, for dense heads."""
        x = self.stem(x)
        maps = [x]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return [maps[i] for i in self._taps]


def initialise(network: nn.Module) -> None:
    """Convolutions normal with std sqrt(2 / fan_out), fan_out = k * k * C_out / groups.

    For a depthwise kernel that is sqrt(2) / k, as in TensorFlow, where torchvision's fan_out
    ignores the groups. Linear layers uniform within 1/sqrt(classes), biases 0
    (tensorflow/tpu, efficientnet_model.py).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        elif isinstance(module, nn.Linear):
            bound = 1.0 / math.sqrt(module.out_features)
            nn.init.uniform_(module.weight, -bound, bound)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
