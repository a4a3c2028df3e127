"""ExecuTorch's programs (.pte) for phones and boards: float, and int8 by its XNNPACK quantiser.

A program takes one image at a time: its memory is planned when it is written, so one for many
images would need as much more on the device.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

FILE = "model.pte"
INT8 = "model.int8.pte"


def write_pte(network: nn.Module, example: Tensor, path: Path) -> None:
    """A float32 program of one image (1, C, S, S), its layers run by XNNPACK where it has them."""
    path.write_bytes(_program(network.eval(), example))


def quantised_pte(network: nn.Module, example: Tensor, images: Iterable[Tensor]) -> bytes:
    """The program in int8: weights by channel, maps by tensor with the ranges that `images` give.

    `images` are batches (N, C, S, S) as the network takes them.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    rule = get_symmetric_quantization_config(is_per_channel=True)
    with torch.no_grad():
        traced = torch.export.export(network.eval(), (example[:1],)).module()
        watched = prepare_pt2e(traced, XNNPACKQuantizer().set_global(rule))
        for batch in images:
            for image in torch.split(batch, 1):
                watched(image)
        return _program(convert_pt2e(watched), example)


def pte_run(file: Path) -> Callable[[Tensor], Tensor]:
    """The program's scores of a batch (N, C, S, S), one image after the other, by ExecuTorch."""
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(str(file)).load_method("forward")
    assert method is not None
    return lambda batch: torch.cat(
        [method.execute([one.contiguous()])[0].clone() for one in torch.split(batch, 1)]
    )


def _program(network: nn.Module, example: Tensor) -> bytes:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    with torch.no_grad():
        exported = torch.export.export(network, (example[:1],))
    edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    return bytes(edge.to_executorch().buffer)
