"""Other rules than EfficientNet's: pycls's family, one dimension at a time, rounding policies."""

import math

import pytest

from scaler import CompoundCoefficients, scale_family
from scaler.scaled import scaled_by_phi
from search_spaces import InputError, load_architecture, resize
from tests.conftest import golden


def printed(value: float, digits: str) -> str:
    """`value` with as many decimals as the table prints."""
    return f"{value:.{len(digits.partition('.')[2])}f}"


@pytest.mark.parametrize("row", golden("pycls_scaling.csv"), ids=lambda row: f"{row[1]}@{row[0]}")
def test_pyclss_rules_give_its_networks(row):
    growth, rule, resolution, stem, channels, layers, head, params, flops, activations = row
    member = scaled_by_phi(
        load_architecture("efficientnet_b0"),
        phi=math.log2(float(growth)),
        coefficients=CompoundCoefficients.named(rule),
        rounding="nearest",
    )
    grown, cost = member.architecture, member.cost
    assert [grown.resolution, grown.stem.channels] == [int(resolution), int(stem)]
    assert grown.head.channels == int(head)
    assert [stage.channels for stage in grown.stages] == [int(c) for c in channels.split()]
    assert [stage.layers for stage in grown.stages] == [int(n) for n in layers.split()]
    assert printed(cost.params / 1e6, params) == params
    assert printed(cost.flops / 1e9, flops) == flops
    assert printed(cost.activations / 1e6, activations) == activations


@pytest.mark.parametrize("rule", ["depth", "width", "resolution", "dwr", "dWr"])
def test_a_unit_of_phi_doubles_the_flops_nominally(rule):
    assert CompoundCoefficients.named(rule).growth == pytest.approx(2)


def test_dwr_weighs_width_by_eight_parts_in_ten():
    """e = 0.1, 0.8, 0.1: s^0.1, s^0.4, s^0.05 (pycls)."""
    depth, width, resolution = CompoundCoefficients.named("dWr").factors(math.log2(7))
    assert (depth, width, resolution) == pytest.approx((7**0.1, 7**0.4, 7**0.05))


def test_unknown_rules_and_roundings_name_the_near_ones(small):
    with pytest.raises(InputError, match="unknown rule 'dWR'; did you mean 'dWr'"):
        CompoundCoefficients.named("dWR")
    with pytest.raises(InputError, match="unknown rounding 'near'; did you mean 'nearest'"):
        resize(small, depth=2, rounding="near")  # type: ignore[arg-type]


# GFLOPs of the factors 4, 2, 2 and (1.4, 1.2, 1.3), as an independent builder measured them
# (reference-facts, 1.7). ResNet-50's compound row is left out: its bottlenecks round otherwise.
DIMENSIONS = {
    "efficientnet_b0": ["1.575", "1.450", "1.538", "1.800"],
    "mobilenet_v1": [None, "2.216", "2.272", "2.470"],
    "mobilenet_v2": ["1.220", "1.137", "1.199", "1.442"],
    "resnet50": ["14.571", "16.117", "16.351", None],
}


@pytest.mark.parametrize("name", DIMENSIONS)
def test_single_dimensions_cost_what_an_independent_builder_measured(name):
    members = list(scale_family(load_architecture(name), kind="dimensions"))
    assert [m.architecture.name for m in members] == [
        f"{name}_{dimension}" for dimension in ("depth", "width", "resolution", "compound")
    ]
    for member, flops in zip(members, DIMENSIONS[name], strict=True):
        assert flops is None or f"{member.cost.flops / 1e9:.3f}" == flops
