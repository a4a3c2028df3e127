"""A budget is met as near to the rule as whole layers, channels and pixels allow."""

import math
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaler import CompoundCoefficients, measure_cost, scale_family, scale_to_flops
from scaler.shapes import dominates, factors_of
from search_spaces import (
    Architecture,
    Convolution,
    Head,
    InputError,
    MBConv,
    Stage,
    Stem,
    load_architecture,
)

PAPER = CompoundCoefficients()
FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


def network(layers, channels, resolution=48):
    """MBConv stages, every second of which strides."""
    block = MBConv(expand_ratio=3, kernel_size=3)
    stages = tuple(
        Stage(channels=c, layers=n, stride=1 + i % 2, block=block)
        for i, (n, c) in enumerate(zip(layers, channels, strict=True))
    )
    stem = Stem(channels=16, stride=2, block=Convolution(kernel_size=3))
    return Architecture(
        name="drawn", resolution=resolution, stem=stem, stages=stages, head=Head(channels=128)
    )


@st.composite
def networks(draw):
    count = draw(st.integers(3, 6))
    layers = [draw(st.integers(1, 4)) for _ in range(count)]
    channels = [8 * draw(st.integers(1, 3)) for _ in range(count)]
    summed = [sum(channels[: i + 1]) for i in range(count)]  # wider and wider, as networks are
    return network(layers, summed, draw(st.integers(32, 128)))


factor = st.floats(1.0, 1.4)
coefficients = st.builds(CompoundCoefficients, alpha=factor, beta=factor, gamma=factor).filter(
    lambda rule: rule.growth > 1.3
)


@FEW
@given(networks(), coefficients, st.floats(1.5, 20))
def test_a_budget_is_met_and_no_dimension_is_below_the_baselines(baseline, rule, ratio):
    target = ratio * measure_cost(baseline).flops
    found = scale_to_flops(baseline, target_flops=target, coefficients=rule, tolerance=0.02)
    assert abs(found.cost.flops / target - 1) <= 0.02
    assert dominates(found.architecture, baseline) or found.note
    for name, (_, value), reached in zip(
        ("depth", "width", "resolution"), rule, found.reached_factors(), strict=True
    ):
        assert value > 1 or reached == 1 or name in found.moved


@FEW
@given(networks(), coefficients, st.floats(2, 20))
def test_every_factor_is_within_half_a_step_of_the_rule(baseline, rule, ratio):
    """Half a layer, and 2 % for what width and resolution must do to meet the target."""
    target = ratio * measure_cost(baseline).flops
    found = scale_to_flops(baseline, target_flops=target, coefficients=rule, tolerance=0.02)
    step = 0.5 / sum(stage.layers for stage in baseline.stages)
    asked = (found.depth, found.width, found.resolution)
    assert abs(found.reached_factors()[0] - found.depth) <= step + 0.02 * found.depth
    for reached, wished in list(zip(found.reached_factors(), asked, strict=True))[1:]:
        assert reached == pytest.approx(wished, rel=0.06)


def test_one_layer_stages_do_not_all_become_two():
    baseline = network([1, 1, 1, 1, 1], [16, 24, 40, 64, 96], resolution=64)
    target = 2.8 * measure_cost(baseline).flops
    found = scale_to_flops(baseline, target_flops=target, coefficients=PAPER)
    depth, width, _ = found.reached_factors()
    assert sum(stage.layers for stage in found.architecture.stages) in (6, 7)
    assert depth == pytest.approx(found.depth, rel=0.1)
    assert width == pytest.approx(found.width, rel=0.04)


def test_the_stages_that_get_the_layer_are_nearer_than_any_other_choice_of_them():
    """All ways to add layers to a small network, at its own width and resolution."""
    baseline = network([2, 3, 1], [16, 24, 40])
    rule = CompoundCoefficients(alpha=1.5, beta=1.0, gamma=1.0)
    flops = measure_cost(baseline).flops
    found = scale_to_flops(baseline, target_flops=1.9 * flops, coefficients=rule, tolerance=0.05)
    assert found.moved == ()
    best = min(
        abs(math.log(sum(layers) / 6 / found.depth))
        for layers in [(a, b, c) for a in range(2, 8) for b in range(3, 9) for c in range(1, 6)]
        if abs(measure_cost(network(layers, [16, 24, 40])).flops / (1.9 * flops) - 1) <= 0.05
    )
    assert abs(math.log(found.reached_factors()[0] / found.depth)) <= best + 1e-9


@FEW
@given(networks(), st.lists(st.floats(1.3, 3), min_size=2, max_size=4))
def test_no_member_of_a_family_is_below_the_one_before_it(baseline, growths):
    flops = measure_cost(baseline).flops
    targets = [flops * math.prod(growths[: i + 1]) for i in range(len(growths))]
    family = scale_family(baseline, kind="budgets", targets=targets, tolerance=0.03)
    members = [baseline, *(member.architecture for member in family)]
    assert all(dominates(big, small) for small, big in pairwise(members))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "efficientnet_b0"])
@pytest.mark.parametrize("rule", [(1.2, 1.1, 1.0), (1.0, 1.4, 1.0), (1.3, 1.0, 1.2)])
def test_a_dimension_with_coefficient_one_is_fixed(name, rule):
    alpha, beta, gamma = rule
    baseline = load_architecture(name)
    found = scale_to_flops(
        baseline,
        target_flops=2 * measure_cost(baseline).flops,
        coefficients=CompoundCoefficients(alpha=alpha, beta=beta, gamma=gamma),
    )
    reached = found.reached_factors()
    assert [r for r, value in zip(reached, rule, strict=True) if value == 1] == [1] * rule.count(1)
    assert (found.moved, found.note) == ((), "")


def test_a_dimension_that_has_to_move_is_said():
    baseline = network([1, 1, 1], [8, 16, 24])
    target = 1.1 * measure_cost(baseline).flops
    rule = CompoundCoefficients.named("depth")
    found = scale_to_flops(baseline, target_flops=target, coefficients=rule)
    assert found.moved
    assert "moved although the coefficient is 1" in found.note
    assert found.note in str(found)


def test_a_resolution_by_hand_stays():
    baseline = load_architecture("mobilenet_v2")
    found = scale_to_flops(baseline, target_flops=1e8, coefficients=PAPER, resolution=64)
    assert found.architecture.resolution == 64
    assert abs(found.cost.flops / 1e8 - 1) <= 0.01
    assert found.resolution == 1


def test_a_largest_resolution_is_kept_and_the_rest_grows_instead():
    baseline = load_architecture("efficientnet_b0")
    options = {"target_flops": 4.2e9, "coefficients": PAPER}
    held = scale_to_flops(baseline, max_resolution=256, **options)
    free = scale_to_flops(baseline, **options)
    assert held.architecture.resolution <= 256 < free.architecture.resolution
    assert held.reached_factors()[:2] > free.reached_factors()[:2]
    with pytest.raises(InputError, match="resolution 300 is over max_resolution 256"):
        scale_to_flops(baseline, resolution=300, max_resolution=256, **options)


def test_factors_do_not_count_pools_as_layers():
    resnet = load_architecture("resnet18")
    found = scale_to_flops(resnet, target_flops=6e9, coefficients=PAPER)
    layers = [s.layers for s in found.architecture.stages if s.block.fixed_layers is None]
    assert factors_of(found.architecture, resnet)[0] == sum(layers) / 8
