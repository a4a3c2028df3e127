"""The arena of ExecuTorch: placement by hand, and what its planner reserved for known networks."""

import pytest
import torch
from torch import nn

from scaler.arena import Arena, Lifetime, measure_arena, placed
from scaler.cost import device_cost
from scaler.memory_graph import trace_graph
from search_spaces import list_spaces, load_architecture, load_space

# Of lowerings by ExecuTorch 1.5 for a Cortex-M4: equal maps in order, and one drawn order.
PLANNED = {
    "residual_0": (70_144, 70_144),
    "residual_1": (131_072, 131_072),
    "residual_2": (262_144, 262_144),
}


@pytest.mark.parametrize("member", PLANNED)
def test_arena_in_order_is_the_planners(member):
    space, number = member.rsplit("_", 1)
    architecture = load_space(space).members(int(number) + 1, seed=1)[-1]
    in_order, drawn = PLANNED[member]
    arena = measure_arena(architecture, num_classes=10)
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


def test_a_limit_that_the_maps_alone_keep_is_told():
    arena = Arena(in_order=98_304, most=131_072)
    assert "over the limit" not in arena.told(131_072)
    assert arena.told(100_000).endswith("over the limit of 100,000: give its planner an order")
    assert arena.told(65_536).endswith("leave room, as --max-ram 42KiB")
    assert arena.told() == (
        "ExecuTorch's arena has 98,304 bytes, up to 131,072 where equal maps come in no order"
    )
