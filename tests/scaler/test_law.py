"""The law of a layer's kind against fvcore's trace of that very layer."""

import pytest

from scaler.cost import trace_cost
from scaler.law import law_of
from search_spaces import load_architecture, load_space
from search_spaces.blocks import Bottleneck, Convolution, Dense, Inception, MBConv
from search_spaces.blocks.block import Conventions
from tests.members import random_members

CONVENTIONS = Conventions()


def traced(layer, size, conventions=CONVENTIONS):
    cost, _ = trace_cost(layer.build(conventions), (layer.in_channels, size, size))
    return cost.flops, cost.activations, cost.params


def by_law(layer, size, conventions=CONVENTIONS):
    law = law_of(layer, conventions)
    assert law is not None
    return (*law.at(size), law.params)


@pytest.mark.parametrize("name", ["mbconv_small", "mixed", "residual", "dense", "inception"])
def test_laws_are_exact_for_members_of_spaces(name):
    for member in random_members(load_space(name), 3, seed=5):
        for row in member.rows(num_classes=3, in_channels=1)[1:-1]:
            layer, conventions = row.layer, member.conventions
            assert by_law(layer, 21, conventions) == traced(layer, 21, conventions)


@pytest.mark.parametrize(
    "layer",
    [
        Bottleneck(groups=2, width_per_group=40).layers(64, 256, 1, 2)[0],
        Bottleneck(groups=32).layers(128, 128, 1, 1)[0],  # groups as many as channels: depthwise
        Convolution(kernel_size=17).layer(17, 17, 1),  # widths and kernels of the law's own primes
        Convolution(kernel_size=3, groups=8).layer(8, 8, 1),
        Convolution(kernel_size=3).layer(1, 1, 2),
        MBConv(expand_ratio=1, kernel_size=5, se_ratio=0.25).layer(4, 4, 1),
        MBConv(expand_ratio=6, kernel_size=3).layer(4, 24, 1),  # out as wide as the expansion
        Inception(form="v1").layer(16, 16, 1),
        Dense(growth=12).layers(12, 12, 2, 1)[0],  # growth as wide as the input
    ],
    ids=str,
)
def test_coincidences_of_widths_groups_and_kernels_are_no_trap(layer):
    assert by_law(layer, 19) == traced(layer, 19)


def test_a_layer_that_adds_widths_up_is_traced_with_its_own():
    network = load_architecture("inception_resnet_v2")
    rows = network.rows(num_classes=10, in_channels=3)
    layer = next(r.layer for r in rows if r.layer.module.__name__ == "ScaledResidualLayer")
    assert by_law(layer, 18, network.conventions) == traced(layer, 18, network.conventions)
