"""The tensors of a module as a runtime for small devices keeps them: one a step, with its inputs.

What is one step and what is none follows ExecuTorch's Cortex-M operators: batch norm is folded into
the convolution before it; ReLU and ReLU6 are part of the convolution, linear layer or addition
before them, and behind a batch norm that stands alone a step of their own; SiLU and sigmoid are
steps too, through a table. Additions, products and concatenations write to a tensor of their own.
Identity, dropout and the flattening of a map of one pixel are no step.
"""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from search_spaces.blocks.convolution import SameConv2d
from search_spaces.heads.head import fitted, framed
from search_spaces.heads.one_stage import OneStage
from search_spaces.heads.two_stage import TwoStage

_NO_STEP = (nn.Identity, nn.Dropout)
_WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_POOLS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_RECTIFIERS = (nn.ReLU, nn.ReLU6)
_SAME_SHAPE = (
    *(nn.BatchNorm2d, nn.GroupNorm, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Sigmoid, nn.Identity),
    nn.Dropout,
)
_VIEWS = (torch.flatten, "flatten", "view", "reshape")
_SUMS = (operator.add, torch.add)


@dataclass(frozen=True)
class Step:
    """One tensor: its shape without the batch, and the steps that it is made from."""

    shape: tuple[int, ...]
    inputs: tuple[int, ...]
    joins: bool = False  # a concatenation: its channels are the sum of its inputs'
    times: int = 1  # how many there are: of an image one, of its regions as many as they are
    scratch: tuple[int, int] = (0, 0)  # bytes of CMSIS-NN's kernel: without, with DSP instructions
    floats: int = 0  # float32 copies of its inputs, where ExecuTorch's quantiser leaves it out


@dataclass(frozen=True)
class Weights:
    """Of one operator: elements of its weights, its output channels, whether it has a bias."""

    elements: int
    channels: int
    bias: bool


@dataclass(frozen=True)
class MemoryGraph:
    """The steps in the order of execution, the input first; which one is the output; the weights.

    Batch norms that stand alone and group norms have two weights a channel and no output channels.
    """

    steps: tuple[Step, ...]
    output: int
    weights: tuple[Weights, ...]


def trace_graph(module: nn.Module, shape: tuple[int, ...]) -> MemoryGraph:
    """The graph of `module` in eval mode for one image of `shape` (C, H, W), without computing."""
    module = module.eval().to("meta")
    graph = _Tracer().trace(module)
    traced = fx.GraphModule(module, graph)
    _Shapes(traced).run(torch.zeros(1, *shape, device="meta"))
    return _Reader(dict(module.named_modules())).read(graph)


def trace_head(
    module: nn.Module, maps: Sequence[tuple[int, ...]], size: tuple[int, int]
) -> MemoryGraph:
    """The graph of a dense head for maps of these shapes (C, H, W) and an image of `size`.

    That of a detector ends before its scores become boxes.
    """
    whole = _Headed(module.eval().to("meta"), len(maps), size)
    graph = _Tracer().trace(whole)
    traced = fx.GraphModule(whole, graph)
    _Shapes(traced).run([torch.zeros(1, *shape, device="meta") for shape in maps])
    return _Reader(dict(whole.named_modules())).read(graph)


class _Headed(nn.Module):
    """A dense head as a module of one argument, so that torch.fx can trace it."""

    def __init__(self, head: nn.Module, count: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.head, self.count, self.size = head, count, size

    def forward(self, maps: list[torch.Tensor]) -> Any:
        """The head's scores, or those of a detector, a map each."""
        read = [maps[i] for i in range(self.count)]
        if isinstance(self.head, OneStage | TwoStage):
            return self.head.planes(read)
        return self.head(read, self.size)


class _Tracer(fx.Tracer):
    """Convolutions with TensorFlow's padding are one step too, as in TensorFlow Lite."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one step."""
        return isinstance(m, SameConv2d) or super().is_leaf_module(m, module_qualified_name)


class _Shapes(fx.Interpreter):
    """Notes each node's shape. What keeps the shape is not run: norms take 17 ms on meta."""

    def run_node(self, n: fx.Node) -> Any:
        """The node's value."""
        value = super().run_node(n)
        if isinstance(value, torch.Tensor):
            n.meta["shape"], n.meta["times"] = (
                tuple(value.shape[1:]),
                len(value) if value.dim() else 1,
            )
        return value

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """The module's output, or its input where that has the same shape."""
        if isinstance(self.fetch_attr(target), _SAME_SHAPE):
            return args[0]
        return super().call_module(target, args, kwargs)


class _Reader:
    """Reads a graph whose nodes know their shapes."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self.modules = modules
        self.steps: list[Step] = []
        self.rectifies: set[int] = set()  # steps that a rectifier can be part of
        self.weights: dict[int, Weights] = {}
        self.step_of: dict[fx.Node, int] = {}
        self.fed: set[fx.Node] = set()  # what comes from the input; the rest is constant

    def read(self, graph: fx.Graph) -> MemoryGraph:
        """Every node in turn."""
        output = 0
        for node in graph.nodes:
            if node.op == "placeholder" or self.fed.intersection(node.all_input_nodes):
                self.fed.add(node)
            if node.op == "output":
                output = self._end(node)
            elif "shape" in node.meta and node in self.fed:
                self._note(node)
        return MemoryGraph(tuple(self.steps), output, tuple(self.weights.values()))

    def _end(self, node: fx.Node) -> int:
        """The step of the output. Several live until a last one, which takes nothing itself."""
        ends = [self.step_of[other] for other in node.all_input_nodes]
        if len(ends) > 1:
            self.steps.append(Step((0,), tuple(ends)))
            return len(self.steps) - 1
        return ends[0]

    def _note(self, node: fx.Node) -> None:
        before = [other for other in node.all_input_nodes if other in self.step_of]
        module = self.modules[str(node.target)] if node.op == "call_module" else None
        if before and self._is_part(node, module, before[0]):
            self.step_of[node] = self.step_of[before[0]]
            return
        number = len(self.steps)
        shape = node.meta["shape"]
        inputs = tuple(dict.fromkeys(self.step_of[other] for other in before))
        self.steps.append(
            Step(
                shape,
                inputs,
                joins=node.target is torch.cat,
                times=node.meta["times"],
                scratch=_scratch(node, module),
                floats=_floats(node, module),
            )
        )
        self.step_of[node] = number
        if node.target in _SUMS or isinstance(module, _WEIGHTED):
            self.rectifies.add(number)
        if isinstance(module, _WEIGHTED):
            self.weights[number] = Weights(module.weight.numel(), shape[0], module.bias is not None)
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            self.weights[number] = Weights(2 * shape[0], 0, False)

    def _is_part(self, node: fx.Node, module: Any, before: fx.Node) -> bool:
        """Whether a node writes no tensor of its own."""
        number, alone = self.step_of[before], len(before.users) == 1
        if isinstance(module, nn.Flatten):  # a map of pixels by channel is put in another order
            return math.prod(before.meta["shape"][1:]) == 1
        if isinstance(module, _NO_STEP) or node.target in _VIEWS:
            return True
        if node.target in (fitted, framed):  # what has the size already is taken as it is
            return node.meta["shape"] == before.meta["shape"]
        if isinstance(module, _RECTIFIERS):
            return alone and number in self.rectifies
        made = self.weights.get(number)
        if isinstance(module, nn.BatchNorm2d) and alone and made and made.channels:
            self.weights[number] = Weights(made.elements, made.channels, True)
            return True
        return False


def _scratch(node: fx.Node, module: Any) -> tuple[int, int]:
    """Bytes of scratch that CMSIS-NN's kernel needs on a core without and with DSP instructions.

    What its `..._get_buffer_size` functions return: columns of int16 over all input channels,
    groups or not, and with DSP instructions a pool's sums of int32.
    """
    if isinstance(module, _POOLS) or node.target == "mean":
        return 0, 4 * int(node.all_input_nodes[0].meta["shape"][0])
    if not isinstance(module, nn.Conv2d):
        return 0, 0
    column = math.prod(module.kernel_size) * module.in_channels
    if module.groups == module.in_channels:  # depthwise, as of a grey image
        plain = module.kernel_size == (3, 3) or module.dilation != (1, 1)
        return 0, 0 if plain or module.out_channels > module.in_channels else 2 * column
    needed = 0 if module.kernel_size == (1, 1) else 4 * column
    return needed, needed


def _floats(node: fx.Node, module: Any) -> int:
    """Float32 copies of its input where ExecuTorch's quantiser leaves an operator in float32."""
    if isinstance(module, nn.AdaptiveAvgPool2d):  # to more than a pixel: the second is in its order
        return 2 if math.prod(node.meta["shape"][1:]) > 1 else 0
    with_number = node.target in (*_SUMS, operator.sub) and len(node.all_input_nodes) == 1
    return int(with_number or isinstance(module, nn.BatchNorm2d | nn.GroupNorm))
