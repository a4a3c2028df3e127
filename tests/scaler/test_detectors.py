"""Detectors: cost by parts as published and by torch's counter; body and head scaled together."""

import pytest

from scaler import CompoundCoefficients, measure_cost, scale, scale_family, scale_to_flops
from scaler.breakdown import measure_operators
from scaler.cost import measure_layers
from scaler.stages import stage_rows
from search_spaces import load_architecture, load_space, resize
from search_spaces.reference.detection import DETECTORS

COEFFICIENTS = CompoundCoefficients(alpha=1.2, beta=1.1, gamma=1.15)


def by_part(name, num_classes):
    """Multiply-adds of the body with its pyramid, of the predictor; parameters."""
    costs = measure_layers(load_architecture(name), num_classes=num_classes)
    neck = ("stem", "stages", "head.lateral", "head.level")
    body = sum(cost.flops for part, cost in costs.items() if part.startswith(neck))
    whole = sum(cost.flops for cost in costs.values())
    return body, whole - body, sum(cost.params for cost in costs.values())


@pytest.mark.parametrize(
    ("name", "classes", "parts"),
    [
        ("fcos_resnet50_fpn", 91, (62_295_621_632, 65_911_431_168, 32_322_720)),
        ("retinanet_resnet50_fpn", 91, (62_295_621_632, 89_244_815_616, 34_068_119)),
    ],
)
def test_detectors_in_one_stage_cost_what_torchvisions_do(name, classes, parts):
    assert by_part(name, classes) == parts


@pytest.mark.parametrize(
    ("count", "flops"), [(1000, 134_379_721_216), (300, 124_328_034_816), (100, 121_456_124_416)]
)
def test_faster_r_cnn_costs_what_torchvisions_does_at_so_many_proposals(count, flops):
    network = load_architecture("fasterrcnn_resnet50_fpn")
    predictor = network.head.predictor.replace(count=count)
    network = network.replace(head=network.head.replace(predictor=predictor))
    costs = measure_layers(network, num_classes=90)  # and the background
    regions = sum(c.flops for part, c in costs.items() if part.startswith("head.region"))
    assert (regions, costs["head.box"].flops) == (31_638_729_216, count * 14_359_552)
    assert sum(cost.flops for cost in costs.values()) == flops
    assert sum(cost.params for cost in costs.values()) == 41_808_406
    assert network.counted == f"{count:,} proposals"


def test_fast_r_cnn_on_vgg_16_costs_what_the_paper_s_network_does():
    body = load_architecture("vgg16")
    body = body.replace(stages=body.stages[:-1])  # conv5_3, at stride 16, without the last pool
    head = {"kind": "map", "levels": [16], "predictor": {"kind": "given", "pooling": "max"}}
    network = body.replace(head=head, resolution=800)  # 640,000 pixels; the paper's 600,000
    costs = measure_layers(network, num_classes=20)  # and the background
    second = costs.pop("head.box")
    assert second.flops == 2000 * 119_967_744
    assert sum(cost.params for cost in costs.values()) + second.params == 134_690_729
    assert network.counted == "2,000 given regions"


@pytest.mark.parametrize("name", [*DETECTORS, "efficientdet_d0"])
def test_torchs_counter_agrees_also_where_maps_do_not_halve_evenly(name):
    for side in (97, 160):
        network = resize(load_architecture(name), width=0.25, resolution=side)
        kinds = measure_operators(network, num_classes=7)  # asserts that they add up
        rows = stage_rows(network, num_classes=7)
        assert sum(row.flops for row in rows) == sum(cost.flops for cost in kinds.values())


def test_the_released_family_of_efficientdet_d0_is_d1_to_d7():
    first = load_architecture("efficientdet_d0")
    for number, member in enumerate(scale_family(first, kind="released", num_classes=90), start=1):
        published = load_architecture(f"efficientdet_d{number}")
        assert member.architecture.key == published.key
        assert member.cost == measure_cost(published, num_classes=90)


def test_the_parts_of_efficientdet_have_effdets_parameters():
    costs = measure_layers(load_architecture("efficientdet_d0"), num_classes=90)
    begins = {"fpn": ("lateral", "down", "up"), "class_net": ("class",), "box_net": ("box",)}
    params = {
        part: sum(c.params for name, c in costs.items() if name.split(".")[-1].startswith(begin))
        for part, begin in begins.items()
    }
    assert params == {"fpn": 196_281, "class_net": 69_354, "box_net": 19_044}


def test_phi_widens_the_pyramid_and_deepens_the_predictor_with_the_body():
    grown = scale(load_architecture("fcos_resnet50_fpn"), phi=2, coefficients=COEFFICIENTS)
    assert grown.head.channels == 312  # 256 * 1.21, to a multiple of 8
    assert grown.head.predictor.layers == 6  # 4 * 1.44, rounded up
    grown = scale(load_architecture("efficientdet_d0"), phi=2, coefficients=COEFFICIENTS)
    assert (grown.head.layers, grown.head.predictor.layers) == (5, 5)  # 3 * 1.44, rounded up


@pytest.mark.parametrize("factor", [0.3, 2.0])
def test_a_whole_detector_is_scaled_to_a_budget(factor):
    network = resize(load_architecture("fcos_resnet50_fpn"), resolution=160)
    target = factor * measure_cost(network, num_classes=3).flops
    member = scale_to_flops(network, target_flops=target, coefficients=COEFFICIENTS, num_classes=3)
    assert member.cost.flops == pytest.approx(target, rel=0.01)
    assert (member.architecture.head.channels > network.head.channels) == (factor > 1)


def test_fields_of_a_head_and_of_its_predictor_are_choices_of_a_space():
    space = load_space("mbconv_detect")
    named = {name for name in space.parameters() if name.startswith("head")}
    assert {"head", "head.fpn.channels", "head.bifpn.layers", "head.fpn.predictor"} <= named
    assert "head.fpn.predictor.points.layers" in named
    assert space.tasks() == {"detection"}
    assert len({measure_cost(one, num_classes=3) for one in space.members(8, seed=0)}) == 8


def test_a_scaled_network_says_how_many_proposals_its_flops_hold_for():
    network = resize(load_architecture("fasterrcnn_resnet50_fpn"), width=0.25, resolution=160)
    member = scale_to_flops(network, target_flops=2e9, coefficients=COEFFICIENTS, num_classes=3)
    assert "px, 1,000 proposals" in str(member)
