"""An exported network on disk, in the layout of timm and the Hugging Face Hub, with its card."""

import json
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import save
from torch import nn

from experiments.config.files import replace_file, write_json, write_text
from experiments.data.images import ImageData
from experiments.export import int8
from experiments.export.calibration import check_int8
from experiments.export.card import model_card
from experiments.export.classifying import classify_code
from experiments.export.fine_tuning import check_fine_tuning, fine_tuned
from experiments.export.formats import FORMATS, check_detector, check_format, write_onnx
from experiments.export.model import Model, Preprocessing
from experiments.export.pte import INT8
from experiments.export.segmenting import segment_code
from experiments.training.checkpoint import load_weights
from scaler.arena import measure_arena
from scaler.cost import device_cost
from search_spaces.architecture import Architecture
from search_spaces.folding import fold_batch_norm
from search_spaces.network import DetectionNetwork, Network, build_network
from search_spaces.records import InputError, Record, read_mapping

# What timm calls the ways to a square. Its border has the mean's colour, ours is black.
_TIMM_CROP_MODES = {"crop": "center", "stretch": "squash", "pad": "border"}  # of classifiers
ENTRY_POINT = "scaler_network"  # the name in timm's registry
# Beside ONNX's and torch.export's files.
DETECT, CLASSIFY, SEGMENT = "detect.py", "classify.py", "segment.py"


class ModelArguments(Record):
    """What config.json gives our entry point in timm, in timm's names."""

    architecture: Architecture
    num_classes: int
    in_chans: int
    folded: bool = False


@dataclass(frozen=True, eq=False)
class Exported:
    """What a folder holds: a network in eval mode, and what to give it."""

    network: Network
    architecture: Architecture
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    metrics: dict[str, Any]
    num_classes: int
    colours: tuple[tuple[int, int, int], ...] = ()  # of the classes, where masks had some

    @property
    def score(self) -> float | None:
        """The least score of boxes to tell, where the training chose one."""
        return self.metrics.get("score")


def write_exported(
    model: Model,
    folder: Path,
    *,
    formats: Sequence[str] = (),
    folded: bool = False,
    calibration: ImageData | None = None,
    fine_tune: int = 0,
) -> list[Path]:
    """Write `model` into `folder`; return the files. `formats` are names in FORMATS.

    With `folded`, batch norms are folded into convolutions. With `calibration` data the network is
    written in int8 too, as `model.int8.onnx` (with the format pte as `model.int8.pte`), and its
    metric on their test part is measured; the ONNX file's is trained on for `fine_tune` epochs
    before, which changes no other file. Beside ONNX's and torch.export's files stands one that
    tells of images by them: `classify.py`, `segment.py` or `detect.py`. An export that is there
    already is written over.

    Raises InputError before anything is written for an unknown format, for one that a detector
    cannot have, for fine-tuning on other images than the training's, or for a folder that holds
    anything else.
    """
    if calibration is not None:
        check_int8(model)
        if fine_tune:
            check_fine_tuning(model, calibration)
    for name in formats:
        check_format(name)
    check_detector(model.architecture, formats)
    check_folder(folder)
    network = deepcopy(model.network).eval()
    if folded:
        fold_batch_norm(network)
    made = _extra_files(model, network, formats)
    metrics = _metrics(model)
    if calibration is not None and ("onnx" in formats or "pte" not in formats):
        made[int8.FILE], measured = _quantised(model, calibration, fine_tune)
        metrics |= measured
    if calibration is not None and "pte" in formats:
        made[INT8], measured = int8.quantise_pte(model, calibration)
        metrics |= measured
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    made["model.safetensors"] = save(weights, metadata={"format": "pt"})
    write_text(folder / "architecture.yaml", model.architecture.to_yaml())
    write_json(folder / "preprocessing.json", model.preprocessing.model_dump(mode="json"))
    write_json(folder / "metrics.json", metrics)
    extra = [*(file for file, _ in FORMATS.values()), int8.FILE, INT8, DETECT, CLASSIFY, SEGMENT]
    names = [file for file in extra if file in made]
    write_text(folder / "README.md", model_card(model, metrics=metrics, files=names))
    for file, content in made.items():
        replace_file(folder / file, partial(_fill, content=content))
    for file in extra:
        if file not in made:  # of an export with other weights
            (folder / file).unlink(missing_ok=True)
    write_json(folder / "config.json", _config(model, folded=folded))
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def load_exported(folder: str | Path) -> Exported:
    """An exported network, with the very weights it was exported with.

    Raises InputError where the folder is no export, or is damaged.
    """
    path = Path(folder)
    config = _read_config(path)
    if config is None:
        raise InputError(f"'{folder}' is not an export; name a folder that `scaler export` made")
    source = str(path / "config.json")
    arguments = ModelArguments.parse(config.get("model_args"), source=source)
    architecture = arguments.architecture
    network = build_network(
        architecture, num_classes=arguments.num_classes, in_channels=arguments.in_chans
    )
    if arguments.folded:
        fold_batch_norm(network)
    load_weights(path / "model.safetensors", network)
    assert isinstance(network, Network)
    preprocessing = read_mapping(path / "preprocessing.json")
    return Exported(
        network=network.eval(),
        architecture=architecture,
        preprocessing=Preprocessing.parse(preprocessing, source=str(path / "preprocessing.json")),
        classes=tuple(config.get("label_names", ())),
        metrics=read_mapping(path / "metrics.json"),
        num_classes=arguments.num_classes,
        colours=tuple((r, g, b) for r, g, b in config.get("label_colours", ())),
    )


def check_folder(folder: Path) -> None:
    """Raise InputError where `folder` holds anything but an export."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"'{folder}' is a file; name a folder with -o")
    if folder.is_dir() and any(folder.iterdir()) and _read_config(folder) is None:
        raise InputError(f"'{folder}' is not empty and not an export; name a new folder with -o")


def is_exported(folder: Path) -> bool:
    """Whether `scaler export` wrote it."""
    return _read_config(folder) is not None


def _read_config(folder: Path) -> dict[str, Any] | None:
    """The folder's config.json, None where it is not one of ours."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ours = isinstance(config, dict) and config.get("architecture") == ENTRY_POINT
    return config if ours else None


def _fill(file: BinaryIO, *, content: bytes) -> None:
    file.write(content)


def _extra_files(model: Model, network: Network, formats: Sequence[str]) -> dict[str, bytes]:
    """The exchange formats' contents by file, made before anything in the folder is touched."""
    made, example = {}, _example(model.preprocessing)
    given: nn.Module = network
    if formats and isinstance(network, DetectionNetwork):
        from experiments.export.detecting import EveryPlace, detect_code  # imports torchvision

        given = EveryPlace(network, example)
        made[DETECT] = detect_code(model, given).encode()
    elif set(formats) & {"onnx", "torch"}:
        classifies = model.architecture.task == "classification"
        file, code = (CLASSIFY, classify_code) if classifies else (SEGMENT, segment_code)
        made[file] = code(model).encode()
    with tempfile.TemporaryDirectory() as scratch:
        for name in dict.fromkeys(formats):
            file, write = FORMATS[name]
            path = Path(scratch) / file
            write(given, example, path)
            made[file] = path.read_bytes()
    return made


def _quantised(model: Model, data: ImageData, fine_tune: int) -> tuple[bytes, dict[str, Any]]:
    """The ONNX file in int8, with batch norm folded, and what was measured of it."""
    network = deepcopy(model.network).eval()
    fold_batch_norm(network)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "float.onnx"
        write_onnx(network, _example(model.preprocessing), path)
        content, metrics = int8.quantise(model, path, data)
        if fine_tune:
            metric = model.metric.name
            before = metrics[f"int8_test_{metric}"]
            write_onnx(
                fine_tuned(model, data, epochs=fine_tune), _example(model.preprocessing), path
            )
            exact = {key: metrics[key] for key in ("onnx_bytes", f"onnx_test_{metric}")}
            content, metrics = int8.quantise(model, path, data)
            metrics |= {
                **exact,
                f"int8_test_{metric}_before": before,
                "int8_fine_tuning_epochs": fine_tune,
            }
        int8.tell(metrics, model.metric)
        return content, metrics


def _example(preprocessing: Preprocessing) -> torch.Tensor:
    """Two images, for a batch of 1 would be taken as fixed."""
    return torch.zeros(2, preprocessing.channels, preprocessing.size, preprocessing.size)


def _metrics(model: Model) -> dict[str, Any]:
    kept = (
        "metric",
        "accuracy",
        "test_accuracy",
        "score",
        "epochs",
        "seed",
        "data",
        "data_name",
        "train_images",
    )
    sizes = {"num_classes": model.num_classes, "in_channels": model.preprocessing.channels}
    arena = measure_arena(model.architecture, **sizes)
    cost = {
        **vars(device_cost(model.architecture, **sizes)),
        "arena": arena and arena.in_order,
    }
    trained = {key: model.training[key] for key in kept if key in model.training}
    return {**trained, **cost, "origin": model.origin}


def _config(model: Model, *, folded: bool) -> dict[str, Any]:
    """config.json as timm writes it for the Hub; `model_args` are our entry point's arguments."""
    p = model.preprocessing
    size = [p.channels, p.size, p.size]
    known = {
        "architecture": ENTRY_POINT,
        "num_classes": model.num_classes,
        "num_features": model.network.num_features,
        **({"label_names": list(model.classes)} if model.classes else {}),
        **({"label_colours": model.colours} if model.colours else {}),
        "model_args": {
            "architecture": model.architecture.model_dump(mode="json", exclude_defaults=True),
            "num_classes": model.num_classes,
            "in_chans": p.channels,
            "folded": folded,
        },
    }
    if model.architecture.task != "classification":  # timm has classifiers alone
        return known
    return {
        **known,
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": size,
            "fixed_input_size": False,
            "interpolation": p.interpolation,
            "crop_pct": 1.0,
            "crop_mode": _TIMM_CROP_MODES[p.fit],
            "mean": list(p.mean),
            "std": list(p.std),
            "num_classes": model.num_classes,
            "pool_size": None,
            "classifier": "head.classifier",
        },
    }
