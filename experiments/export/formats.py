"""A network in exchange formats, a torch.export program and ONNX, for any number of images."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from search_spaces.records import InputError, suggest

_NAME = "images"  # of the input
_SHAPES = ({0: torch.export.Dim("batch", min=1)},)  # the first dimension may be anything


def write_torch(network: nn.Module, example: Tensor, path: Path) -> None:
    """A program that `torch.export.load(path).module()` runs without this package."""
    with torch.no_grad():
        program = torch.export.export(network.eval(), (example,), dynamic_shapes=_SHAPES)
    torch.export.save(program, path)


def write_onnx(network: nn.Module, example: Tensor, path: Path) -> None:
    """One ONNX file with its weights; input `images`, output `scores`."""
    check_format("onnx")
    program = torch.onnx.export(
        network.eval(),
        (example,),
        dynamo=True,
        dynamic_shapes=_SHAPES,
        verbose=False,
        input_names=[_NAME],
        output_names=["scores"],
    )
    assert program is not None
    program.save(path, external_data=False)


Writer = Callable[[nn.Module, Tensor, Path], None]
FORMATS: dict[str, tuple[str, Writer]] = {  # file, how it is written
    "torch": ("model.pt2", write_torch),
    "onnx": ("model.onnx", write_onnx),
}
_PACKAGES = {"torch": (), "onnx": ("onnx", "onnxscript")}


def check_format(name: str) -> None:
    """Raise InputError for an unknown format, or one whose packages are missing."""
    if name not in FORMATS:
        raise InputError(f"unknown format '{name}'; {suggest(name, FORMATS)}")
    missing = [package for package in _PACKAGES[name] if find_spec(package) is None]
    if missing:
        raise InputError(
            f"format '{name}' needs {' and '.join(missing)}; "
            f"install the extra: pip install 'scaler-nas[export]'"
        )
