"""Dense heads: the same outputs as torchvision's and smp's, any size, and what is refused."""

import pytest
import segmentation_models_pytorch as smp
import torch
from torchvision.models import segmentation

from search_spaces import InputError, build_network, load_architecture, resize
from search_spaces.heads import UNetHead


def taught(network, oracle):
    """`network` with the oracle's weights, tensor by tensor in the order that both are built in."""
    mine, theirs = network.state_dict(), oracle.state_dict()
    mine = {name: value for name, value in mine.items() if "tracked" not in name}
    theirs = {name: value for name, value in theirs.items() if "tracked" not in name}
    assert [v.shape for v in mine.values()] == [v.shape for v in theirs.values()]
    paired = dict(zip(mine, theirs.values(), strict=True))
    network.load_state_dict(paired, strict=False)
    return network.eval()


def random_statistics(network):
    """Batch norms as after a training, so that a swapped one shows."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


@torch.no_grad()
@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_resnet50"])
def test_with_the_same_weights_the_scores_are_torchvisions(name):
    options = {"weights": None, "weights_backbone": None, "aux_loss": False}
    oracle = random_statistics(getattr(segmentation, name)(**options, num_classes=5))
    network = taught(build_network(load_architecture(name), num_classes=5), oracle)
    x = torch.randn(1, 3, 64, 64)
    expected = oracle(x)["out"]
    assert expected.std() > 1e-3
    assert torch.allclose(network(x), expected, rtol=1e-3, atol=1e-4 * float(expected.std()))


@torch.no_grad()
def test_with_the_same_weights_the_scores_are_smps_unet():
    oracle = random_statistics(smp.Unet("resnet34", encoder_weights=None, classes=3))
    network = taught(build_network(load_architecture("unet_resnet34"), num_classes=3), oracle)
    x = torch.randn(1, 3, 64, 96)
    expected = oracle(x)
    assert torch.allclose(network(x), expected, rtol=1e-3, atol=1e-4 * float(expected.std()))


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "encoder"), [("fpn_resnet34", "resnet34"), ("fpn_efficientnet_b0", "efficientnet-b0")]
)
def test_with_the_same_weights_the_scores_are_smps_fpn(name, encoder):
    oracle = random_statistics(smp.FPN(encoder, encoder_weights=None, classes=3))
    network = build_network(load_architecture(name), num_classes=3)
    # smp builds its levels from coarse to fine, and a last convolution that it never runs
    theirs = {k: v for k, v in oracle.state_dict().items() if "tracked" not in k}
    unused = ("encoder._conv_head", "encoder._bn1")
    theirs = {k: v for k, v in theirs.items() if not k.startswith(unused)}
    order = [k for k in network.state_dict() if "tracked" not in k]
    finest_last = [k for k in order if ".lateral_" in k]
    turned = iter(sorted(finest_last, key=lambda k: -int(k.split("lateral_")[1].split(".")[0])))
    order = [next(turned) if ".lateral_" in k else k for k in order]
    assert [network.state_dict()[k].shape for k in order] == [v.shape for v in theirs.values()]
    network.load_state_dict(dict(zip(order, theirs.values(), strict=True)), strict=False)
    x = torch.randn(1, 3, 64, 96)
    expected = oracle(x)
    assert expected.std() > 1e-3
    mine = network.eval()(x)
    assert torch.allclose(mine, expected, rtol=1e-3, atol=1e-4 * float(expected.std()))


@torch.no_grad()
@pytest.mark.parametrize("side", [33, 50, 64])
@pytest.mark.parametrize(
    "name", ["fpn_resnet34", "unet", "fcn8s_vgg16", "fcn_resnet50", "unet_efficientnet_b0"]
)
def test_any_image_gets_scores_of_its_own_size(name, side):
    small = resize(load_architecture(name), width=0.125, resolution=side)
    network = build_network(small, num_classes=2).eval()
    assert network(torch.randn(1, 3, side, side + 7)).shape == (1, 2, side, side + 7)


@torch.no_grad()
def test_scores_that_are_deconvolved_begin_as_bilinear_interpolation():
    network = build_network(load_architecture("fcn32s_vgg16"), num_classes=2)
    up = network.head.layers["up_0"]
    line = torch.arange(4.0).reshape(1, 1, 1, 4).repeat(1, 2, 4, 1)
    wide = up(line)
    expected = torch.nn.functional.interpolate(line, scale_factor=32, mode="bilinear")
    assert torch.allclose(wide[..., 16:-16, 16:-16], expected[..., 16:-16, 16:-16], atol=1e-5)


REFUSED = [
    ({"kind": "unet", "widths": [8] * 7}, r"7 steps up.*5 maps, at strides 2, 4, 8, 16, 32"),
    ({"kind": "fcn", "reads": [0, 4], "skips": 3}, r"skips is 3, but the body has 2 maps"),
    ({"kind": "fcn", "reads": [0, 9]}, r"stages from 0 to 4, but got 9"),
    ({"kind": "fcn", "reads": [0, 1]}, r"must end with the last stage, 4"),
    ({"kind": "unet", "widths": [8], "reads": [0, 1, 4]}, r"at strides \[4, 4, 32\]"),
    (
        {"kind": "fpn", "levels": [16, 32], "predictor": {"kind": "given", "pooling": "max"}},
        r"pooling max takes regions from one level, but there are 2: give levels",
    ),
    ({"kind": "map", "levels": [16], "predictor": {"kind": "given"}}, r"body's last stride, 32"),
    ({"kind": "fcn", "skips": 4}, r"skips: .*less than or equal to 3, but got 4"),
    ({"kind": "deeplab", "rates": []}, r"rates: .*at least 1 item"),
]


@pytest.mark.parametrize(("head", "words"), REFUSED)
def test_an_error_names_the_stage_the_stride_or_the_value(head, words):
    data = load_architecture("resnet18").model_dump(mode="json") | {"head": head}
    from search_spaces import Architecture

    with pytest.raises(InputError, match=words):
        Architecture.parse(data, source="net.yaml")


def test_no_classes_have_no_meaning_for_pixels():
    with pytest.raises(InputError, match="num_classes must be at least 1 for a head that scores"):
        build_network(load_architecture("unet"), num_classes=0)


def test_keys_tell_heads_apart_that_have_the_same_layers():
    body = load_architecture("resnet18")
    nearest, bilinear = (
        body.replace(head=UNetHead(kind="unet", widths=(64, 32), up=up))
        for up in ("nearest", "bilinear")
    )
    assert len({body.key, nearest.key, bilinear.key}) == 3
    assert nearest.key == nearest.replace(name="another").key
