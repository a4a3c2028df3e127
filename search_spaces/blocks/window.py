"""Windows that slide over a map in a layer. Map sizes and receptive fields follow from them.

A layer lists its spatial operators as paths, one for each branch: the windows from its input to its
output. An empty path is an identity.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

Padding = Literal["symmetric", "valid", "ceil", "up"]


class Window(NamedTuple):
    """A convolution's or a pool's kernel (rows, columns), its stride and its padding.

    `symmetric` gives ceil(n / stride) pixels (TensorFlow's SAME as well), `valid` drops pixels that
    fill no whole window, `ceil` lets the last window reach over the edge, as Caffe's pools do.
    `up` is a transposed convolution: it gives n * stride pixels.
    """

    kernel: tuple[int, int]
    stride: int = 1
    padding: Padding = "symmetric"

    def output_size(self, size: int) -> int:
        """The side of the output map; ValueError if the window does not fit."""
        if self.padding == "up":
            return size * self.stride
        if self.stride > size:
            raise ValueError(
                f"stride {self.stride} must not exceed the feature map, which is {size} px there"
            )
        if self.padding == "symmetric":
            return -(-size // self.stride)
        kernel = max(self.kernel)
        if kernel > size:
            raise ValueError(
                f"a {kernel} x {kernel} window without padding must fit the feature map, "
                f"which is {size} px there"
            )
        room = size - kernel
        return (room if self.padding == "valid" else room + self.stride - 1) // self.stride + 1


Path = tuple[Window, ...]


def square(kernel: int, stride: int = 1, padding: Padding = "symmetric") -> Window:
    """A window with equal rows and columns."""
    return Window((kernel, kernel), stride, padding)


def dilated(kernel: int, dilation: int) -> int:
    """The side of a kernel whose elements are `dilation` pixels apart."""
    return (kernel - 1) * dilation + 1


def sizes_along(path: Path, size: int) -> list[int]:
    """Sides of the maps behind each window of `path`, the input's first."""
    sizes = [size]
    for window in path:
        sizes.append(window.output_size(sizes[-1]))
    return sizes


def reach(paths: Iterable[Path], *, jump: int) -> tuple[int, int]:
    """How far a layer widens the receptive field in pixels of the image, and its output's jump.

    `jump` is the distance in the image between two neighbours on the layer's input. A window of k
    widens by (k - 1) jumps and multiplies the jump by its stride; the widest path counts.
    """
    widest, behind = 0, jump
    for path in paths:
        for side in (0, 1):
            step, grown = jump, 0
            for window in path:
                if window.padding == "up":  # an output pixel sees this many input pixels
                    grown += (-(-window.kernel[side] // window.stride) - 1) * step
                    step //= window.stride
                    continue
                grown += (window.kernel[side] - 1) * step
                step *= window.stride
            widest, behind = max(widest, grown), max(behind, step)
    return widest, behind
