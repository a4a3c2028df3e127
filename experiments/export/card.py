"""The model card: what the network is, on what data and how long it was trained."""

from typing import Any

from experiments.export.model import Model
from search_spaces.records import dump_yaml

_TRAINED_WITH = ("optimizer", "learning_rate", "batch_size", "weight_decay", "label_smoothing")


_FITS = {
    "crop": "the centre square",
    "stretch": "the whole image, stretched",
    "pad": "the whole image, padded with black",
}


def model_card(model: Model, *, metrics: dict[str, Any], files: list[str]) -> str:
    """README.md of an exported folder, with the Hugging Face Hub's header."""
    name = model.architecture.name
    header = {
        "tags": ["image-classification", "timm"],
        "pipeline_tag": "image-classification",
        "library_name": "timm",
    }
    parts = [
        f"---\n{dump_yaml(header)}---\n",
        f"# {name}\n",
        f"An image classifier of {model.num_classes} classes. {model.origin}\n",
        _measured(metrics),
        _training(model),
        _input(model),
        _use(files),
        "## Architecture\n\nA row a stage, from `architecture.yaml`.\n",
        f"```yaml\n{model.architecture.to_yaml()}```\n",
    ]
    return "\n".join(part for part in parts if part)


def _measured(metrics: dict[str, Any]) -> str:
    names = {
        "test_accuracy": "accuracy on the test part, looked at once",
        "accuracy": "accuracy on the validation part, which choices were made on",
        "flops": "FLOPs (multiply-adds of one image)",
        "params": "parameters",
        "activations": "activations",
    }
    rows = [f"| {told} | {_shown(metrics[key])} |" for key, told in names.items() if key in metrics]
    return "| measured | |\n|---|---:|\n" + "\n".join(rows) + "\n"


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


def _use(files: list[str]) -> str:
    other = {
        "model.pt2": 'torch.export.load("model.pt2").module()(inputs)',
        "model.onnx": (
            'onnxruntime.InferenceSession("model.onnx").run(None, {"images": inputs.numpy()})'
        ),
    }
    lines = [
        "from experiments.export import load_exported",
        'model = load_exported("FOLDER")',
        "scores = model.network(model.preprocessing(images))  # uint8 (N, C, H, W)",
        "",
        "import timm",
        "import experiments.export.timm  # registers scaler_network",
        'network = timm.create_model("local-dir:FOLDER", pretrained=True)',
        *(["", *(other[file] for file in files if file in other)] if other else []),
    ]
    return "## Use\n\n```python\n" + "\n".join(lines).rstrip() + "\n```\n"
