"""Networks scaled to a device: its RAM and flash as budgets, and several limits at once."""

from functools import partial

import pytest

from scaler import CompoundCoefficients
from scaler.cost import device_cost
from scaler.family import members_within, scale_family
from scaler.scaled import scale_to
from scaler.within import scale_within
from search_spaces import load_architecture, resize
from search_spaces.records import InputError

RULE = CompoundCoefficients(alpha=1.2, beta=1.1, gamma=1.15)
SIZES = {"num_classes": 10, "in_channels": 3}
SMALL = resize(load_architecture("mobilenet_v2"), width=0.25, resolution=64)
counted = partial(device_cost, **SIZES)
scale_small = partial(scale_to, SMALL, coefficients=RULE, **SIZES)
within = partial(scale_within, SMALL, coefficients=RULE, **SIZES)


@pytest.mark.parametrize(("cost", "ratio"), [("peak_ram", 2), ("peak_ram", 0.5), ("flash", 1.5)])
def test_bytes_of_a_device_are_met_and_never_passed(cost, ratio):
    target = ratio * getattr(counted(SMALL), cost)
    scaled = scale_small(cost=cost, target=target, tolerance=0.06)
    has = getattr(counted(scaled.architecture), cost)
    assert 0.94 * target <= has <= target
    assert has == getattr(scaled.cost, cost)


@pytest.mark.parametrize("binding", ["flash", "flops"])
def test_of_several_limits_the_one_that_binds_is_met_and_named(binding):
    cost = counted(SMALL)
    limits = {name: 3.0 * getattr(cost, name) for name in ("peak_ram", "flash", "flops")}
    limits[binding] /= 2.5
    scaled = within(limits=limits)
    assert scaled.binding == binding
    assert all(scaled.has(name) <= limit for name, limit in limits.items())
    assert scaled.has(binding) >= 0.9 * limits[binding]
    assert " binds" in str(scaled)


def test_limits_below_the_smallest_member_are_refused_with_what_that_has():
    with pytest.raises(InputError, match=r"target_flash 1000 is below .* smallest member"):
        within(limits={"flash": 1000.0, "peak_ram": 1e6})


def test_ram_cannot_be_met_where_neither_width_nor_resolution_may_grow():
    deep = CompoundCoefficients(alpha=2, beta=1, gamma=1)
    with pytest.raises(InputError, match="no phi adds RAM"):
        scale_within(SMALL, limits={"peak_ram": 1e6}, coefficients=deep)


def test_a_limit_that_the_rule_never_reaches_is_kept_and_binds_nothing():
    cost = counted(SMALL)
    deep = CompoundCoefficients(alpha=2, beta=1, gamma=1)
    flops = 1.5 * cost.flops
    for loose in (1.2 * cost.peak_ram, 1e6 * cost.peak_ram):
        limits = {"peak_ram": loose, "flops": flops}
        scaled = scale_within(SMALL, limits=limits, coefficients=deep, tolerance=0.1, **SIZES)
        assert scaled.binding == "flops"
        assert 0.9 * flops <= scaled.cost.flops <= flops
    with pytest.raises(InputError, match="no phi adds RAM"):  # one that is passed at once
        scale_within(SMALL, limits=limits | {"peak_ram": 1e3}, coefficients=deep, **SIZES)


def test_a_target_of_ram_is_the_most_beside_a_looser_limit_and_alone_binds():
    target = 2 * counted(SMALL).peak_ram
    limits = {"peak_ram": 2 * target, "params": 1e9}
    scaled = scale_small(cost="peak_ram", target=target, tolerance=0.06, limits=limits)
    assert scaled.limits["peak_ram"] == target >= scaled.cost.peak_ram
    assert scaled.binding == "peak_ram"
    assert scale_small(cost="flops", target=counted(SMALL).flops, limits=limits).binding is None


def test_limits_alone_are_none_or_of_latency_only_with_a_target():
    with pytest.raises(InputError, match="goes with a target"):
        within(limits={"latency": 0.1})
    with pytest.raises(InputError, match="there is no limit"):
        within(limits={})


@pytest.mark.parametrize("over", [1, 1.005, 1.02])
def test_a_network_just_below_its_limit_trades_no_width_for_depth(over):
    known = load_architecture("mobilenet_v1_025_96")
    ram, scale_known = counted(known).peak_ram, partial(scale_within, known, coefficients=RULE)
    scaled = scale_known(limits={"peak_ram": over * ram}, **SIZES)
    assert scaled.architecture is known
    assert (scaled.phi, scaled.cost, scaled.note) == (0, counted(known), "")
    assert scaled.binding == "peak_ram"


def test_a_family_ends_with_the_largest_member_that_keeps_the_limits():
    flops = counted(SMALL).flops
    limits = {"flops": 2.0 * flops}
    targets = [1.3 * flops, 4 * flops]
    family = scale_family(
        SMALL, kind="budgets", coefficients=RULE, targets=targets, limits=limits, **SIZES
    )
    found, reason = members_within(family, limits)
    assert len(found) == 1
    assert "are left out: target_flops" in reason
    with pytest.raises(InputError, match="limits are only for a family of budgets"):
        list(scale_family(SMALL, kind="phi", limits=limits, **SIZES))


@pytest.mark.slow
def test_where_nothing_lies_just_below_a_limit_what_lies_further_below_is_found():
    limits = {"peak_ram": 131_072, "flash": 524_288}  # those of a board
    scaled = scale_within(
        load_architecture("mobilenet_v2"), limits=limits, coefficients=RULE, **SIZES
    )
    assert scaled.target == limits[scaled.target_cost]
    assert scaled.limits == limits
    assert all(0.7 * limit <= scaled.has(name) <= limit for name, limit in limits.items())
