import math

import pytest
import torch

from search_spaces import build_network, load_architecture


def test_b0_taps_are_the_published_features():
    network = build_network(load_architecture("efficientnet_b0")).eval()
    with torch.no_grad():
        maps = network.features(torch.zeros(1, 3, 64, 64))
    assert [m.shape[1] for m in maps] == [16, 24, 40, 112, 320]
    assert [64 // m.shape[2] for m in maps] == [2, 4, 8, 16, 32]


def test_convolutions_start_with_fan_out_per_group():
    torch.manual_seed(0)
    network = build_network(load_architecture("efficientnet_b0"))
    depthwise = network.stages[5][1].depthwise[0]  # 1,152 channels, 5 x 5
    assert depthwise.weight.std().item() == pytest.approx(math.sqrt(2) / 5, rel=0.02)
    project = network.stages[5][1].project[0]
    assert project.weight.std().item() == pytest.approx(math.sqrt(2 / 192), rel=0.02)
    assert network.head.classifier.weight.abs().max().item() <= 1 / math.sqrt(1000)


def test_same_seed_gives_the_same_weights(small):
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(build_network(small, num_classes=4).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_training_step_reaches_every_parameter(small):
    network = build_network(small.replace(drop_connect=0.0), num_classes=4, in_channels=1)
    network(torch.randn(8, 1, 16, 16)).square().sum().backward()
    silent = [name for name, p in network.named_parameters() if not p.grad.abs().sum() > 0]
    assert silent == []
