"""The whole line on real images: digits, and CIFAR-10 where it is at hand."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments import load_trials
from experiments.config.run_folder import RunFolder
from experiments.config.schema import SearchConfig
from experiments.line import run_line
from scaler import measure_cost

SHORT = {
    "search": {
        "space": "mbconv_small",
        "resolution": 12,
        "trials": 3,
        "epochs": 2,
        "early_stopping": None,
    },
    "confirmation": {"top": 2, "seeds": 1, "rounds": 1, "share": None, "known": []},
    "coefficients": {
        "step": 0.5,
        "tolerance": 0.6,
        "target_ratio": 3,
        "flops_tolerance": 0.2,
        "epochs": 1,
        "leaders": 2,
        "seeds": 2,
    },
    "family": {"kind": "budgets", "ratios": [2, 3, 4], "tolerance": 0.1, "epochs": 2},
    "cluster": {"workers": 1},  # each step starts its workers anew, which is most of the time here
}


def short_run(path, data, **sections):
    settings = {**SHORT, "name": "short", "run": path, "data": data, **sections}
    return run_line(SearchConfig.parse(settings, source="test"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> RunFolder:
    path = tmp_path_factory.mktemp("line") / "run"
    return short_run(path, {"source": "digits", "flip": False, "train_limit": 400})


def test_the_line_leaves_every_file_of_a_run(digits):
    names = {str(file.relative_to(digits.path)) for file in digits.path.rglob("*")}
    members = {f"family/short_b{i}.yaml" for i in range(4)}
    weights = {f"checkpoints/short_b{i}/weights.safetensors" for i in range(4)}
    single = {"config.yaml", "study.db", "baseline.yaml", "coefficients.yaml"}
    pages = {"report.html", "environment.json", "tables/family.csv", "figures/family.png"}
    assert members | weights | single | pages <= names


def test_the_family_costs_what_was_asked(digits):
    family = load_trials(digits.path, study="family").set_index("member")
    base = measure_cost(digits.baseline(), num_classes=10, in_channels=1).flops
    for i, ratio in enumerate((1, 2, 3, 4)):
        assert family.flops[f"short_b{i}"] / base == pytest.approx(ratio, rel=0.1)
    assert family.test_accuracy.between(0, 1).all()


def test_the_winner_of_the_grid_is_the_leader_of_the_best_mean(digits):
    grid = load_trials(digits.path, study="coefficients")
    leaders = grid[grid["round"] == 2]
    means = leaders.groupby(["alpha", "beta", "gamma"]).accuracy.mean()
    assert len(means) == 2
    assert means[tuple(dict(digits.coefficients()).values())] == means.max()


def test_the_baseline_is_the_best_of_the_confirmation(digits):
    again = load_trials(digits.path, study="confirmation")
    assert digits.baseline().key == again.groupby("key").reward.mean().idxmax()
    assert "confirmation" in digits.report.read_text()


def test_a_finished_line_has_nothing_left_to_do(digits, capsys):
    before = load_trials(digits.path)
    run_line(digits.config)
    assert load_trials(digits.path).equals(before)
    assert " 1/" not in capsys.readouterr().err


def test_the_kept_weights_give_the_accuracy_that_was_stored(digits):
    from experiments.data.sources import load_data
    from experiments.training.checkpoint import load_weights
    from experiments.training.judging import evaluate
    from search_spaces import build_network, load_architecture

    data = load_data(digits.config.data, seed=digits.config.seed)
    member = load_architecture(digits.path / "family" / "short_b2.yaml")
    network = build_network(member, num_classes=10, in_channels=1)
    load_weights(digits.checkpoints / "short_b2" / "weights.safetensors", network)
    accuracy = evaluate(network, data.test, data=data, resolution=member.resolution)
    stored = load_trials(digits.path, study="family").set_index("member")
    assert accuracy == stored.test_accuracy["short_b2"]


@pytest.mark.slow
def test_the_same_line_runs_on_cifar10_as_class_folders(cifar10, tmp_path):
    config = SearchConfig.load("cifar10")
    limits = {"train_limit": 300, "validation_limit": 200}
    data = config.data.model_dump() | {"source": str(cifar10)} | limits
    folder = short_run(tmp_path / "run", data, train=config.train.model_dump())
    family = load_trials(folder.path, study="family")
    assert set(family.state) == {"complete"}
    assert folder.report.is_file()


def squares(folder, *, count=24, side=32):
    """Pictures with one bright square each, red or green, and COCO's file of their boxes."""
    (folder / "images").mkdir(parents=True)
    images, boxes = [], []
    for number in range(count):
        pixels = np.full((side, side, 3), number, dtype=np.uint8)
        pixels[4:18, number % 16 : number % 16 + 14, number % 2] = 220
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png"})
        box = [number % 16, 4, 14, 14]
        boxes.append({"image_id": number, "category_id": number % 2, "bbox": box})
    categories = [{"id": 0, "name": "red"}, {"id": 1, "name": "green"}]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder


DETECTORS = """
resolution: 32
stem: {channels: 8, stride: 2, block: {kind: conv, kernel_size: 3}}
stages:
  - channels: {choice: [8, 16]}
    layers: 1
    stride: 2
    block: {kind: mbconv, expand_ratio: 2, kernel_size: 3, se_ratio: 0}
  - channels: {choice: [16, 24]}
    layers: {choice: [1, 2]}
    stride: 2
    block: {kind: mbconv, expand_ratio: 2, kernel_size: 3, se_ratio: 0}
head:
  {kind: fpn, channels: {choice: [16, 24]}, levels: [4, 8],
   predictor: {kind: points, layers: 1, score_threshold: 0.0}}
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_line_searches_and_scales_detectors(tmp_path, capsys):
    space = tmp_path / "detectors.yaml"
    space.write_text(DETECTORS)
    search = {**SHORT["search"], "space": str(space), "resolution": 32, "trials": 2}
    run = short_run(
        tmp_path / "run",
        {"source": str(squares(tmp_path / "squares"))},
        search=search,
        confirmation=None,
        family={**SHORT["family"], "ratios": [2], "start": "baseline"},
        train={"batch_size": 8, "optimizer": "adamw", "learning_rate": 0.01, "epsilon": 1e-8},
    )
    assert "the members begin with the weights of short_b0" in capsys.readouterr().err
    trials = load_trials(run.path)
    assert set(trials.metric) == {"mAP50"}
    family = trials[trials.study == "family"]
    assert family.test_accuracy.between(0, 1).all()
    assert run.baseline().task == "detection"
    assert "mAP50" in run.report.read_text()
