"""Segmenters: cost by torch's own counter, and scaling of body and head together."""

import pytest
import segmentation_models_pytorch as smp
import torch
from torch.utils.flop_counter import FlopCounterMode

from scaler import CompoundCoefficients, measure_cost, scale, scale_to_flops
from scaler.breakdown import measure_operators
from scaler.cost import measure_layers
from scaler.stages import stage_rows
from search_spaces import SearchSpace, build_network, load_architecture, resize
from search_spaces.reference.segmentation import SEGMENTERS

COEFFICIENTS = CompoundCoefficients(alpha=1.2, beta=1.1, gamma=1.15)


def counted(network, side):
    """Parameters and multiply-adds by torch on its meta device."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.empty(1, 3, side, side, device="meta"))
    params = sum(p.numel() for p in network.parameters())
    return params, counter.get_total_flops() // 2


@pytest.mark.parametrize("name", SEGMENTERS)
def test_torchs_counter_agrees_also_where_maps_do_not_halve_evenly(name):
    for side in (97, 256):
        network = resize(load_architecture(name), resolution=side)
        with torch.device("meta"):
            built = build_network(network, num_classes=7)
        cost = measure_cost(network, num_classes=7)
        assert (cost.params, cost.flops) == counted(built, side)
        assert sum(row.flops for row in stage_rows(network, num_classes=7)) == cost.flops


@pytest.mark.parametrize(
    ("name", "encoder", "unused"),
    [
        ("unet_resnet34", "resnet34", 0),
        ("unet_efficientnet_b0", "efficientnet-b0", 412_160),
        ("fpn_resnet34", "resnet34", 0),
        ("fpn_efficientnet_b0", "efficientnet-b0", 412_160),
    ],
)
def test_smps_segmenters_cost_the_same_but_for_the_convolution_that_smp_never_runs(
    name, encoder, unused
):
    with torch.device("meta"):
        make = smp.Unet if name.startswith("unet") else smp.FPN
        oracle = make(encoder, encoder_weights=None, classes=25)
    params, flops = counted(oracle, 256)
    cost = measure_cost(resize(load_architecture(name), resolution=256), num_classes=25)
    assert (cost.params, cost.flops) == (params - unused, flops)


def test_a_deconvolution_costs_by_the_pixels_of_its_input():
    costs = measure_layers(load_architecture("unet"), num_classes=2)
    assert costs["head.up_0"].flops == 1024 * 512 * 4 * 32**2
    assert costs["head.up_0"].activations == 512 * 64**2
    assert measure_operators(load_architecture("unet"), num_classes=2)["conv transposed"].flops == (
        sum(costs[f"head.up_{k}"].flops for k in range(4))
    )


def test_phi_widens_and_deepens_the_head_with_the_body():
    grown = scale(load_architecture("unet_bn"), phi=2, coefficients=COEFFICIENTS)
    assert grown.head.layers == 3  # 2 * 1.44, rounded up
    assert grown.head.widths == (616, 312, 152, 80)  # by 1.21, to multiples of 8
    assert [stage.layers for stage in grown.stages] == [2, 3, 3, 3, 3]


@pytest.mark.parametrize("name", ["unet_bn", "fcn8s_vgg16", "deeplabv3_resnet50"])
@pytest.mark.parametrize("factor", [0.3, 2.0])
def test_a_whole_segmenter_is_scaled_to_a_budget(name, factor):
    network = resize(load_architecture(name), resolution=128)
    target = factor * measure_cost(network, num_classes=6).flops
    member = scale_to_flops(network, target_flops=target, coefficients=COEFFICIENTS, num_classes=6)
    assert member.cost.flops == pytest.approx(target, rel=0.01)
    assert (member.architecture.head.channels > network.head.channels) == (factor > 1)


def test_a_head_is_a_choice_of_a_space_and_its_fields_are_choices_too():
    body = load_architecture("resnet18").model_dump(mode="json", exclude={"name"})
    heads = [
        {"kind": "unet", "widths": {"choice": [[64, 32], [32, 16, 16]]}, "layers": 1},
        {"kind": "fcn", "skips": {"choice": [1, 2, 3]}},
    ]
    space = SearchSpace("bodies", {**body, "head": {"choice": heads}})
    assert set(space.parameters()) == {"head", "head.unet.widths", "head.fcn.skips"}
    assert {member.head.kind for member in space.members(5, seed=0)} == {"unet", "fcn"}
