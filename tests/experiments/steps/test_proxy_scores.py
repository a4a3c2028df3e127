import math

import pytest
import torch
from torch import nn

from experiments.steps.proxy_table import gradient_norm, naswot, synflow

IMAGES = torch.tensor([[1.0, -2.0], [3.0, 0.5], [-1.0, -1.0]])
LABELS = torch.tensor([0, 1, 0])


def linear(weight: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight), bias=False)
    layer.weight = nn.Parameter(torch.tensor(weight))
    return layer


def test_synflow_of_two_layers_is_the_sum_over_paths_once_a_layer():
    """R is the sum over paths of |w1| |w2|; each layer's sum of w * dR/dw is R itself."""
    network = nn.Sequential(linear([[1.0, -2.0], [0.5, 0.0]]), linear([[3.0, -1.0]]))
    paths = (1 + 2) * 3 + 0.5 * 1
    assert synflow(network, IMAGES, LABELS) == pytest.approx(math.log(2 * paths))


def test_synflow_leaves_the_weights_as_they_were():
    network = nn.Sequential(linear([[1.0, -2.0]]), linear([[-3.0]]))
    synflow(network, IMAGES, LABELS)
    assert network[0].weight.tolist() == [[1.0, -2.0]]
    assert network[1].weight.tolist() == [[-3.0]]


def test_naswot_is_the_determinant_of_shared_activations():
    network = nn.Sequential(linear([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), nn.ReLU())
    on = torch.tensor([[1, 0, 0], [1, 1, 1], [0, 0, 0]])  # by image and unit, of IMAGES
    kernel = torch.tensor([[int((a == b).sum()) for b in on] for a in on], dtype=torch.float64)
    assert naswot(network, IMAGES, LABELS) == pytest.approx(torch.logdet(kernel).item())


def test_gradient_norm_by_hand():
    network = linear([[0.0, 0.0], [0.0, 0.0]])
    errors = torch.tensor([[-0.5, 0.5], [0.5, -0.5], [-0.5, 0.5]])  # softmax less one-hot
    wanted = (errors.T @ IMAGES / 3).norm().item()
    assert gradient_norm(network, IMAGES, LABELS) == pytest.approx(wanted)
