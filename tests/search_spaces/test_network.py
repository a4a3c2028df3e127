import math

import pytest
import torch

from scaler import measure_cost
from search_spaces import (
    InputError,
    build_network,
    load_architecture,
    load_space,
)
from search_spaces.blocks.mbconv import DropConnect
from tests.members import TRACED, random_members


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


@pytest.mark.parametrize("name", ["cifar_resnet20", "vgg11", "googlenet_aux"])
def test_without_classes_a_network_gives_what_the_classifier_would_get(name):
    table = load_architecture(name)
    if name == "vgg11":
        table = table.replace(head=table.head.replace(widths=(24, 16)))
    whole, bare = (build_network(table, num_classes=n).eval() for n in (10, 0))
    classifier = whole.head.classifier
    bare.load_state_dict({k: whole.state_dict()[k] for k in bare.state_dict()})
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = bare(images)
        assert features.shape == (2, bare.num_features)
        assert torch.equal(classifier(features), whole(images))
    assert isinstance(bare.train()(images), torch.Tensor)  # no auxiliary scores either


@pytest.mark.parametrize("name", ["cifar_resnet20", "vgg11", "googlenet_aux"])
def test_the_cost_without_classes_is_that_of_the_network_without_them(name):
    table = load_architecture(name)
    network = build_network(table, num_classes=0)
    cost = measure_cost(table, num_classes=0)
    assert cost.params == sum(p.numel() for p in network.parameters())
    per_class = measure_cost(table, num_classes=2).flops - measure_cost(table, num_classes=1).flops
    assert per_class == network.num_features
    assert cost.flops == measure_cost(table, num_classes=1).flops - per_class


@pytest.mark.parametrize("take", [build_network, measure_cost])
@pytest.mark.parametrize("wrong", [{"in_channels": 0}, {"in_channels": -1}, {"num_classes": -1}])
def test_sizes_that_no_network_has_are_refused(take, wrong, small):
    name, value = next(iter(wrong.items()))
    with pytest.raises(InputError, match=f"{name} must be at least 1.* but got {value}"):
        take(small, **wrong)


def test_drop_connect_draws_one_uniform_number_a_sample():
    """The stream is torch.rand's, so that a seed trains the network that it always did."""
    images = torch.randn(300, 8, 3, 3)
    torch.manual_seed(3)
    dropped = DropConnect(0.3)(images)
    torch.manual_seed(3)
    keep = torch.rand(300, 1, 1, 1) >= 0.3
    assert torch.equal(dropped, images * keep / (1.0 - 0.3))


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("space", TRACED)
def test_torch_fx_traces_networks_with_drop_connect_in_training(space, padding):
    for member in random_members(load_space(space), 2):
        conventions = member.conventions.replace(padding=padding)
        member = member.replace(drop_connect=0.3, auxiliary=(), conventions=conventions)
        network = build_network(member, num_classes=3)
        graph = torch.fx.symbolic_trace(network)
        images = torch.randn(2, 3, member.resolution, member.resolution)
        outputs = []
        for form in (network, graph):
            torch.manual_seed(1)
            outputs.append(form(images))
        assert torch.equal(*outputs)
