"""Exchange formats (torch.export, ONNX) for any number of images, and folded batch norm."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.blocks.convolution import ConvolutionLayer
from search_spaces.heads.fpn import PyramidHead
from search_spaces.heads.proposals import Proposals
from search_spaces.records import InputError, suggest

_PASSED = (nn.Identity, nn.Dropout)  # nothing happens there in eval mode


def fold_batch_norm(network: nn.Module) -> int:
    """Fold every batch norm right behind a convolution, in place; return how many were.

    A folded norm is an identity afterwards, and its convolution has a bias. Norms before their
    convolution, as in pre-activation layers, stay. The network is in eval mode afterwards and
    cannot be trained as before. Which are folded follows from the architecture alone.
    """
    network.eval()
    folded = 0
    for parent in network.modules():
        if not isinstance(parent, nn.Sequential | ConvolutionLayer):
            continue  # elsewhere, children need not run in their order
        children = [(n, c) for n, c in parent.named_children() if not isinstance(c, _PASSED)]
        for (place, convolution), (norm_place, norm) in pairwise(children):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, place, _folded(convolution, norm))
                setattr(parent, norm_place, nn.Identity())
                folded += 1
    return folded


def _folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """y = (conv(x) - mean) / sqrt(var + eps) * weight + bias, as one convolution."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    with torch.no_grad():  # in double precision, so that only the last rounding differs
        factor = norm.weight.double() / (variance.double() + norm.eps).sqrt()
        before: Tensor | float = 0.0 if convolution.bias is None else convolution.bias.double()
        bias = norm.bias.double() + (before - mean.double()) * factor
        weight = convolution.weight.double() * factor.view(-1, 1, 1, 1)
        convolution.weight.copy_(weight)
        convolution.bias = nn.Parameter(bias.to(convolution.weight.dtype))
    return convolution


_NAME = "images"  # of the input
_SHAPES = ({0: torch.export.Dim("batch", min=1)},)  # the first dimension may be anything


def write_torch(network: nn.Module, example: Tensor, path: Path) -> None:
    """A program that `torch.export.load(path).module()` runs without this package."""
    with torch.no_grad():
        program = torch.export.export(network.eval(), (example,), dynamic_shapes=_SHAPES)
    torch.export.save(program, path)


def write_onnx(network: nn.Module, example: Tensor, path: Path) -> None:
    """One ONNX file with its weights; input `images`, output `scores` or what `outputs` names."""
    check_format("onnx")
    program = torch.onnx.export(
        network.eval(),
        (example,),
        dynamo=True,
        dynamic_shapes=_SHAPES,
        verbose=False,
        input_names=[_NAME],
        output_names=list(getattr(network, "outputs", ("scores",))),
    )
    assert program is not None
    program.save(path, external_data=False)


Writer = Callable[[nn.Module, Tensor, Path], None]
FORMATS: dict[str, tuple[str, Writer]] = {  # file, how it is written
    "torch": ("model.pt2", write_torch),
    "onnx": ("model.onnx", write_onnx),
}
_PACKAGES = {
    "torch": (),
    "onnx": ("onnx", "onnxscript"),
    "int8": ("onnx", "onnxscript", "onnxruntime"),
}


def check_format(name: str) -> None:
    """Raise InputError for an unknown format, or one whose packages are missing."""
    if name not in FORMATS:
        raise InputError(f"unknown format '{name}'; {suggest(name, FORMATS)}")
    check_packages(name)


def check_one_stage(architecture: Architecture, formats: Sequence[str]) -> None:
    """Raise InputError for an exchange format of a detector in two stages."""
    head = architecture.head
    if formats and isinstance(head, PyramidHead) and isinstance(head.predictor, Proposals):
        raise InputError(
            f"exchange formats are for detectors in one stage (points, anchors), but "
            f"'{architecture.name}' has two (proposals); leave --format out: the folder loads with "
            f"experiments.export.load_exported"
        )


def check_packages(name: str) -> None:
    """Raise InputError where the packages are missing that a format, or `int8`, needs."""
    missing = [package for package in _PACKAGES[name] if find_spec(package) is None]
    if missing:
        raise InputError(
            f"'{name}' needs {' and '.join(missing)}; "
            f"install the extra: pip install 'scaler-nas[export]'"
        )
