"""B0 to B8, L2 and Lite against the published structures (reference facts, 1.2 and 1.3)."""

import pytest

from search_spaces import load_architecture, resize
from search_spaces.network import build_network
from tests.conftest import golden

STRUCTURES = [  # stem, stage channels, repeats, head
    ("b0", 32, "16 24 40 80 112 192 320", "1 2 2 3 3 4 1", 1280),
    ("b1", 32, "16 24 40 80 112 192 320", "2 3 3 4 4 5 2", 1280),
    ("b2", 32, "16 24 48 88 120 208 352", "2 3 3 4 4 5 2", 1408),
    ("b3", 40, "24 32 48 96 136 232 384", "2 3 3 5 5 6 2", 1536),
    ("b4", 48, "24 32 56 112 160 272 448", "2 4 4 6 6 8 2", 1792),
    ("b5", 48, "24 40 64 128 176 304 512", "3 5 5 7 7 9 3", 2048),
    ("b6", 56, "32 40 72 144 200 344 576", "3 6 6 8 8 11 3", 2304),
    ("b7", 64, "32 48 80 160 224 384 640", "4 7 7 10 10 13 4", 2560),
    ("b8", 72, "32 56 88 176 248 424 704", "4 8 8 11 11 15 4", 2816),
    ("l2", 136, "72 104 176 344 480 824 1376", "6 11 11 16 16 22 6", 5504),
]


@pytest.mark.parametrize(("member", "stem", "channels", "layers", "head"), STRUCTURES)
def test_structure_is_the_published_one(member, stem, channels, layers, head):
    network = load_architecture(f"efficientnet_{member}")
    assert network.stem.channels == stem
    assert " ".join(str(stage.channels) for stage in network.stages) == channels
    assert " ".join(str(stage.layers) for stage in network.stages) == layers
    assert network.head.channels == head


def test_lite_keeps_stem_head_and_the_ends_repeats():
    lite = load_architecture("efficientnet_lite4")
    assert (lite.stem.channels, lite.head.channels) == (32, 1280)
    assert (lite.stages[0].layers, lite.stages[-1].layers) == (1, 1)
    assert lite.stages[0].channels == 24


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_b1", "efficientnet_lite0"])
def test_built_network_has_the_published_parameters(name):
    params = {row[0]: int(row[2]) for row in golden("efficientnet.csv")}
    network = build_network(load_architecture(name))
    assert sum(p.numel() for p in network.parameters()) == params[name]


def test_maps_of_b7_have_the_published_sizes():
    sizes = load_architecture("efficientnet_b7").sizes()
    assert sorted(set(sizes), reverse=True) == [600, 300, 150, 75, 38, 19]


def test_squeezed_widths_follow_each_layers_own_input():
    rows = load_architecture("efficientnet_b0").rows(num_classes=1000, in_channels=3)
    widths = [dict(row.layer.arguments)["squeezed_channels"] for row in rows[1:-1]]
    assert widths == [8, 4, 6, 6, 10, 10, 20, 20, 20, 28, 28, 28, 48, 48, 48, 48]


def test_drop_connect_grows_with_depth_and_never_reaches_its_rate():
    rows = load_architecture("efficientnet_b0").rows(num_classes=1000, in_channels=3)
    rates = [row.drop_rate for row in rows[1:-1]]
    assert rates == [0.2 * i / 16 for i in range(16)]
    assert sum(row.layer.residual for row in rows) == 9


def test_a_factor_of_one_changes_nothing():
    b0 = load_architecture("efficientnet_b0")
    odd = b0.replace(stages=(b0.stages[0].replace(channels=13), *b0.stages[1:]))
    assert resize(odd, depth=1.0, width=1.0) == odd
