"""Networks as int8 computes them: roundings by hand, and what a training under them keeps."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from experiments.config.search_section import SearchSection
from experiments.training.augmentation import Preparation
from experiments.training.batches import place
from experiments.training.judging import evaluate
from experiments.training.quantised import QuantisedNetwork, quantised
from experiments.training.training import check_judged_in
from search_spaces import InputError


def by_hand(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """x to the nearest of 256 steps from low to high, of which one is 0."""
    step = (high - low) / 255
    zero = np.round(-128 - low / step)
    return (np.clip(np.round(x / step) + zero, -128, 127) - zero) * step


def test_weights_have_a_scale_a_channel_and_maps_a_range_a_tensor():
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.3], [0.01, 0.02]]))
    x = torch.tensor([[0.5, -1.0], [2.0, 0.123]])
    network = QuantisedNetwork(layer).calibrate([x])
    rows = [[127, round(0.3 * 127)], [round(0.01 / 0.02 * 127), 127]]
    weight = np.array(rows) * np.array([[1 / 127], [0.02 / 127]])
    exact = (x @ layer.weight.T).detach().numpy()
    scores = by_hand(x.numpy(), -1.0, 2.0) @ weight.T
    expected = by_hand(scores, exact.min(), exact.max())
    assert network(x).detach().numpy() == pytest.approx(expected, abs=1e-6)


def test_a_sum_of_maps_and_its_relu_are_rounded_once():
    class Sum(nn.Module):
        def forward(self, x):
            return torch.relu(x + 3 * x)

    x = torch.tensor([[-1.0, 0.101, 0.7]])
    inner = by_hand(3 * by_hand(x.numpy(), -1, 0.7), -3, 2.1)
    expected = by_hand(np.maximum(by_hand(x.numpy(), -1, 0.7) + inner, 0), 0, 2.8)
    found = QuantisedNetwork(Sum()).calibrate([x])(x)
    assert found.numpy() == pytest.approx(expected, abs=1e-6)


def test_ranges_are_those_of_all_batches_and_hold_0():
    x = torch.tensor([[1.0, 4.0]])
    network = QuantisedNetwork(nn.Identity()).calibrate([x, 2 * x])
    assert network(torch.tensor([[3.0, 9.0]])).numpy() == pytest.approx(
        by_hand(np.array([[3.0, 9.0]]), 0.0, 8.0)
    )


def test_a_training_is_judged_in_int8_and_its_weights_are_those_of_any_training(build, train, data):
    (exact,) = train(build(), epochs=1)
    (judged,) = train(build(), epochs=1, judged_in="int8")
    weights = exact.state().weights
    assert all(torch.equal(weights[k], v) for k, v in judged.state().weights.items())
    prepare = Preparation.of(data.statistics, resolution=8, device=torch.device("cpu"))
    rounds = quantised(exact.network, place(data.train, torch.device("cpu")), prepare=prepare)
    assert judged.accuracy == evaluate(rounds, data.validation, data=data, resolution=8)
    assert isinstance(judged.network, QuantisedNetwork)


def test_it_learns_under_rounding_without_dropout_or_batch_statistics(build):
    network = build()
    x = torch.randn(4, 1, 8, 8)
    rounds = QuantisedNetwork(network).calibrate([x])
    assert torch.equal(rounds.train()(x), rounds.eval()(x))
    rounds(x).square().sum().backward()
    stem = next(rounds.parameters())
    assert stem.grad is not None
    assert stem.grad.abs().sum() > 0


def test_a_group_norm_is_three_steps_of_which_two_have_weights_of_8_bits():
    norm = nn.GroupNorm(1, 2, eps=0.0)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 0.3]))
        norm.bias.copy_(torch.tensor([0.01, -0.5]))
    x = np.array([[-1.0, 0.4], [0.1, 0.9]])  # a row a channel
    exact = (x - x.mean()) / x.std()
    read = by_hand(x, -1, 0.9)
    first = by_hand((read - read.mean()) / read.std(), exact.min(), exact.max())
    scaled = exact * np.array([[1.0], [0.3]])
    second = first * np.array([[127], [round(0.3 * 127)]]) / 127
    shifted = scaled + np.array([[0.01], [-0.5]])
    third = by_hand(second, scaled.min(), scaled.max())
    third = third + np.array([[round(0.01 / 0.5 * 127)], [-127]]) * 0.5 / 127
    inputs = torch.tensor(x, dtype=torch.float32).view(1, 2, 2, 1)
    found = QuantisedNetwork(norm).calibrate([inputs])(inputs).detach().numpy().reshape(2, 2)
    assert found == pytest.approx(by_hand(third, shifted.min(), shifted.max()), abs=1e-5)


def test_an_enlarged_map_has_the_scale_of_the_smaller_one():
    enlarge = nn.Upsample(scale_factor=2, mode="bilinear")
    x = torch.tensor([[[[0.0, 1.0], [0.37, 0.5]]]])
    found = QuantisedNetwork(enlarge).calibrate([x])(x)
    expected = by_hand(enlarge(torch.tensor(by_hand(x.numpy(), 0.0, 1.0))).numpy(), 0.0, 1.0)
    assert found.numpy() == pytest.approx(expected, abs=1 / 255 + 1e-6)  # where it is a half
    assert (np.abs(found.numpy() - expected) < 1e-6).mean() > 0.8


def test_boxes_are_not_judged_in_int8():
    boxes = SimpleNamespace(task="detection", name="streets")
    with pytest.raises(InputError, match=r"search\.precision int8 is for classification and segm"):
        check_judged_in("int8", boxes)
    check_judged_in("int8", SimpleNamespace(task="segmentation", name="streets"))


def test_the_metric_of_candidates_says_int8():
    assert SearchSection(precision="int8").named("accuracy") == "accuracy in int8"
    assert SearchSection().named("accuracy") == "accuracy"
