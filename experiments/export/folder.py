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

from experiments.config.files import replace_file, write_json, write_text
from experiments.data.images import ImageData
from experiments.export import int8
from experiments.export.formats import FORMATS, check_format, fold_batch_norm, write_onnx
from experiments.export.model import Model, Preprocessing, check_task
from experiments.training.checkpoint import load_weights
from experiments.training.metrics import METRICS
from scaler.cost import measure_cost
from search_spaces.architecture import Architecture
from search_spaces.network import Network, build_network
from search_spaces.records import InputError, Record, dump_yaml, read_mapping

# What timm calls the ways to a square. Its border has the mean's colour, ours is black.
_TIMM_CROP_MODES = {"crop": "center", "stretch": "squash", "pad": "border"}
_TRAINED_WITH = ("optimizer", "learning_rate", "batch_size", "weight_decay", "label_smoothing")
_FITS = {
    "crop": "the centre square",
    "stretch": "the whole image, stretched",
    "pad": "the whole image, padded with black",
}
_TIMM_LINES = (
    "",
    "import timm",
    "import experiments.export.timm  # registers scaler_network",
    'network = timm.create_model("local-dir:FOLDER", pretrained=True)',
)
ENTRY_POINT = "scaler_network"  # the name in timm's registry


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


def write_exported(
    model: Model,
    folder: Path,
    *,
    formats: Sequence[str] = (),
    folded: bool = False,
    calibration: ImageData | None = None,
) -> list[Path]:
    """Write `model` into `folder`; return the files. `formats` are names in FORMATS.

    With `folded`, batch norms are folded into convolutions. With `calibration` data the network is
    written in int8 too, as `model.int8.onnx`, and its accuracy on their test part is measured. An
    export that is there already is written over. Raises InputError before anything is written for
    an unknown format, for a network that finds boxes, or for a folder that holds anything else.
    """
    check_task(model.architecture, "classification", "segmentation", what="an export")
    if calibration is not None:
        check_task(model.architecture, "classification", what="int8")
    for name in formats:
        check_format(name)
    check_folder(folder)
    network = deepcopy(model.network).eval()
    if folded:
        fold_batch_norm(network)
    made = _extra_files(network, model.preprocessing, formats)
    metrics = _metrics(model)
    if calibration is not None:
        made[int8.FILE], measured = _quantised(model, calibration)
        metrics |= measured
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    made["model.safetensors"] = save(weights, metadata={"format": "pt"})
    write_text(folder / "architecture.yaml", model.architecture.to_yaml())
    write_json(folder / "preprocessing.json", model.preprocessing.model_dump(mode="json"))
    write_json(folder / "metrics.json", metrics)
    extra = [*(file for file, _ in FORMATS.values()), int8.FILE]
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


def _extra_files(
    network: Network, preprocessing: Preprocessing, formats: Sequence[str]
) -> dict[str, bytes]:
    """The exchange formats' contents by file, made before anything in the folder is touched."""
    made = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in dict.fromkeys(formats):
            file, write = FORMATS[name]
            path = Path(scratch) / file
            write(network, _example(preprocessing), path)
            made[file] = path.read_bytes()
    return made


def _quantised(model: Model, data: ImageData) -> tuple[bytes, dict[str, Any]]:
    """The ONNX file in int8, with batch norm folded, and what was measured of it."""
    network = deepcopy(model.network).eval()
    fold_batch_norm(network)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "float.onnx"
        write_onnx(network, _example(model.preprocessing), path)
        return int8.quantise(model, path, data)


def _example(preprocessing: Preprocessing) -> torch.Tensor:
    """Two images, for a batch of 1 would be taken as fixed."""
    return torch.zeros(2, preprocessing.channels, preprocessing.size, preprocessing.size)


def _metrics(model: Model) -> dict[str, Any]:
    kept = (
        "metric",
        "accuracy",
        "test_accuracy",
        "epochs",
        "seed",
        "data",
        "data_name",
        "train_images",
    )
    cost = measure_cost(
        model.architecture,
        num_classes=model.num_classes,
        in_channels=model.preprocessing.channels,
    )
    trained = {key: model.training[key] for key in kept if key in model.training}
    return {**trained, **vars(cost), "origin": model.origin}


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


def model_card(model: Model, *, metrics: dict[str, Any], files: list[str]) -> str:
    """README.md of an exported folder, with the Hugging Face Hub's header."""
    name = model.architecture.name
    classifies = model.architecture.task == "classification"
    header: dict[str, Any] = {"tags": ["image-segmentation"], "pipeline_tag": "image-segmentation"}
    if classifies:
        header = {
            "tags": ["image-classification", "timm"],
            "pipeline_tag": "image-classification",
            "library_name": "timm",
        }
    does = "An image classifier" if classifies else "A network that tells the class of each pixel,"
    parts = [
        f"---\n{dump_yaml(header)}---\n",
        f"# {name}\n",
        f"{does} of {model.num_classes} classes. {model.origin}\n",
        _measured(metrics),
        _training(model),
        _input(model),
        _use(files, timm=classifies),
        "## Architecture\n\nA row a stage, from `architecture.yaml`.\n",
        f"```yaml\n{model.architecture.to_yaml()}```\n",
    ]
    return "\n".join(part for part in parts if part)


def _measured(metrics: dict[str, Any]) -> str:
    metric = METRICS[metrics.get("metric", "accuracy")].label
    names = {
        "test_accuracy": f"{metric} on the test part, looked at once",
        "accuracy": f"{metric} on the validation part, which choices were made on",
        "flops": "FLOPs (multiply-adds of one image)",
        "params": "parameters",
        "activations": "activations",
        "onnx_test_accuracy": "accuracy on the test part in float32, by ONNX Runtime",
        "int8_test_accuracy": "accuracy on the test part in int8, by ONNX Runtime",
        "onnx_bytes": "bytes of the ONNX file in float32, batch norm folded",
        "int8_bytes": "bytes of `model.int8.onnx`",
        "int8_calibration_images": "training images that gave the ranges of int8",
    }
    rows = [f"| {told} | {_shown(metrics[key])} |" for key, told in names.items() if key in metrics]
    table = "| measured | |\n|---|---:|\n" + "\n".join(rows) + "\n"
    kept = metrics.get("int8_in_float")
    return table + (f"\nComputed in float in the int8 file: {', '.join(kept)}.\n" if kept else "")


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _training(model: Model) -> str:
    recipe = model.training.get("train", {})
    used = [f"- {key}: {recipe[key]}" for key in _TRAINED_WITH if key in recipe]
    classes = [f"- classes: {', '.join(model.classes)}"] if model.classes else []
    if not used and not classes:
        return ""
    return "## Training\n\n" + "\n".join([*used, *classes]) + "\n"


def _input(model: Model) -> str:
    p = model.preprocessing
    told = "" if p.measured else " They are conventional values, not those of training data."
    mean, std = ([round(value, 4) for value in values] for values in (p.mean, p.std))
    return (
        f"## Input\n\n{p.channels} channels, {p.size} x {p.size} pixels ({_FITS[p.fit]}, "
        f"{p.interpolation}, antialiased), scaled to 0 to 1, then normalised with mean {mean} and "
        f"standard deviation {std}.{told}\n"
    )


def _use(files: list[str], *, timm: bool) -> str:
    other = {
        "model.pt2": 'torch.export.load("model.pt2").module()(inputs)',
        "model.onnx": (
            'onnxruntime.InferenceSession("model.onnx").run(None, {"images": inputs.numpy()})'
        ),
        int8.FILE: (
            f'onnxruntime.InferenceSession("{int8.FILE}").run(None, {{"images": inputs.numpy()}})'
        ),
    }
    lines = [
        "from experiments.export import load_exported",
        'model = load_exported("FOLDER")',
        "scores = model.network(model.preprocessing(images))  # uint8 (N, C, H, W)",
        *(
            _TIMM_LINES
            if timm
            else ["classes = scores.argmax(1)  # of each pixel, (N, size, size)"]
        ),
        *(["", *(other[file] for file in files if file in other)] if other else []),
    ]
    return "## Use\n\n```python\n" + "\n".join(lines).rstrip() + "\n```\n"
