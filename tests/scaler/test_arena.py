"""The arena of ExecuTorch: placement by hand, and what its planner reserved for known networks."""

import pytest
import torch
from torch import nn

from scaler.arena import Arena, Lifetime, arena_text, measure_arena, placed
from scaler.cost import device_cost
from scaler.memory_graph import trace_graph
from search_spaces import list_spaces, load_architecture, load_space

# Of lowerings by ExecuTorch 1.5 for a Cortex-M4: equal maps in order, and one drawn order.
PLANNED = {
    "residual_0": (70_144, 70_144),
    "residual_1": (131_072, 131_072),
    "vgg_1": (40_960, 40_960),
    "mbconv_small_3": (201_408, 201_408),
    "inception_3": (141_504, 141_504),
    "highway_1": (360_448, 360_448),
    "residual_10": (98_336, 131_072),
}


@pytest.mark.parametrize("member", PLANNED)
def test_arena_in_order_is_the_planners(member):
    space, number = member.rsplit("_", 1)
    architecture = load_space(space).members(int(number) + 1, seed=1)[-1]
    in_order, drawn = PLANNED[member]
    arena = measure_arena(architecture, "cortex-m4", "float32", num_classes=10)
    assert arena.in_order == in_order
    assert drawn <= arena.most


def test_mobilenet_v2_has_the_arena_of_its_maps():
    assert measure_arena(load_architecture("mobilenet_v2")) == Arena(1_505_280, 1_505_280)


def test_tensors_share_a_block_one_after_another_or_side_by_side():
    whole, first, second = Lifetime(64, 0, 1), Lifetime(32, 2, 4), Lifetime(16, 3, 4)
    assert placed([whole, first, second]) == 64  # both lie where the first one was
    assert placed([whole, first, second, Lifetime(32, 4, 4)]) == 64 + 16  # no room left


def test_gaps_depend_on_the_order_of_equal_tensors():
    one, two, three, four = (Lifetime(32, *ends) for ends in ((0, 1), (1, 3), (3, 4), (4, 5)))
    assert placed([one, two, three, four]) == 2 * 32
    assert placed([one, four, two, three]) == 3 * 32  # the third meets the fourth and the second


@pytest.mark.parametrize(
    ("module", "without", "with_dsp"),
    [  # what cmsis_nn's `..._buffer_size` functions return for cores without and with DSP
        (nn.Conv2d(16, 32, 3, padding=1), 576, 576),
        (nn.Conv2d(128, 128, 3, padding=1, groups=4), 4608, 4608),
        (nn.Conv2d(32, 32, (1, 7), padding=(0, 3)), 896, 896),
        (nn.Conv2d(16, 32, 1, stride=2), 0, 0),
        (nn.Conv2d(16, 16, 3, padding=1, groups=16), 0, 0),
        (nn.Conv2d(16, 16, 5, padding=2, groups=16), 0, 800),
        (nn.Conv2d(1, 8, 3, padding=1), 0, 0),  # a depthwise one to ExecuTorch
        (nn.AvgPool2d(2), 0, 64),
        (nn.MaxPool2d(2), 0, 0),
    ],
)
def test_scratch_is_what_cmsis_nn_asks_for(module, without, with_dsp):
    channels = getattr(module, "in_channels", 16)
    with torch.device("meta"):
        step = trace_graph(nn.Sequential(module), (channels, 32, 32)).steps[-1]
    assert step.scratch == (without, with_dsp)


@pytest.mark.parametrize("space", list_spaces())
def test_arena_holds_the_maps_that_live_at_one_time(space):
    for member in load_space(space).members(2, seed=4):
        arena = measure_arena(member, num_classes=10)
        if member.task != "classification":
            assert arena is None
            continue
        assert device_cost(member, num_classes=10).peak_ram <= arena.in_order


def test_the_image_as_float32_may_be_the_most_of_the_arena():
    known = load_architecture("mobilenet_v1_025_96")
    as_int8, as_float = (measure_arena(known, "cortex-m4", image) for image in ("int8", "float32"))
    assert as_float.in_order == (4 + 1) * 3 * 96**2  # it and its quantised copy
    assert as_int8.in_order == 73_728  # as lowered with QuantizeInputs


def test_a_limit_that_the_maps_alone_keep_is_told():
    network = load_architecture("resnet8")
    has = measure_arena(network, num_classes=10).in_order
    text = f"ExecuTorch's arena has {has:,} bytes"
    assert arena_text(network, num_classes=10) == text
    assert arena_text(network, num_classes=10, limit=has) == text
    over = arena_text(network, num_classes=10, limit=49_152)  # its maps
    assert over.startswith(f"{text}; that is over the limit of 49,152")
    assert over.endswith("leave room, as --max-ram 47KiB")


def test_segmenters_have_no_arena_told():
    assert arena_text(load_architecture("unet_resnet34")) == ""
