"""Every named network against the literature's figures, to the integer."""

import pytest

from scaler import measure_cost
from search_spaces import build_network, list_architectures, load_architecture, resize
from tests.conftest import golden

ROWS = golden("networks.csv")
LONG = ("cifar_densenet100_k24", "cifar_densenet_bc250_k24", "cifar_densenet_bc190_k40")


@pytest.mark.parametrize(
    "row",
    [pytest.param(r, marks=pytest.mark.slow) if r[0] in LONG else r for r in ROWS],
    ids=lambda row: f"{row[0]}-{row[2]}",
)
def test_parameters_and_flops_are_the_literatures(row):
    name, resolution, classes, params, flops, _source = row
    network = load_architecture(name)
    assert network.resolution == int(resolution)
    cost = measure_cost(network, num_classes=int(classes))
    assert cost.params == int(params)
    if flops.endswith("G"):  # printed to three digits behind the point
        assert f"{cost.flops / 1e9:.3f}G" == flops
    else:
        assert cost.flops == int(flops)


def test_every_named_network_stands_in_a_golden_table():
    tabled = {row[0] for row in ROWS} | {row[0] for row in golden("efficientnet.csv")}
    assert set(list_architectures()) == tabled


@pytest.mark.parametrize("name", ["cifar_resnet164", "googlenet_aux", "densenet121", "resnet50_v1"])
def test_the_built_network_has_the_counted_parameters(name):
    network = build_network(load_architecture(name))
    built = sum(p.numel() for p in network.parameters())
    assert built == measure_cost(load_architecture(name)).params


@pytest.mark.parametrize(("depth", "params"), [(19, 2.3e6), (32, 1.25e6)])
def test_highway_networks_have_the_size_that_the_resnet_paper_quotes(depth, params):
    cost = measure_cost(load_architecture(f"cifar_highway{depth}"), num_classes=10)
    assert cost.params == pytest.approx(params, rel=0.02)


@pytest.mark.parametrize("name", list_architectures())
def test_a_factor_of_one_changes_nothing(name):
    network = load_architecture(name)
    assert resize(network, depth=1.0, width=1.0, resolution=network.resolution) == network
