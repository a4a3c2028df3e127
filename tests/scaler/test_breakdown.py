"""The cost by operator: by hand on a small network, and its sum against fvcore's count."""

import pytest

from scaler import Cost, measure_cost
from scaler.breakdown import measure_operators
from search_spaces import list_spaces, load_architecture, load_space
from tests.members import random_members


def test_operators_of_a_small_network_worked_out_by_hand(small):
    """Stem 3 x 3 on 16 px; depthwise 8 @ 3 x 3 twice, then 24 -> 24 strided and 48 @ 5 x 5."""
    parts = measure_operators(small, num_classes=10, in_channels=1)
    assert parts["conv kxk"] == Cost(9 * 8 * 256, 72, 8 * 256)
    assert parts["linear"] == Cost(320, 330, 0)
    depthwise = 2 * 9 * 8 * 256 + 25 * 24 * 64 + 25 * 48 * 64
    assert parts["conv depthwise"].flops == depthwise
    assert parts["other"].flops == parts["other"].activations == 0
    assert "matmul" not in parts


NAMED = [
    "efficientnet_b0",
    "resnext50_32x4d",
    "inception_v3",
    "densenet121",
    "vgg11",
    "mobilenet_v2",
]


@pytest.mark.parametrize("name", NAMED)
def test_operators_add_up_to_the_cost_and_need_no_product_of_maps(name):
    network = load_architecture(name)
    parts = measure_operators(network)
    assert sum(parts.values(), Cost(0, 0, 0)) == measure_cost(network)
    assert "matmul" not in parts


@pytest.mark.parametrize("space", list_spaces())
def test_operators_of_random_members_add_up(space):
    for member in random_members(load_space(space), 2):
        parts = measure_operators(member, num_classes=7)
        assert sum(parts.values(), Cost(0, 0, 0)) == measure_cost(member, num_classes=7)
        assert "matmul" not in parts


def test_grouped_convolutions_have_a_row_of_their_own():
    """ResNeXt-50 32x4d: per block 3 x 3 of width w in 32 groups, 3/4/6/3 blocks; the first of a
    stage strides from the larger map, after its 3 x 3 (w = 128, 256, 512, 1024 at 56..7 px)."""
    parts = measure_operators(load_architecture("resnext50_32x4d"))
    blocks = [(3, 128, 56), (4, 256, 28), (6, 512, 14), (3, 1024, 7)]
    flops = sum(n * size**2 * width * 9 * width // 32 for n, width, size in blocks)
    assert parts["conv grouped"].flops == flops
