"""int8 files: what is in them by ONNX itself, their accuracy counted by hand, what is refused."""

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

from experiments.cli import cli
from experiments.config.files import write_text
from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig
from experiments.data.sources import load_data
from experiments.export import int8
from experiments.export.calibration import calibration_data
from experiments.export.folder import load_exported, write_exported
from experiments.export.model import checkpoint_model, untrained_model
from experiments.training.augmentation import Preparation
from experiments.training.batches import place
from experiments.training.checkpoint import save_checkpoint
from experiments.training.members.folder import TrainRequest
from experiments.training.metrics import METRICS
from experiments.training.quantised import quantised
from experiments.training.training import Training
from search_spaces import Architecture, InputError

DIGITS = DataConfig(source="digits")
BLOCKS = {
    "mbconv": {"kind": "mbconv", "expanded_channels": 20, "kernel_size": 3, "se_ratio": 0.25},
    "residual": {"kind": "basic", "inner_channels": 12},
    "inception": {"kind": "inception", "form": "bn"},
    "dense": {"kind": "dense", "growth": 8},
}


def network_of(kind: str) -> Architecture:
    convolution = {"kind": "conv", "kernel_size": 3}
    channels = {"inception": 48, "dense": 32}.get(kind, 16)
    stage = {"channels": channels, "layers": 2, "stride": 1, "block": BLOCKS[kind]}
    stem = {"channels": 16, "stride": 1, "block": convolution}
    data = {"name": kind, "resolution": 8, "stem": stem, "stages": [stage]}
    return Architecture.parse(data, source="test")


@pytest.fixture(scope="module")
def digits():
    return load_data(DIGITS, seed=0)


@pytest.fixture(scope="module")
def checkpoint(digits, tmp_path_factory):
    """The folder of a training on digits, as `scaler train` leaves it."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = TrainConfig(batch_size=64, batch_norm_momentum=0.1)
    request = TrainRequest(architecture=network_of("mbconv"), data=DIGITS, train=recipe, epochs=4)
    training = Training(request.architecture, digits, DIGITS, recipe, epochs=4, seed=0)
    *_, last = training.run()
    facts = training.metadata(accuracy=last.accuracy, test_accuracy=training.test(last.network))
    path = folder / "checkpoints" / "best.safetensors"
    save_checkpoint(path, last.network, metadata=facts)
    write_text(folder / "train.yaml", request.to_yaml())
    return path


@pytest.fixture(scope="module")
def exported(checkpoint, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    write_exported(checkpoint_model(checkpoint), folder, formats=["onnx"], calibration=digits)
    return folder


def test_the_accuracies_are_those_of_the_files_counted_by_hand(exported, digits):
    loaded = load_exported(exported)
    inputs = loaded.preprocessing(torch.from_numpy(np.array(digits.test.images)))
    for name, file in (("onnx", "model.onnx"), ("int8", int8.FILE)):
        (scores,) = int8.onnx_session(exported / file).run(None, {"images": inputs.numpy()})
        right = (scores.argmax(1) == digits.test.labels).mean()
        assert loaded.metrics[f"{name}_test_accuracy"] == right
    assert loaded.metrics["onnx_test_accuracy"] == loaded.metrics["test_accuracy"] > 0.2
    assert loaded.metrics["int8_bytes"] == (exported / int8.FILE).stat().st_size


def test_a_network_judged_in_int8_is_nearly_what_onnxruntime_computes(exported, digits):
    model = load_exported(exported)
    resolution = model.preprocessing.size
    prepare = Preparation.of(digits.statistics, resolution=resolution, device=torch.device("cpu"))
    rounds = quantised(model.network, place(digits.train, torch.device("cpu")), prepare=prepare)
    inputs = model.preprocessing(torch.from_numpy(np.array(digits.test.images)))
    (told,) = int8.onnx_session(exported / int8.FILE).run(None, {"images": inputs.numpy()})
    with torch.no_grad():
        ours, exact = rounds(inputs).numpy(), model.network(inputs).numpy()
    assert np.abs(ours - told).mean() < 0.5 * np.abs(exact - told).mean()
    assert (ours.argmax(1) == told.argmax(1)).mean() > 0.98


def test_the_card_tells_both_accuracies_and_the_use(exported):
    card, metrics = ((exported / f).read_text() for f in ("README.md", "metrics.json"))
    told = json.loads(metrics)["int8_test_accuracy"]
    assert f"| accuracy on the test part in int8, by ONNX Runtime | {told:.4f} |" in card
    assert 'InferenceSession("FOLDER/model.int8.onnx", options)' in card
    assert 'options.add_session_config_entry("session.x64quantprecision", "1")' in card


def test_weights_are_int8_with_a_scale_a_channel_and_ranges_are_the_training_images(
    exported, digits
):
    graph = onnx.load(exported / int8.FILE).graph
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made = {node.output[0]: node for node in graph.node}
    for convolution in (node for node in graph.node if node.op_type == "Conv"):
        weight, scale = (held[name] for name in made[convolution.input[1]].input[:2])
        assert weight.dtype == np.int8
        assert scale.shape == weight.shape[:1]
    (first,) = (node for node in graph.node if node.input[0] == "images")
    chosen = np.random.RandomState(0).permutation(len(digits.train))[:512]
    inputs = load_exported(exported).preprocessing(
        torch.from_numpy(np.array(digits.train.images[chosen]))
    )
    assert held[first.input[1]] == pytest.approx((inputs.max() - inputs.min()).item() / 255)


def test_the_int8_file_is_computed_without_any_sum_cut_off(exported, digits):
    """The truth is ONNX Runtime with nothing fused: one operator after the other, in float sums."""
    plain = SessionOptions()
    plain.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    preprocessing = load_exported(exported).preprocessing
    inputs = {"images": preprocessing(torch.from_numpy(digits.test.images[:64])).numpy()}
    (true,) = InferenceSession(exported / int8.FILE, plain).run(None, inputs)
    (told,) = int8.onnx_session(exported / int8.FILE).run(None, inputs)
    assert np.abs(told - true).max() < 0.05 * np.abs(true).max()


@pytest.mark.parametrize("kind", BLOCKS)
def test_each_kind_of_block_is_quantised_but_for_norms_before_a_convolution(kind, digits, tmp_path):
    table = tmp_path / "net.yaml"
    write_text(table, network_of(kind).to_yaml())
    model = untrained_model(str(table), num_classes=10, in_channels=1)
    write_exported(model, tmp_path / "out", formats=["onnx"], calibration=digits)
    metrics = load_exported(tmp_path / "out").metrics
    norms = ["BatchNormalization"] if kind == "dense" else []
    assert metrics["int8_in_float"] == norms
    inputs = model.preprocessing(torch.from_numpy(np.array(digits.test.images[:64]))).numpy()
    exact, rounded = (
        int8.onnx_session(tmp_path / "out" / file).run(None, {"images": inputs})[0]
        for file in ("model.onnx", int8.FILE)
    )
    assert 0 < np.abs(exact - rounded).max() < 0.1 * np.abs(exact).max()


def test_data_that_the_network_was_not_trained_on_tell_no_accuracy(checkpoint, tmp_path, capsys):
    other = load_data(DIGITS.replace(train_limit=200), seed=0)
    write_exported(checkpoint_model(checkpoint), tmp_path, formats=["onnx"], calibration=other)
    metrics = load_exported(tmp_path).metrics
    assert metrics["int8_calibration_images"] == 200
    assert "int8_test_accuracy" not in metrics
    assert "is not what the network was trained on" in capsys.readouterr().err


@pytest.mark.slow  # it trains for an epoch and writes four ONNX files
def test_fine_tuning_changes_the_int8_file_alone_and_both_accuracies_are_told(
    checkpoint, digits, exported, tmp_path, capsys
):
    how = {"formats": ["onnx"], "calibration": digits, "fine_tune": 1}
    write_exported(checkpoint_model(checkpoint), tmp_path, **how)
    before, after = load_exported(exported).metrics, load_exported(tmp_path).metrics
    assert after["int8_test_accuracy_before"] == before["int8_test_accuracy"]
    assert after["onnx_test_accuracy"] == before["onnx_test_accuracy"]
    weights = [(folder / "model.safetensors").read_bytes() for folder in (exported, tmp_path)]
    assert weights[0] == weights[1]
    assert (exported / int8.FILE).read_bytes() != (tmp_path / int8.FILE).read_bytes()
    assert "after fine-tuning (epochs: 1)" in capsys.readouterr().err


def test_fine_tuning_on_other_images_is_refused(checkpoint, tmp_path):
    other = load_data(DIGITS.replace(train_limit=200), seed=0)
    with pytest.raises(InputError, match="was trained on, so nobody could say what fine-tuning"):
        write_exported(
            checkpoint_model(checkpoint), tmp_path / "out", calibration=other, fine_tune=1
        )
    assert not (tmp_path / "out").exists()


def test_a_loss_of_more_than_a_point_names_the_option(capsys):
    int8.tell({"onnx_test_accuracy": 0.8, "int8_test_accuracy": 0.78}, METRICS["accuracy"])
    int8.tell({"onnx_test_accuracy": 0.8, "int8_test_accuracy": 0.795}, METRICS["accuracy"])
    first, second = capsys.readouterr().err.splitlines()
    assert "2.0 points less; `--fine-tune 3`" in first
    assert "--fine-tune" not in second


def test_an_export_without_int8_takes_the_old_file_away(checkpoint, digits, tmp_path):
    write_exported(checkpoint_model(checkpoint), tmp_path, calibration=digits)
    assert (tmp_path / int8.FILE).is_file()
    write_exported(checkpoint_model(checkpoint), tmp_path)
    assert not (tmp_path / int8.FILE).exists()


def test_a_trainings_folder_says_its_data(checkpoint, digits):
    found = calibration_data(checkpoint, checkpoint_model(checkpoint), None)
    assert found.fingerprint == digits.fingerprint


@pytest.mark.parametrize(
    ("sizes", "source", "message"),
    [
        ({"in_channels": 3, "num_classes": 10}, "digits", "takes images of 3 channels, but .* 1;"),
        ({"in_channels": 1, "num_classes": 7}, "digits", "tells 7 classes apart, but .* has 10;"),
        ({}, None, "nothing beside .* says which; name them with --data"),
    ],
)
def test_images_that_do_not_fit_are_one_clear_line(sizes, source, message, tmp_path):
    model = untrained_model("cifar_resnet20", **sizes)
    with pytest.raises(InputError, match=message):
        calibration_data(tmp_path / "a" / "b" / "c", model, source)


def test_a_missing_onnxruntime_is_one_line_with_the_remedy(checkpoint, monkeypatch):
    there = "experiments.export.formats.find_spec"
    monkeypatch.setattr(there, lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(InputError, match=r"'int8' needs onnxruntime; .*scaler-nas\[export\]"):
        calibration_data(checkpoint, checkpoint_model(checkpoint), None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--int8"], "--int8 goes with --format onnx"),
        (["--format", "onnx", "--data", "digits"], "--data goes with --int8"),
        (["--format", "onnx", "--fine-tune", "2"], "--fine-tune goes with --format onnx --int8"),
    ],
)
def test_options_that_go_together_are_said(options, message, checkpoint, tmp_path):
    from click.testing import CliRunner

    command = ["export", str(checkpoint), "-o", str(tmp_path / "out"), *options]
    done = CliRunner().invoke(cli, command)
    assert (done.exit_code, message in done.output) == (2, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_executorchs_programs_give_the_networks_scores_and_classes(checkpoint, digits, tmp_path):
    pytest.importorskip("executorch")
    from experiments.export.pte import FILE, INT8, pte_run

    model = checkpoint_model(checkpoint)
    write_exported(model, tmp_path, formats=["pte"], calibration=digits)
    inputs = model.preprocessing(torch.from_numpy(digits.test.images[:32]))
    with torch.no_grad():
        scores = model.network.eval()(inputs)
    torch.testing.assert_close(pte_run(tmp_path / FILE)(inputs), scores, atol=1e-4, rtol=0)
    rounded = pte_run(tmp_path / INT8)(inputs)
    assert (rounded.argmax(1) == scores.argmax(1)).float().mean() > 0.9
    assert not (tmp_path / "model.int8.onnx").exists()
    metrics = load_exported(tmp_path).metrics
    assert metrics["pte_int8_test_accuracy"] == pytest.approx(metrics["test_accuracy"], abs=0.05)
