"""fvcore's trace of one module: what each operator costs, and the size of the map it makes."""

import logging
import math
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

with warnings.catch_warnings():  # fvcore decorates with torch.jit.script, which is deprecated
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.jit_handles import conv_flop_jit, get_shape, linear_flop_jit, matmul_flop_jit

Count = Callable[[list[Any], list[Any]], Any]

# Operators that make FLOPs, and fvcore's count of each. Linear layers within a matmul are its own.
_HANDLES: dict[str, tuple[str, Count]] = {
    "aten::_convolution": ("conv", conv_flop_jit),
    "aten::linear": ("linear", linear_flop_jit),
    "aten::matmul": ("matmul", matmul_flop_jit),
}


@dataclass(frozen=True)
class Operator:
    """One call: its multiply-adds, and for a convolution the elements and side of its output."""

    name: str  # conv, linear, matmul
    flops: int
    activations: int
    side: int  # pixels; 1 without a map


@dataclass(frozen=True)
class Trace:
    """The operators and sizes of one forward pass of a module."""

    operators: tuple[Operator, ...]
    weights: tuple[int, ...]  # elements of each trainable tensor
    output_shape: tuple[int, ...]  # without the batch: (C, H, W), or (classes,) for a head


def trace_operators(module: nn.Module, shape: tuple[int, ...]) -> Trace:
    """Trace `module` in eval mode on one input of `shape` (C, H, W)."""
    operators: list[Operator] = []
    output: list[tuple[int, ...]] = []

    def remember(_module: nn.Module, _inputs: Any, result: Tensor) -> None:
        output.append(tuple(int(side) for side in result.shape[1:]))

    hook = module.register_forward_hook(remember)
    analysis = FlopCountAnalysis(module.eval(), torch.zeros(1, *shape))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    for operator, (name, count) in _HANDLES.items():
        analysis.set_op_handle(operator, _noting(name, count, operators))
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the maps are small: a second thread only waits
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            counts = analysis.by_operator()
    finally:
        torch.set_num_threads(threads)
        hook.remove()
    # fvcore's sum over the graph must equal our handles' sum, or an operator was missed.
    told = sum(operator.flops for operator in operators)
    assert told == sum(int(counts[name]) for name, _ in _HANDLES.values()), (told, counts)
    weights = tuple(p.numel() for p in module.parameters() if p.requires_grad)
    return Trace(tuple(operators), weights, output[0])


def _noting(name: str, count: Count, operators: list[Operator]) -> Count:
    """fvcore's `count`, with each call recorded."""

    def noted(inputs: list[Any], outputs: list[Any]) -> "Counter[str]":
        result = count(inputs, outputs)
        flops = int(sum(result.values()) if isinstance(result, Counter) else result)
        shape = get_shape(outputs[0])
        mapped = name == "conv"
        elements = math.prod(shape) if mapped else 0
        operators.append(Operator(name, flops, elements, int(shape[-1]) if mapped else 1))
        return Counter({name: flops})

    return noted
