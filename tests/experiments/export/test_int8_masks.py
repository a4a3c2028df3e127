"""int8 of networks that score pixels: all that their heads do, and Dice counted by hand."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig
from experiments.export import int8, load_exported
from experiments.export.calibration import calibration_data
from experiments.export.folder import write_exported
from experiments.export.model import checkpoint_model, untrained_model
from experiments.training.augmentation import Preparation
from experiments.training.batches import place
from experiments.training.checkpoint import save_checkpoint
from experiments.training.metrics import METRICS
from experiments.training.quantised import quantised
from experiments.training.training import Training
from search_spaces import Architecture, InputError
from tests.experiments.training.test_masks import SMALL, squares

CPU = torch.device("cpu")
RECIPE = TrainConfig(batch_size=8, loss="cross_entropy_dice", device="cpu")
PIXELS = {"kind": "pixels", "channels": 16}
HEADS = {
    "bilinear": {"kind": "unet", "widths": [8], "layers": 1},
    "nearest": {"kind": "unet", "widths": [8], "layers": 1, "up": "nearest"},
    "deconvolution": {"kind": "unet", "widths": [8], "layers": 1, "up": "deconvolution"},
    "fcn": {"kind": "fcn", "widths": [8], "skips": 2},
    "deeplab": {"kind": "deeplab", "channels": 8, "rates": [1, 2]},
    "fpn": {"kind": "fpn", "channels": 8, "levels": [1, 2], "predictor": PIXELS},
}


def network_of(head):
    return Architecture.parse({**SMALL.model_dump(), "name": "masks", "head": head}, source="test")


def heads(*fast):
    """All kinds, those but `fast` as slow tests."""
    return [kind if kind in fast else pytest.param(kind, marks=pytest.mark.slow) for kind in HEADS]


def trained(folder, data, *, head="bilinear", epochs=6, config=RECIPE, fit="crop", **how):
    """A checkpoint of some epochs, and the training that it is of."""
    about = DataConfig(fit=fit)
    training = Training(network_of(HEADS[head]), data, about, config, epochs=epochs, seed=0, **how)
    *_, last = training.run()
    path = folder / "best.safetensors"
    facts = {"accuracy": last.accuracy, "test_accuracy": training.test(last.network)}
    network = training.network()
    network.load_state_dict(last.state().weights)  # where it rounds its own are folded
    save_checkpoint(path, network, metadata=training.metadata(**facts))
    return path, training


@pytest.fixture(scope="module")
def data():
    return squares(count=48, side=16)


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("trained"), data)[0]


@pytest.fixture(scope="module")
def exported(checkpoint, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    write_exported(checkpoint_model(checkpoint), folder, formats=["onnx"], calibration=data)
    return folder


def dice(scores, masks):
    """The mean over both classes, pixel by pixel, without those of 255."""
    told, known = scores.argmax(1), masks != 255
    both = [(2 * ((told == k) & (masks == k)).sum(), k) for k in (0, 1)]
    return np.mean([hits / (((told == k) & known).sum() + (masks == k).sum()) for hits, k in both])


def test_the_dice_of_both_files_is_told_and_none_of_it_is_called_accuracy(exported, data, capsys):
    loaded = load_exported(exported)
    inputs = loaded.preprocessing(torch.from_numpy(data.test.images))
    for name, file in (("onnx", "model.onnx"), ("int8", int8.FILE)):
        scores = int8.onnx_run(exported / file)(inputs).numpy()
        assert loaded.metrics[f"{name}_test_dice"] == pytest.approx(dice(scores, data.test.masks))
    exact, rounded = (loaded.metrics[f"{name}_test_dice"] for name in ("onnx", "int8"))
    assert exact == pytest.approx(loaded.metrics["test_accuracy"], abs=1e-4)
    assert rounded == pytest.approx(exact, abs=0.02)
    assert exact > 0.7
    int8.tell(loaded.metrics, METRICS["dice"])
    line = f"Dice on the test part: {exact:.4f} in float32, {rounded:.4f} in int8"
    assert line in capsys.readouterr().err
    assert not {"onnx_test_accuracy", "int8_test_accuracy"} & set(loaded.metrics)
    card = (exported / "README.md").read_text()
    assert f"| Dice on the test part in int8, by ONNX Runtime | {rounded:.4f} |" in card
    assert "accuracy" not in card.split("## Architecture")[0]


@pytest.mark.parametrize("head", heads("bilinear", "fpn"))
def test_each_head_is_quantised_whole_and_judged_nearly_as_its_file(head, data, tmp_path):
    """Untrained, equal norms share their weights in an ONNX file."""
    table = tmp_path / "net.yaml"
    table.write_text(network_of(HEADS[head]).to_yaml())
    model = untrained_model(str(table), num_classes=2)
    write_exported(model, tmp_path / "out", formats=["onnx"], calibration=data)
    assert load_exported(tmp_path / "out").metrics["int8_in_float"] == []
    prepare = Preparation.of(model.preprocessing, resolution=16, device=CPU)
    rounds = quantised(model.network, place(data.train, CPU), prepare=prepare)
    inputs = model.preprocessing(torch.from_numpy(data.test.images))
    told = int8.onnx_run(tmp_path / "out" / int8.FILE)(inputs)
    with torch.no_grad():
        ours, exact = rounds(inputs), model.network(inputs)
    assert 0 < (exact - told).abs().max() < 0.2 * exact.abs().max()
    assert (ours - told).abs().mean() < 0.5 * (exact - told).abs().mean()


def test_what_enlarges_a_map_keeps_its_scale(exported):
    graph = onnx.load(exported / int8.FILE).graph
    made = {name: node for node in graph.node for name in node.output}
    read = {name: node for node in graph.node for name in node.input}
    (resize,) = (node for node in graph.node if node.op_type == "Resize")
    before, after = made[resize.input[0]], read[resize.output[0]]
    assert (before.op_type, after.op_type) == ("DequantizeLinear", "QuantizeLinear")
    assert before.input[1:] == after.input[1:]  # scale and zero


@pytest.mark.parametrize("head", ["bilinear", "fpn"])
def test_a_search_judges_masks_in_int8_nearly_as_the_file(head, data, tmp_path):
    path, training = trained(tmp_path, data, head=head, judged_in="int8")
    model = checkpoint_model(path)
    write_exported(model, tmp_path / "out", formats=["onnx"], calibration=data)
    run = int8.onnx_run(tmp_path / "out" / int8.FILE)
    judged = model.training["accuracy"]
    told = int8.tested(run, model, replace(data, test=data.validation))
    assert judged == pytest.approx(told, abs=0.005)
    assert judged > 0.5
    assert training.metric.name == "dice"


def test_pieces_give_the_ranges_and_windows_the_dice_as_in_training(tmp_path):
    whole = replace(squares(count=24, side=32), patches=True)
    config = RECIPE.replace(metric="miou")
    path, _ = trained(tmp_path, whole, fit="patches", config=config)
    model = checkpoint_model(path)
    assert (model.preprocessing.size, whole.image_size) == (16, 32)
    write_exported(model, tmp_path / "out", formats=["onnx"], calibration=whole)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["onnx_test_miou"] == pytest.approx(metrics["test_accuracy"], abs=1e-4)
    assert metrics["int8_test_miou"] == pytest.approx(metrics["test_accuracy"], abs=0.02)
    assert run_card(tmp_path / "out", whole.test.images)["scores"].shape == (8, 2, 16, 16)
    prepare = Preparation.of(whole.statistics, resolution=16, device=CPU, patches=True)
    rounds = quantised(model.network, place(whole.train, CPU), prepare=prepare)
    inputs = prepare.normalised(torch.from_numpy(whole.test.images))[:, :, 8:24, 8:24].contiguous()
    told = int8.onnx_run(tmp_path / "out" / int8.FILE)(inputs)
    with torch.no_grad():
        ours, exact = rounds(inputs), model.network(inputs)
    assert (ours - told).abs().mean() < 0.5 * (exact - told).abs().mean()


def run_card(folder, images):
    """The names that the card's code leaves, run as it is printed."""
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names = {"images": torch.from_numpy(images)}
    exec(code.replace("FOLDER", str(folder)), names)
    return names


def test_the_cards_code_runs_as_printed(exported, data):
    names = run_card(exported, data.test.images)
    with torch.no_grad():
        exact = names["model"].network(names["inputs"]).numpy()
    assert names["classes"].shape == (16, 16, 16)
    assert names["scores"] == pytest.approx(exact, abs=float(0.1 * np.abs(exact).max()))  # of int8


def test_fine_tuning_trains_the_int8_file_of_masks_on(checkpoint, data, tmp_path, capsys):
    how = {"formats": ["onnx"], "calibration": data, "fine_tune": 1}
    write_exported(checkpoint_model(checkpoint), tmp_path, **how)
    metrics = load_exported(tmp_path).metrics
    assert metrics["int8_fine_tuning_epochs"] == 1
    assert metrics["int8_test_dice"] > metrics["int8_test_dice_before"] - 0.02
    assert "validation Dice in int8" in capsys.readouterr().err
    assert (
        "| Dice on the test part in int8 before fine-tuning |"
        in (tmp_path / "README.md").read_text()
    )


def test_images_of_another_task_are_one_clear_line(checkpoint):
    message = r"^'masks' is for segmentation, but 'digits' is for classification; name other"
    with pytest.raises(InputError, match=message):
        calibration_data(checkpoint, checkpoint_model(checkpoint), "digits")


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_executorchs_program_in_int8_scores_pixels(head, data, tmp_path):
    pytest.importorskip("executorch")
    path, _ = trained(tmp_path, data, head=head)
    write_exported(checkpoint_model(path), tmp_path / "out", formats=["pte"], calibration=data)
    metrics = load_exported(tmp_path / "out").metrics
    assert metrics["pte_int8_test_dice"] == pytest.approx(metrics["test_accuracy"], abs=0.03)
