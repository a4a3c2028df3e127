"""A network in whole numbers of 8 bits: ONNX Runtime's static quantisation, and what it costs.

Weights are quantised channel by channel, activations tensor by tensor, with the ranges that the
training images give behind the export's own preprocessing. Batch norm is folded before.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from experiments.config.messages import say, warn
from experiments.config.run_folder import RunFolder
from experiments.config.schema import DataConfig
from experiments.data.images import ImageData, Part
from experiments.data.sources import load_data
from experiments.export.formats import check_packages
from experiments.export.model import Model, Preprocessing, check_task
from experiments.export.pte import INT8, pte_scores, quantised_pte
from experiments.training.batches import in_order, place
from experiments.training.members.folder import TrainingFolder, TrainRequest
from experiments.training.quantised import calibration_numbers
from search_spaces.folding import fold_batch_norm
from search_spaces.records import InputError

if TYPE_CHECKING:
    import onnxruntime

FILE = "model.int8.onnx"
# A setting of ONNX Runtime's sessions (kOrtSessionOptionsAvx2PrecisionMode); see `onnx_session`.
EXACT_SUMS = ("session.x64quantprecision", "1")
MUCH = 0.01  # of the accuracy: what is lost in int8 before fine-tuning is named
_BATCH = 64
_INPUT = "images"
# What ONNX Runtime has no rule of its own for, and quantises by its general one.
_GENERAL = ("ReduceMean",)
# A norm that no convolution takes in has few numbers and a wide range: 8 bits for it lose accuracy.
_FLOAT = ("BatchNormalization",)


def calibration_data(
    checkpoint: Path, model: Model, source: str | None, *, formats: Sequence[str] = ("onnx",)
) -> ImageData:
    """The data that `checkpoint` was trained on, as its folder says; or `source`, where given.

    Raises InputError where nobody says them, where they do not fit the network, or where a package
    is missing that int8 needs.
    """
    check_task(model.architecture, "classification", what="int8")
    if "onnx" in formats:
        check_packages("int8")
    if source is not None:
        seed = int(model.training.get("seed", 0))
        data = load_data(DataConfig.parse({"source": source}, source="--data"), seed=seed)
    else:
        data = _trained_on(checkpoint)
    wanted = model.preprocessing.channels
    if data.channels != wanted:
        raise InputError(
            f"'{model.architecture.name}' takes images of {wanted} channels, but those of "
            f"'{data.name}' have {data.channels}; name other images with --data"
        )
    if data.num_classes != model.num_classes:
        raise InputError(
            f"'{model.architecture.name}' tells {model.num_classes} classes apart, but "
            f"'{data.name}' has {data.num_classes}; name other images with --data"
        )
    return data


def _trained_on(checkpoint: Path) -> ImageData:
    if checkpoint.suffix == ".safetensors" and checkpoint.is_file():
        # <folder>/checkpoints/best.safetensors, or <run>/checkpoints/<name>/weights.safetensors
        for folder in checkpoint.absolute().parents[1:3]:
            training = TrainingFolder(folder)
            if training.request.is_file():
                request = TrainRequest.read(training.request)
                return load_data(request.data, seed=request.seed)
            if (folder / "config.yaml").is_file():
                config = RunFolder.open(folder).config
                return load_data(config.data, seed=config.seed)
    raise InputError(
        f"int8 needs images to calibrate with, and nothing beside '{checkpoint}' says which; "
        f"name them with --data, as a folder or cifar10"
    )


def quantise(model: Model, float_file: Path, data: ImageData) -> tuple[bytes, dict[str, Any]]:
    """`float_file` (ONNX, batch norm folded) in int8, and for metrics.json what was measured.

    The ranges come from the training images of `calibration_numbers`. The accuracy is that
    of ONNX Runtime on the test part; it is left out, with a warning, where the data are not those
    of the training, since their test part may hold training images.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / FILE
        chosen = calibration_numbers(len(data.train))
        _write(float_file, path, data.train.take(chosen), model.preprocessing)
        metrics: dict[str, Any] = {
            "onnx_bytes": float_file.stat().st_size,
            "int8_bytes": path.stat().st_size,
            "int8_calibration_images": len(chosen),
            "int8_in_float": list(operators_in_float(path)),
        }
        if _may_be_tested(model, data):
            for name, file in (("onnx", float_file), ("int8", path)):
                metrics[f"{name}_test_accuracy"] = onnx_accuracy(
                    file, data.test, model.preprocessing
                )
        return path.read_bytes(), metrics


def quantise_pte(model: Model, data: ImageData) -> tuple[bytes, dict[str, Any]]:
    """ExecuTorch's program in int8, batch norm folded, and for metrics.json what was measured."""
    network = deepcopy(model.network)
    fold_batch_norm(network)
    chosen = data.train.take(calibration_numbers(len(data.train)))
    batches = map(torch.from_numpy, _inputs(chosen, model.preprocessing))
    example = torch.zeros(1, model.preprocessing.channels, *2 * [model.preprocessing.size])
    content = quantised_pte(network, example, batches)
    metrics: dict[str, Any] = {
        "pte_int8_bytes": len(content),
        "int8_calibration_images": len(chosen),
    }
    if _may_be_tested(model, data):
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / INT8
            path.write_bytes(content)
            inputs = map(torch.from_numpy, _inputs(data.test, model.preprocessing))
            found = torch.cat([scores.argmax(1) for scores in pte_scores(path, inputs)])
        accuracy = float((found.numpy() == data.test.labels).mean())
        metrics["pte_int8_test_accuracy"] = accuracy
        say(f"accuracy on the test part: {accuracy:.4f} in int8 by ExecuTorch")
    return content, metrics


def _may_be_tested(model: Model, data: ImageData) -> bool:
    if model.training.get("data", data.fingerprint) == data.fingerprint:
        return True
    warn(
        f"'{data.name}' is not what the network was trained on, so its test part may hold "
        f"training images: the accuracy in int8 is not measured"
    )
    return False


def tell(metrics: dict[str, Any]) -> None:
    """Say what int8 costs, and where it is much what regains it."""
    if "int8_test_accuracy" not in metrics:
        return
    exact, rounded = metrics["onnx_test_accuracy"], metrics["int8_test_accuracy"]
    line = f"accuracy on the test part: {exact:.4f} in float32, {rounded:.4f} in int8"
    if "int8_test_accuracy_before" in metrics:
        before, epochs = metrics["int8_test_accuracy_before"], metrics["int8_fine_tuning_epochs"]
        say(f"{line} after fine-tuning (epochs: {epochs}), {before:.4f} before")
    elif exact - rounded > MUCH:
        lost = 100 * (exact - rounded)
        warn(f"{line}, {lost:.1f} points less; `--fine-tune 3` trains on for 3 epochs as int8")
    else:
        say(line)


def _write(source: Path, target: Path, part: Part, preprocessing: Preprocessing) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_suffix(".prepared.onnx")
    with _quiet():
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            _Reader(_inputs(part, preprocessing)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=sorted({*QDQRegistry, *QLinearOpsRegistry, *_GENERAL} - {*_FLOAT}),
        )
    _leave_out_notes(target)


def _leave_out_notes(file: Path) -> None:
    """Take out what the export noted of each node's origin: half of a small network's file."""
    import onnx

    model = onnx.load(str(file))
    for node in model.graph.node:
        node.ClearField("metadata_props")
    model.graph.ClearField("value_info")
    file.write_bytes(model.SerializeToString())


class _Reader:
    """What ONNX Runtime asks for a batch at a time; None ends it."""

    def __init__(self, batches: Iterator[np.ndarray]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch by the input's name."""
        batch = next(self._batches, None)
        return None if batch is None else {_INPUT: batch}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that ONNX Runtime's quantisation logs for its developers."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _inputs(part: Part, preprocessing: Preprocessing) -> Iterator[np.ndarray]:
    """float32 (B, C, size, size), in the part's order."""
    placed = place(part, torch.device("cpu"), workers=0)
    for images, _ in placed.batches(in_order(len(part), batch_size=_BATCH)):
        yield preprocessing(images).numpy()


def onnx_accuracy(file: Path, part: Part, preprocessing: Preprocessing) -> float:
    """The share of `part` that the model in `file` classifies rightly, by ONNX Runtime."""
    session = onnx_session(file)
    found = [session.run(None, {_INPUT: x})[0].argmax(1) for x in _inputs(part, preprocessing)]
    return float((np.concatenate(found) == part.labels).mean())


def onnx_session(file: Path) -> "onnxruntime.InferenceSession":
    """ONNX Runtime on the CPU, with sums of int8 that no processor cuts off.

    On x86 without VNNI its fast kernels add pairs of products in 16 bits, where large ones are cut
    off: scores then differ from those of a microcontroller, by as much as the scores themselves.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry(*EXACT_SUMS)
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def operators_in_float(file: Path) -> tuple[str, ...]:
    """The operators of a QDQ model whose input or output is not quantised, sorted.

    An activation that its neighbours' ranges stand for counts as quantised with them.
    """
    import onnx

    graph = onnx.load(str(file)).graph
    quantising = ("QuantizeLinear", "DequantizeLinear")
    exact = {name for node in graph.node if node.op_type in quantising for name in node.output}
    readers: dict[str, set[str]] = {output.name: set() for output in graph.output}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    fused = ("Relu", "Clip")  # behind a quantised operator they are its own end

    def in_float(node: onnx.NodeProto) -> bool:
        """Whether what goes in or comes out is no rounded value."""
        after = set().union(*(readers.get(name, set()) for name in node.output))
        ended = after <= {"QuantizeLinear", *fused} and node.input[0] in exact
        return node.op_type in _FLOAT or not ended

    others = [node for node in graph.node if node.op_type not in (*quantising, *fused)]
    return tuple(sorted({node.op_type for node in others if in_float(node)}))
