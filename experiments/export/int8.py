"""A network in whole numbers of 8 bits: ONNX Runtime's static quantisation, and what it costs.

Weights are quantised channel by channel, activations tensor by tensor, with the ranges that the
training images give behind the export's own preprocessing. Batch norm is folded before.
"""

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.config.messages import say, warn
from experiments.data.images import ChannelStatistics, ImageData, Part
from experiments.export.calibration import BATCH, inputs_of
from experiments.export.model import Model, Preprocessing
from experiments.export.pte import INT8, pte_run, quantised_pte
from experiments.training.augmentation import Preparation
from experiments.training.batches import place
from experiments.training.judging import measure
from experiments.training.metrics import Metric
from experiments.training.quantised import calibration_numbers
from search_spaces.folding import fold_batch_norm

if TYPE_CHECKING:
    import onnxruntime

FILE = "model.int8.onnx"
# A setting of ONNX Runtime's sessions (kOrtSessionOptionsAvx2PrecisionMode); see `onnx_session`.
EXACT_SUMS = ("session.x64quantprecision", "1")
MUCH = 0.01  # of the metric: what is lost in int8 before fine-tuning is named
_INPUT = "images"
# What ONNX Runtime has no rule of its own for, and quantises by its general one.
_GENERAL = ("ReduceMean",)
# A norm that no convolution takes in has few numbers and a wide range: 8 bits for it lose accuracy.
_FLOAT = ("BatchNormalization",)
Run = Callable[[Tensor], Tensor]  # a file's scores of a batch (N, C, size, size)


def quantise(model: Model, float_file: Path, data: ImageData) -> tuple[bytes, dict[str, Any]]:
    """`float_file` (ONNX, batch norm folded) in int8, and for metrics.json what was measured.

    The ranges come from the training images of `calibration_numbers`. ONNX Runtime's figures on the
    test part are left out, with a warning, where the data are not those of the training, since
    their test part may hold training images.
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
                metrics[f"{name}_test_{model.metric.name}"] = tested(onnx_run(file), model, data)
        return path.read_bytes(), metrics


def quantise_pte(model: Model, data: ImageData) -> tuple[bytes, dict[str, Any]]:
    """ExecuTorch's program in int8, batch norm folded, and for metrics.json what was measured."""
    network = deepcopy(model.network)
    fold_batch_norm(network)
    chosen = data.train.take(calibration_numbers(len(data.train)))
    example = torch.zeros(1, model.preprocessing.channels, *2 * [model.preprocessing.size])
    content = quantised_pte(network, example, inputs_of(chosen, model.preprocessing))
    metrics: dict[str, Any] = {
        "pte_int8_bytes": len(content),
        "int8_calibration_images": len(chosen),
    }
    if _may_be_tested(model, data):
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / INT8
            path.write_bytes(content)
            value = tested(pte_run(path), model, data)
        metrics[f"pte_int8_test_{model.metric.name}"] = value
        say(f"{model.metric.label} on the test part: {value:.4f} in int8 by ExecuTorch")
    return content, metrics


def _may_be_tested(model: Model, data: ImageData) -> bool:
    if model.training.get("data", data.fingerprint) == data.fingerprint:
        return True
    warn(
        f"'{data.name}' is not what the network was trained on, so its test part may hold "
        f"training images: the {model.metric.label} in int8 is not measured"
    )
    return False


def tell(metrics: dict[str, Any], metric: Metric) -> None:
    """Say what int8 costs, and where it is much what regains it."""
    key = f"int8_test_{metric.name}"
    if key not in metrics:
        return
    exact, rounded = metrics[f"onnx_test_{metric.name}"], metrics[key]
    line = f"{metric.label} on the test part: {exact:.4f} in float32, {rounded:.4f} in int8"
    if f"{key}_before" in metrics:
        before, epochs = metrics[f"{key}_before"], metrics["int8_fine_tuning_epochs"]
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
        _share_nothing(prepared)
        quantize_static(
            str(prepared),
            str(target),
            _CalibrationBatches(inputs_of(part, preprocessing)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=sorted({*QDQRegistry, *QLinearOpsRegistry, *_GENERAL} - {*_FLOAT}),
        )
    _leave_out_notes(target)


def _share_nothing(file: Path) -> None:
    """Give each node weights of its own: ONNX Runtime's EXACT_SUMS fail where two share some."""
    import onnx

    model = onnx.load(str(file))
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    read: set[str] = set()
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name in read:
                own = onnx.TensorProto()
                own.CopyFrom(held[name])
                own.name = node.input[i] = f"{name}_of_{node.output[0]}"
                model.graph.initializer.append(own)
            elif name in held:
                read.add(name)
    file.write_bytes(model.SerializeToString())


def _leave_out_notes(file: Path) -> None:
    """Take out what the export noted of each node's origin: half of a small network's file."""
    import onnx

    model = onnx.load(str(file))
    for node in model.graph.node:
        node.ClearField("metadata_props")
    model.graph.ClearField("value_info")
    file.write_bytes(model.SerializeToString())


class _CalibrationBatches:
    """What ONNX Runtime asks for a batch at a time; None ends it."""

    def __init__(self, batches: Iterator[Tensor]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch by the input's name."""
        batch = next(self._batches, None)
        return None if batch is None else {_INPUT: batch.numpy()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that ONNX Runtime's quantisation logs for its developers."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def tested(run: Run, model: Model, data: ImageData) -> float:
    """The model's metric on the test part, by `run`, on the CPU: measured as the training did."""

    class Other(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return run(x)

    cpu, how = torch.device("cpu"), model.preprocessing
    prepare = Preparation.of(
        ChannelStatistics(how.mean, how.std),
        resolution=how.size,
        device=cpu,
        patches=how.fit == "patches",
    )
    placed, metric = place(data.test, cpu, workers=0), model.metric
    return metric.of(measure(Other(), placed, data=data, prepare=prepare, first=metric.first))


def onnx_run(file: Path) -> Run:
    """The scores of the model in `file`, by ONNX Runtime."""
    session = onnx_session(file)

    def run(x: Tensor) -> Tensor:
        found = [session.run(None, {_INPUT: some.numpy()})[0] for some in torch.split(x, BATCH)]
        return torch.from_numpy(np.concatenate(found))

    return run


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

    An activation that its neighbours' ranges stand for counts as quantised with them. What reckons
    with sizes is left out: it sees no map.
    """
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(str(file))).graph
    whole = onnx.TensorProto.INT64
    sizes = {v.name for v in graph.value_info if v.type.tensor_type.elem_type == whole}
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

    others = [
        node
        for node in graph.node
        if node.op_type not in (*quantising, *fused) and node.output[0] not in sizes
    ]
    return tuple(sorted({node.op_type for node in others if in_float(node)}))
