"""README.md of an exported folder: what the network is, what was measured, how it is used."""

from typing import Any

from experiments.export.int8 import EXACT_SUMS
from experiments.export.int8 import FILE as INT8
from experiments.export.model import Model
from experiments.export.pte import INT8 as PTE_INT8
from experiments.training.metrics import Metric
from search_spaces.heads import Task
from search_spaces.records import dump_yaml

_TRAINED_WITH = ("optimizer", "learning_rate", "batch_size", "weight_decay", "label_smoothing")
_FITS = {
    "crop": "the centre square",
    "stretch": "the whole image, stretched",
    "pad": "the whole image, padded with black",
    "patches": "pieces of the whole image, padded with black",
}
_DOES: dict[Task, str] = {
    "classification": "An image classifier of {} classes.",
    "segmentation": "A network that tells the class of each pixel, of {} classes.",
    "detection": "A detector, which finds boxes of {} classes.",
}
_TAGS: dict[Task, str] = {  # the Hub's
    "classification": "image-classification",
    "segmentation": "image-segmentation",
    "detection": "object-detection",
}
_LINES: dict[Task, tuple[str, ...]] = {  # of use
    "classification": (
        "from experiments.export import load_exported",
        "",
        'model = load_exported("FOLDER")',
        "inputs = model.preprocessing(images)  # uint8 (N, C, H, W), or an image of Pillow's",
        "scores = model.network(inputs)",
        "",
        "import timm",
        "import experiments.export.timm  # registers scaler_network",
        'network = timm.create_model("local-dir:FOLDER", pretrained=True)',
    ),
    "segmentation": (
        "from experiments.export import load_exported",
        "",
        'model = load_exported("FOLDER")',
        "inputs = model.preprocessing(images)  # uint8 (N, C, H, W), or an image of Pillow's",
        "scores = model.network(inputs)",
        "classes = scores.argmax(1)  # of each pixel, (N, size, size)",
    ),
    "detection": (
        "from experiments.export import load_exported, predict",
        'table = predict("FOLDER", ["photo.jpg"])  # boxes in pixels of the photo; and overlays',
        'model = load_exported("FOLDER")',
        "inputs = model.preprocessing(images)  # uint8 (N, C, H, W), or an image of Pillow's",
        "found = model.network(inputs)  # a dict an image:",
        'found[0]["boxes"], found[0]["labels"], found[0]["scores"]  # in pixels of the input',
    ),
}
_PTE = (
    "from executorch.runtime import Runtime\n"
    'method = Runtime.get().load_program("FOLDER/{}").load_method("forward")\n'
    "(scores,) = method.execute([inputs[:1]])  # one image at a time"
)
_FILES = {  # how each is run
    "model.pt2": (
        "import torch\n"
        'program = torch.export.load("FOLDER/model.pt2").module()\n'
        "scores = program(inputs)"
    ),
    "model.onnx": (
        "import onnxruntime\n"
        'session = onnxruntime.InferenceSession("FOLDER/model.onnx")\n'
        '(scores,) = session.run(None, {"images": inputs.numpy()})'
    ),
    INT8: (
        "import onnxruntime\n"
        "options = onnxruntime.SessionOptions()\n"
        f'options.add_session_config_entry("{EXACT_SUMS[0]}", "{EXACT_SUMS[1]}")  # on any x86\n'
        f'session = onnxruntime.InferenceSession("FOLDER/{INT8}", options)\n'
        '(scores,) = session.run(None, {"images": inputs.numpy()})'
    ),
    "model.pte": _PTE.format("model.pte"),
    PTE_INT8: _PTE.format(PTE_INT8),
}
_BOTH = "scores, boxes ="
_PIECE = (
    "# The files take pieces of SIZE pixels; experiments.training.windows covers all with them.\n"
    "inputs = inputs[:, :, :SIZE, :SIZE]"
)


def model_card(model: Model, *, metrics: dict[str, Any], files: list[str]) -> str:
    """README.md of an exported folder, with the Hugging Face Hub's header."""
    name, task = model.architecture.name, model.architecture.task
    timm = task == "classification"
    header = {
        "tags": [_TAGS[task], *(["timm"] if timm else [])],
        "pipeline_tag": _TAGS[task],
        **({"library_name": "timm"} if timm else {}),
    }
    parts = [
        f"---\n{dump_yaml(header)}---\n",
        f"# {name}\n",
        f"{_DOES[task].format(model.num_classes)} {model.origin}\n",
        _measured(metrics, model.metric, counted=model.architecture.counted),
        _training(model),
        _input(model),
        _use(model, files),
        "## Architecture\n\nA row a stage, from `architecture.yaml`.\n",
        f"```yaml\n{model.architecture.to_yaml()}```\n",
    ]
    return "\n".join(part for part in parts if part)


def _measured(metrics: dict[str, Any], metric: Metric, *, counted: str) -> str:
    name, told = metric.name, f"{metric.label} on the test part"
    names = {
        "test_accuracy": f"{told}, looked at once",
        "accuracy": f"{metric.label} on the validation part, which choices were made on",
        "flops": f"FLOPs (multiply-adds of one image{counted and f', at {counted}'})",
        "params": "parameters",
        "activations": "activations",
        "peak_ram": "bytes of RAM as int8: its maps at the worst moment",
        "arena": "bytes of ExecuTorch's arena on a Cortex-M4, equal maps in order, int8 image",
        "flash": "bytes of flash as int8",
        f"onnx_test_{name}": f"{told} in float32, by ONNX Runtime",
        f"int8_test_{name}": f"{told} in int8, by ONNX Runtime",
        f"pte_int8_test_{name}": f"{told} in int8, by ExecuTorch",
        f"int8_test_{name}_before": f"{told} in int8 before fine-tuning",
        "int8_fine_tuning_epochs": "epochs of quantisation-aware fine-tuning of the int8 file",
        "onnx_bytes": "bytes of the ONNX file in float32, batch norm folded",
        "int8_bytes": "bytes of `model.int8.onnx`",
        "pte_int8_bytes": "bytes of `model.int8.pte`",
        "int8_calibration_images": "training images that gave the ranges of int8",
    }
    has = {key: metrics[key] for key in names if metrics.get(key) is not None}
    rows = [f"| {names[key]} | {_shown(value)} |" for key, value in has.items()]
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


def _use(model: Model, files: list[str]) -> str:
    task = model.architecture.task
    run = [_FILES[file] for file in files if file in _FILES]
    if task == "detection":
        run = [text.replace("(scores,)", "scores").replace("scores =", _BOTH) for text in run]
    if run and model.preprocessing.fit == "patches":
        run = [_PIECE.replace("SIZE", str(model.preprocessing.size)), *run]
    lines = [*_LINES[task], *(f"\n{text}" for text in run)]
    code = "## Use\n\n```python\n" + "\n".join(lines).rstrip() + "\n```\n"
    tells = {"classify.py": "an image's class", "segment.py": "the class of each pixel"}
    for name in [name for name in tells if name in files]:
        code += (
            f"\n`{name}` tells {tells[name]} by the file beside it; it needs none of this "
            f"package:\n\n```bash\npython {name} photo.jpg\n```\n"
        )
    if task != "detection" or not files:
        return code
    return (
        f"{code}\nScores (N, places, classes) and boxes (N, places, 4) in pixels of the input are "
        f"those of every place. `detect.py` chooses the best of them; it needs none of this "
        f"package:\n\n```bash\npython detect.py photo.jpg\n```\n"
    )
