"""Receptive fields against the published ones, and by gradient."""

import pytest
import torch

from search_spaces import build_network, load_architecture, resize

PUBLISHED = [  # behind the last stage
    ("googlenet", 715),
    ("bn_inception", 699),
    ("resnet18", 435),
    ("resnet34", 899),
    ("resnet50", 427),
    ("resnet50_v1", 483),
    ("resnet152", 1451),
    ("resnet200_v1", 1763),
    ("cifar_resnet20", 81),
    ("cifar_resnet1202", 5597),
    ("densenet121", 2071),
    ("densenet161", 2967),
    ("densenet264", 5399),
]


@pytest.mark.parametrize(("name", "field"), PUBLISHED)
def test_the_last_stage_sees_what_the_literature_says(name, field):
    assert load_architecture(name).receptive_fields()[-2] == field


@pytest.mark.parametrize(
    ("name", "conv", "pool", "fc6"),
    [
        ("vgg11", 134, 150, 342),
        ("vgg13", 140, 156, 348),
        ("vgg16", 196, 212, 404),
        ("vgg19", 252, 268, 460),
    ],
)
def test_vgg_sees_the_published_fields_at_the_last_conv_pool_and_fc6(name, conv, pool, fc6):
    assert load_architecture(name).receptive_fields()[-3:] == [conv, pool, fc6]


@pytest.mark.parametrize(("layers", "field"), [(1, 3), (2, 5), (3, 7)])
def test_a_pile_of_3x3_sees_as_much_as_one_larger_kernel(small, layers, field):
    block = small.stem.block
    first = small.stages[0].replace(block=block, layers=layers)
    pointwise = small.stem.replace(block=block.replace(kernel_size=1))
    pile = small.replace(stem=pointwise, stages=(first,))
    assert pile.receptive_fields() == [1, field, field]


@pytest.mark.parametrize("name", ["cifar_resnet20", "cifar_highway19"])
def test_the_gradient_of_one_pixel_reaches_no_further(name):
    field = load_architecture(name).receptive_fields()[2]
    network = build_network(resize(load_architecture(name), resolution=128)).double().eval()
    x = torch.randn(1, 3, 128, 128, dtype=torch.double, requires_grad=True)
    maps = network.stages[1](network.stages[0](network.stem(x)))
    maps[..., maps.shape[-1] // 2, maps.shape[-1] // 2].sum().backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert rows.max() - rows.min() + 1 == field


TAPS = [  # reference facts, section 4: channels at strides 2, 4, 8, 16, 32
    ("mobilenet_v2", 64, [16, 24, 32, 96, 320]),
    ("resnet50", 64, [64, 256, 512, 1024, 2048]),
    ("resnext50_32x4d", 64, [64, 256, 512, 1024, 2048]),
    ("densenet121", 64, [64, 256, 512, 1024, 1024]),
    ("inception_v3", 107, [64, 192, 288, 768, 2048]),
    ("inception_v4", 107, [64, 160, 384, 1024, 1536]),
    ("inception_resnet_v2", 107, [64, 192, 320, 1088, 1536]),
]


@pytest.mark.parametrize(("name", "pixels", "channels"), TAPS)
def test_taps_have_the_published_channels(name, pixels, channels):
    with torch.device("meta"):
        network = build_network(load_architecture(name)).eval()
        maps = network.features(torch.zeros(1, 3, pixels, pixels))
    assert [tuple(m.shape)[1] for m in maps] == channels


def test_unpadded_inception_v3_has_the_published_map_sizes():
    assert sorted({*load_architecture("inception_v3").sizes()}) == [
        8,
        17,
        35,
        71,
        73,
        147,
        149,
        299,
    ]
