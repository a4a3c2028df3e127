"""Properties of every member of every shipped space, seeded; the long runs are marked slow."""

import pytest
import torch
import yaml

from scaler import CompoundCoefficients, measure_cost, scale
from scaler.cost import trace_cost
from search_spaces import (
    Architecture,
    build_network,
    list_architectures,
    list_spaces,
    load_architecture,
    load_space,
    resize,
)
from tests.members import TRACED, Raw, graph_of, neighbouring_members, random_members

PAPER = CompoundCoefficients()
SPACES = list_spaces()
# A thousand members of one space take longer than the 300 seconds that a test is given elsewhere.
LONG = (pytest.mark.slow, pytest.mark.timeout(3600))
few = pytest.mark.parametrize("count", [1, pytest.param(20, marks=LONG)])
counts = pytest.mark.parametrize("count", [2, pytest.param(1000, marks=LONG)])
pairs = pytest.mark.parametrize("count", [6, pytest.param(500, marks=LONG)])
spaces = pytest.mark.parametrize("name", SPACES)


@spaces
@counts
def test_members_train_cost_what_their_trace_says_and_read_back(name, count):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for member in random_members(load_space(name), count):
        size = member.resolution
        network = Raw(build_network(member, num_classes=5, in_channels=2))
        loss = network(torch.randn(2, 2, size, size)).square().mean()
        loss.backward()
        assert loss.isfinite()
        assert all(p.grad is not None for p in network.parameters())
        traced, _ = trace_cost(network, (2, size, size))
        assert measure_cost(member, num_classes=5, in_channels=2) == traced
        assert Architecture.parse(yaml.safe_load(member.to_yaml()), source="yaml") == member


@pytest.mark.parametrize("name", TRACED)
@pairs
def test_keys_are_equal_exactly_where_graphs_are(name, count):
    graphs: dict[str, tuple] = {}
    equal = 0
    for pair in neighbouring_members(load_space(name), count):
        for member in pair:
            graph = graph_of(member)
            assert graphs.setdefault(member.key, graph) == graph
        equal += pair[0].key == pair[1].key
    assert len(set(graphs.values())) == len(graphs)
    # The sample holds equal networks, too; of mbconv_dense it holds none.
    assert equal > 0 or name == "mbconv_dense"


@spaces
@few
def test_members_scale_to_costlier_networks(name, count):
    for member in random_members(load_space(name), count, seed=3):
        member = member.replace(resolution=load_space(name).tree["resolution"])
        family = [scale(member, phi=phi, coefficients=PAPER) for phi in range(5)]
        flops = [measure_cost(each).flops for each in family]
        assert flops == sorted(set(flops))
        assert resize(member, depth=1.0, width=1.0) == member


@pytest.mark.parametrize("name", list_architectures())
def test_named_networks_scale_to_costlier_networks(name):
    """Parameters and map sizes tell it without measuring: both grow, neither shrinks."""
    network = load_architecture(name)
    family = [scale(network, phi=phi, coefficients=PAPER) for phi in range(5)]
    layers = [len(each.rows(num_classes=1, in_channels=3)) for each in family]
    widths = [sum(stage.channels for stage in each.stages) for each in family]
    assert layers == sorted(layers)
    assert widths == sorted(set(widths))
    assert [each.resolution for each in family] == sorted({each.resolution for each in family})


@pytest.mark.slow
@pytest.mark.parametrize("name", list_architectures())
def test_named_networks_cost_more_with_every_phi(name):
    network = load_architecture(name)
    flops = [measure_cost(scale(network, phi=phi, coefficients=PAPER)).flops for phi in range(5)]
    assert flops == sorted(set(flops))


@pytest.mark.parametrize(
    "name", ["googlenet", "inception_v3", "densenet121", "resnet18_a", "vgg11"]
)
@pytest.mark.parametrize("resolution", [139, 160])
def test_networks_with_odd_windows_cost_what_their_trace_says(name, resolution):
    network = resize(load_architecture(name), resolution=resolution, width=0.25)
    traced, _ = trace_cost(build_network(network), (3, resolution, resolution))
    assert measure_cost(network) == traced
