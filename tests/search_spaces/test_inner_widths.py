"""Widths inside a block that no integer ratio gives: their cost, growth, files and mistakes."""

import random

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scaler import CompoundCoefficients, measure_cost, scale, scale_to_flops
from scaler.cost import trace_cost
from search_spaces import (
    Architecture,
    InputError,
    SearchSpace,
    build_network,
    load_architecture,
    resize,
)
from tests.search_spaces.test_blocks import architecture

WIDTHS = [8, 12, 24, 33, 48, 96]  # some are the layers' own widths, some nobody's multiple


def _stage(*blocks: dict, channels: int, stride: int) -> dict:
    return {"channels": channels, "layers": 2, "stride": stride, "block": {"choice": [*blocks]}}


SPACE = SearchSpace(
    "inner",
    {
        "resolution": 20,
        "stem": {"channels": 12, "stride": 1, "block": {"kind": "conv", "kernel_size": 3}},
        "stages": [
            _stage(
                {
                    "kind": "mbconv",
                    "expanded_channels": {"choice": WIDTHS},
                    "kernel_size": 3,
                    "se_ratio": {"choice": [0, 0.25]},
                },
                {"kind": "mbconv", "expand_ratio": {"choice": [0.5, 1, 2.3, 6]}, "kernel_size": 5},
                {
                    "kind": "fused_mbconv",
                    "expanded_channels": {"choice": WIDTHS},
                    "kernel_size": 3,
                },
                channels=24,
                stride=2,
            ),
            _stage(
                {
                    "kind": "basic",
                    "inner_channels": {"choice": [None, *WIDTHS]},
                    "se_ratio": {"choice": [0, 0.25]},
                    "order": {"choice": ["original", "full_pre_activation"]},
                    "shortcut": {"choice": ["B", "none"]},
                },
                {
                    "kind": "bottleneck",
                    "inner_channels": {"choice": [12, 24, 36]},
                    "groups": {"choice": [1, 3, 12]},
                },
                channels=48,
                stride=2,
            ),
        ],
        "head": {"channels": 64},
    },
)


def test_the_cost_of_random_members_is_torchs_and_fvcores_to_the_integer():
    for member in SPACE.members(12, seed=1):
        with torch.device("meta"):
            network = build_network(member, num_classes=7).eval()
            x = torch.empty(1, 3, 20, 20)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(x)
        cost = measure_cost(member, num_classes=7)
        assert cost.flops * 2 == counter.get_total_flops()
        assert cost.params == sum(parameter.numel() for parameter in network.parameters())
    traced, _ = trace_cost(build_network(member, num_classes=7), (3, 20, 20))
    assert measure_cost(member, num_classes=7) == traced


def test_members_come_back_equal_from_their_files():
    for member in SPACE.members(40, seed=2):
        text = member.to_yaml()
        again = Architecture.model_validate_json(member.model_dump_json(exclude_defaults=True))
        assert again == member
        assert (again.key, again.to_yaml()) == (member.key, text)


def test_a_mobilenet_v3_layer_by_hand():
    """Row 8 of its large table: 80 -> 80, exp size 200: 80*200 + 9*200 + 200*80 and batch norms."""
    block = {"kind": "mbconv", "kernel_size": 3}
    (exact, ratio) = (
        architecture({**block, **width}, channels=80, layers=2)
        for width in ({"expanded_channels": 200}, {"expand_ratio": 2.5})
    )
    second = build_network(exact).stages[0][1]
    norms = 2 * (200 + 200 + 80)
    assert sum(p.numel() for p in second.parameters()) == 80 * 200 + 9 * 200 + 200 * 80 + norms
    assert (
        ratio.rows(num_classes=0, in_channels=3)[2] == exact.rows(num_classes=0, in_channels=3)[2]
    )


@pytest.mark.parametrize(
    ("ratio", "expanded"), [(0.5, 8), (3.67, 88), (2.3, 56), (3, 72), (3.0, 72)]
)
def test_a_fractional_ratio_rounds_as_widths_do_and_a_whole_one_is_exact(ratio, expanded):
    from search_spaces import MBConv

    block = MBConv(expand_ratio=ratio, kernel_size=3)
    assert block.expanded(24 if ratio != 0.5 else 12) == expanded
    assert (block.describe(), block.expand_ratio) == (f"MBConv{ratio:g}, k3x3", ratio)
    assert isinstance(block.expand_ratio, int) == (ratio == 3)


@pytest.mark.parametrize("width", [0.7, 1.0, 1.1, 1.21, 2.0])
def test_inner_widths_grow_by_the_rounding_of_all_widths(width):
    from search_spaces.resizing import round_channels

    draw = random.Random(3)
    for member in draw.sample(SPACE.members(40, seed=3), 12):
        grown = resize(member, width=width)
        assert grown == member or width != 1
        for old, new in zip(member.stages, grown.stages, strict=True):
            for name in {"expanded_channels", "inner_channels"} & dict(old.block).keys():
                before, groups = getattr(old.block, name), getattr(old.block, "groups", 1)
                wished = before and -(-round_channels(before, width) // groups) * groups
                assert getattr(new.block, name) == wished
        assert measure_cost(grown).flops == trace_cost(build_network(grown), (3, 20, 20))[0].flops


def test_a_member_scales_to_a_budget_and_phi_0_is_itself():
    member = architecture({"kind": "mbconv", "kernel_size": 3, "expanded_channels": 60})
    assert scale(member, phi=0, coefficients=CompoundCoefficients()) == member
    target = 4 * measure_cost(member).flops
    found = scale_to_flops(member, target_flops=target, coefficients=CompoundCoefficients())
    assert abs(found.cost.flops / target - 1) <= 0.01
    assert found.architecture.stages[0].block.expanded_channels > 60


def test_the_natural_width_said_or_not_is_one_network():
    for block, channels, said in (
        ({"kind": "basic"}, 32, {"inner_channels": 32}),
        ({"kind": "bottleneck", "groups": 4}, 64, {"inner_channels": 16}),
    ):
        plain = architecture(block, channels=channels)
        assert architecture({**block, **said}, channels=channels).key == plain.key
    ratio = architecture({"kind": "mbconv", "kernel_size": 3, "expand_ratio": 6}, channels=32)
    said = {"kind": "mbconv", "kernel_size": 3, "expanded_channels": 96}
    assert architecture(said, channels=32).key == ratio.key


@pytest.mark.parametrize(
    ("name", "key", "bytes_of_yaml"),
    [
        ("efficientnet_b0", "47216bb45312c219", 950),
        ("resnet50", "1155dbf5775cc027", 557),
        ("resnext50_32x4d", "4c4cb488fbe4743d", 692),
    ],
)
def test_networks_without_these_fields_are_what_they_were(name, key, bytes_of_yaml):
    """Keys and files as written before the fields were there."""
    known = load_architecture(name)
    assert (known.key, len(known.to_yaml())) == (key, bytes_of_yaml)
    assert "inner_channels" not in known.to_yaml() + known.model_dump_json(exclude_defaults=True)
    assert "expanded_channels" not in known.model_dump_json(exclude_defaults=True)


MBCONV = {"kind": "mbconv", "kernel_size": 3}


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (MBCONV, "needs either expand_ratio, as 6, or expanded_channels, as 96, but got none"),
        ({**MBCONV, "expand_ratio": 6, "expanded_channels": 96}, "expanded_channels.* got both"),
        ({**MBCONV, "expanded_channels": 0}, "greater than or equal to 1, but got 0"),
        ({**MBCONV, "expanded_channels": 9.5}, "valid integer.* but got 9.5"),
        ({**MBCONV, "expand_ratio": 0}, "greater than 0, but got 0"),
        ({**MBCONV, "expand_ratio": float("nan")}, "expand_ratio.*, but got nan"),
        ({"kind": "basic", "inner_channels": 0}, "greater than or equal to 1, but got 0"),
        (
            {"kind": "bottleneck", "inner_channels": 20, "groups": 8},
            r"groups 8 must divide the bottleneck's width, which is 20 \(inner_channels\)",
        ),
        (
            {"kind": "bottleneck", "inner_channels": 16, "width_per_group": 4},
            "inner_channels or width_per_group, but got both, 16 and 4; leave one out",
        ),
    ],
)
def test_a_width_that_cannot_be_is_one_clear_line(block, message):
    with pytest.raises(InputError, match=message) as caught:
        architecture(block, channels=32)
    assert "\n" not in str(caught.value)
    assert "stages.0" in str(caught.value)
