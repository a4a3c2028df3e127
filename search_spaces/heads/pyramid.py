"""Feature pyramids as modules: from a body's maps to maps of one width, a level for each stride.

Lin et al., arXiv:1612.03144, as in torchvision.
"""

from typing import Literal

from torch import Tensor, fx, nn
from torch.nn import functional

from search_spaces.heads.head import fitted

Beyond = Literal["convolution", "max_pool"]


# torch.fx cannot trace what looks at sizes; it records the call as one step.
fx.wrap("fitted")


class Neck(nn.Module):
    """Maps of the body, finest first, -> maps of `out_channels`, one for each of `levels`."""

    lateral: list[int]  # the levels at a stride of the body

    def __init__(self, levels: tuple[int, ...], out_channels: int) -> None:
        super().__init__()
        self.levels = levels
        self.out_channels = out_channels


class Pyramid(Neck):
    """Maps, finest first, -> maps of `out_channels`, one a stride of `levels`, finest first.

    The layers are `lateral_<stride>` (1 x 1) for each map of the body, `level_<stride>` (3 x 3) for
    each level. Without the latter a level of the body is the sum, a larger one a max-pool.
    """

    def __init__(
        self, layers: dict[str, nn.Module], levels: tuple[int, ...], out_channels: int
    ) -> None:
        super().__init__(levels, out_channels)
        self.layers = nn.ModuleDict(layers)
        self.lateral = [stride for stride in levels if f"lateral_{stride}" in layers]
        self.beyond = [stride for stride in levels if stride not in self.lateral]

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The levels, finest first."""
        found: list[Tensor] = []
        summed: Tensor | None = None
        for stride, x in zip(reversed(self.lateral), reversed(maps), strict=True):
            x = self.layers[f"lateral_{stride}"](x)
            if summed is not None:
                x = x + fitted(summed, (x.shape[-2], x.shape[-1]), "nearest")
            summed = x
            found.insert(
                0, self.layers[name](x) if (name := f"level_{stride}") in self.layers else x
            )
        for i, stride in enumerate(self.beyond):
            found.append(self._further(found[-1], stride, first=i == 0))
        return found

    def _further(self, x: Tensor, stride: int, *, first: bool) -> Tensor:
        """The next level after `x`, half as large."""
        if (name := f"level_{stride}") in self.layers:
            return self.layers[name](x if first else functional.relu(x))
        return functional.max_pool2d(x, kernel_size=1, stride=2)
