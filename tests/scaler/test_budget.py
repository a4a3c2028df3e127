import random

import pytest

from scaler import CompoundCoefficients, measure_cost, scale_family, scale_to, scale_to_flops
from scaler.family import PUBLISHED_RATIOS
from search_spaces import InputError, list_architectures, load_architecture
from tests.conftest import golden

PAPER = CompoundCoefficients()


@pytest.mark.parametrize("target", [1e8, 5e8, 1e9, 4.2e9, 3.7e10])
def test_b0_reaches_any_budget_within_one_percent(target):
    b0 = load_architecture("efficientnet_b0")
    found = scale_to_flops(b0, target_flops=target, coefficients=PAPER)
    assert abs(found.cost.flops / target - 1) <= 0.01
    assert measure_cost(found.architecture) == found.cost
    asked = (found.depth, found.width, found.resolution)
    assert asked == pytest.approx(PAPER.factors(found.phi))
    # Rounding moves each dimension, but the shape stays the rule's.
    for reached, rule in zip(found.reached_factors(), asked, strict=True):
        assert reached == pytest.approx(rule, rel=0.5)


def test_the_users_classes_and_channels_are_in_the_budget(small):
    sizes = {"num_classes": 10, "in_channels": 1}
    base = measure_cost(small, **sizes).flops
    found = scale_to_flops(
        small, target_flops=8 * base, coefficients=PAPER, tolerance=0.03, **sizes
    )
    assert abs(measure_cost(found.architecture, **sizes).flops / (8 * base) - 1) <= 0.03


def test_a_target_at_the_baseline_gives_the_baseline_itself(small):
    target = measure_cost(small).flops
    found = scale_to_flops(small, target_flops=target, coefficients=PAPER)
    assert (found.phi, found.architecture) == (0.0, small)


@pytest.mark.parametrize("target", [0, -3.0, float("nan"), float("inf")])
def test_a_target_that_is_not_positive_is_refused(small, target):
    with pytest.raises(InputError, match="target_flops must be a positive number, but got"):
        scale_to_flops(small, target_flops=target, coefficients=PAPER)


def test_a_target_below_the_smallest_member_names_its_cost(small):
    with pytest.raises(InputError, match=r"5 is below [\d,]+, the cost of the smallest"):
        scale_to_flops(small, target_flops=5, coefficients=PAPER)


@pytest.mark.parametrize("coefficients", [(1.02, 1, 1), (1, 1, 1.05), (1.3, 1.0, 1.0)])
def test_lopsided_coefficients_reach_what_they_can(coefficients):
    alpha, beta, gamma = coefficients
    rule = CompoundCoefficients(alpha=alpha, beta=beta, gamma=gamma)
    b0 = load_architecture("efficientnet_b0")
    found = scale_to_flops(b0, target_flops=3e8, coefficients=rule, tolerance=0.02)
    assert abs(found.cost.flops / 3e8 - 1) <= 0.02


def test_a_target_far_beyond_the_baseline_is_refused(small):
    with pytest.raises(InputError, match="over 10,000 times the baseline's"):
        scale_to_flops(small, target_flops=1e15, coefficients=PAPER)


def test_a_gap_between_members_names_both_sides_and_a_tolerance_that_works(small):
    sizes = {"num_classes": 10, "in_channels": 1}
    target = 0.4 * measure_cost(small, **sizes).flops
    options = {"target_flops": target, "coefficients": PAPER, **sizes}
    with pytest.raises(InputError, match=r"the nearest cost [\d,]+ and [\d,]+") as caught:
        scale_to_flops(small, tolerance=1e-6, **options)
    offered = float(str(caught.value).rsplit(" ", 1)[1])
    assert scale_to_flops(small, tolerance=offered, **options).cost.flops > 0


def test_coefficients_of_one_cannot_reach_anything(small):
    flat = CompoundCoefficients(alpha=1, beta=1, gamma=1)
    with pytest.raises(InputError, match="are all 1"):
        scale_to_flops(small, target_flops=1e9, coefficients=flat)


def test_released_family_of_b0_is_the_released_networks():
    published = {row[0]: (int(row[2]), int(row[3])) for row in reversed(golden("efficientnet.csv"))}
    members = scale_family(load_architecture("efficientnet_b0"), kind="released")
    for i, member in enumerate(members, start=1):
        assert (member.cost.params, member.cost.flops) == published[f"efficientnet_b{i}"]
        key = load_architecture(f"efficientnet_b{i}").key
        assert member.architecture.key == key


def test_budgets_family_keeps_the_published_ratios():
    b0 = load_architecture("efficientnet_b0")
    members = list(scale_family(b0, kind="budgets"))
    reached = [member.cost.flops / 385_814_752 for member in members]
    assert reached == pytest.approx(PUBLISHED_RATIOS, rel=0.01)


def test_unknown_kind_of_family_lists_the_known(small):
    with pytest.raises(InputError, match="known: phi, released, budgets, dimensions"):
        list(scale_family(small, kind="b"))


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "googlenet", "vgg11", "cifar_plain20"])
@pytest.mark.parametrize("ratio", [0.25, 1.1, 2, 10, 100])
def test_every_family_of_blocks_reaches_its_budget(name, ratio):
    network = load_architecture(name)
    target = ratio * measure_cost(network).flops
    found = scale_to_flops(network, target_flops=target, coefficients=PAPER)
    assert abs(found.cost.flops / target - 1) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", list_architectures())
def test_every_named_network_reaches_any_budget(name):
    network = load_architecture(name)
    baseline = measure_cost(network).flops
    draw = random.Random(name)
    for ratio in [0.25, 100, *(0.25 * 400 ** draw.random() for _ in range(6))]:
        target = ratio * baseline
        found = scale_to_flops(network, target_flops=target, coefficients=PAPER)
        assert abs(found.cost.flops / target - 1) <= 0.01


@pytest.mark.parametrize(("cost", "target"), [("params", 2e7), ("activations", 5e7)])
def test_a_budget_may_be_of_another_cost(cost, target):
    found = scale_to(
        load_architecture("efficientnet_b0"), target=target, cost=cost, coefficients=PAPER
    )
    assert abs(getattr(found.cost, cost) / target - 1) <= 0.01
    assert (found.target_flops, found.reached) == (None, getattr(found.cost, cost))


def test_a_budget_of_latency_takes_a_function_to_seconds():
    """A device on which an activation takes a nanosecond."""

    def latency(architecture):
        return measure_cost(architecture).activations * 1e-9

    found = scale_to(
        load_architecture("efficientnet_b0"),
        target=0.02,
        cost="latency",
        latency=latency,
        coefficients=PAPER,
        tolerance=0.05,
    )
    assert found.latency == found.cost.activations * 1e-9 == pytest.approx(0.02, rel=0.05)


def test_limits_are_kept_and_the_rule_gives_way():
    b0 = load_architecture("efficientnet_b0")
    free = scale_to_flops(b0, target_flops=4.2e9, coefficients=PAPER)
    assert free.cost.params > 15e6
    limits = {"params": 15e6, "activations": 60e6}
    held = scale_to_flops(b0, target_flops=4.2e9, coefficients=PAPER, limits=limits)
    assert abs(held.cost.flops / 4.2e9 - 1) <= 0.01
    assert held.cost.params <= 15e6
    assert held.cost.activations <= 60e6


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"flops": 1e9}, r"target_flops 4.2e\+09 is over the limit of 1e\+09 FLOPs"),
        ({"params": 1e6}, r"at most 1e\+06 parameters contradict each other"),
        ({"memory": 1}, "unknown limit 'memory'"),
        ({"params": -1}, "the limit of params must be positive, but got -1"),
        ({"latency": 1}, "a budget of latency needs `latency`"),
    ],
)
def test_limits_that_exclude_the_target_are_named(limits, message):
    b0 = load_architecture("efficientnet_b0")
    with pytest.raises(InputError, match=message):
        scale_to_flops(b0, target_flops=4.2e9, coefficients=PAPER, limits=limits)


def test_coefficients_that_add_no_parameters_reach_no_budget_of_them(small):
    rule = CompoundCoefficients.named("resolution")
    with pytest.raises(InputError, match="no phi adds parameters"):
        scale_to(small, target=1e6, cost="params", coefficients=rule)


def test_a_result_prints_as_a_table():
    b0 = load_architecture("efficientnet_b0")
    text = str(scale_to_flops(b0, target_flops=4.2e9, coefficients=PAPER))
    assert "of 4,200,000,000 FLOPs, phi 3.6" in text
    assert "MBConv6, k5x5, SE 0.25  112 -> 1" in text
    assert text.count("%") == 4  # of the target, and how far each dimension is off the rule
