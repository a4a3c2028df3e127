"""Exchange formats: torch.export and ONNX for any number of images, ExecuTorch for one."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from experiments.export.pte import FILE, write_pte
from search_spaces.architecture import Architecture
from search_spaces.folding import fold_batch_norm as fold_batch_norm  # of the package's names
from search_spaces.heads.fpn import PyramidHead
from search_spaces.heads.given import Given
from search_spaces.heads.proposals import Proposals
from search_spaces.records import InputError, suggest

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
    "pte": (FILE, write_pte),
}
_PACKAGES = {
    "torch": (),
    "onnx": ("onnx", "onnxscript"),
    "int8": ("onnx", "onnxscript", "onnxruntime"),
    "pte": ("executorch", "torchao"),
}


def check_format(name: str) -> None:
    """Raise InputError for an unknown format, or one whose packages are missing."""
    if name not in FORMATS:
        raise InputError(f"unknown format '{name}'; {suggest(name, FORMATS)}")
    check_packages(name)


def check_detector(architecture: Architecture, formats: Sequence[str]) -> None:
    """Raise InputError for an exchange format that a detector cannot have."""
    head = architecture.head
    if not formats or architecture.task != "detection":
        return
    assert isinstance(head, PyramidHead)
    if isinstance(head.predictor, Proposals | Given):
        raise InputError(
            f"exchange formats are for detectors in one stage (points, anchors), but "
            f"'{architecture.name}' looks at regions ({head.predictor.kind}); leave --format "
            f"out: the folder loads with experiments.export.load_exported"
        )
    if "pte" in formats:
        raise InputError(
            f"'pte' is for networks that score classes or pixels, but '{architecture.name}' finds "
            f"boxes; take onnx or torch"
        )


def check_packages(name: str) -> None:
    """Raise InputError where the packages are missing that a format, or `int8`, needs."""
    missing = [package for package in _PACKAGES[name] if find_spec(package) is None]
    if missing:
        extra = "executorch" if name == "pte" else "export"
        raise InputError(
            f"'{name}' needs {' and '.join(missing)}; "
            f"install the extra: pip install 'scaler-nas[{extra}]'"
        )
