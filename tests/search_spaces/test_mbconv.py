"""MBConv against torchvision's own, weight for weight, and its parts by hand."""

import pytest
import torch

from search_spaces import MBConv
from search_spaces.blocks import Conventions
from search_spaces.blocks.convolution import SameConv2d, convolution
from search_spaces.blocks.mbconv import DropConnect


def stirred(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Every parameter and running statistic non-trivial, so that a difference must show."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            values = torch.rand(tensor.shape, generator=generator)
            tensor.copy_(values + 0.5 if "var" in name else values - 0.5)
    return module.eval()


def torchvision_mbconv(in_channels, channels, stride, expand_ratio, kernel_size):
    from functools import partial

    from torchvision.models.efficientnet import MBConv as Theirs
    from torchvision.models.efficientnet import MBConvConfig

    config = MBConvConfig(expand_ratio, kernel_size, stride, in_channels, channels, 1)
    return Theirs(config, 0.0, partial(torch.nn.BatchNorm2d, eps=1e-3, momentum=0.01))


@pytest.mark.parametrize(
    ("in_channels", "channels", "stride", "expand", "kernel"),
    [(16, 16, 1, 6, 3), (16, 24, 2, 6, 5), (24, 24, 1, 1, 3), (32, 40, 1, 4, 7)],
)
def test_same_function_as_torchvision(in_channels, channels, stride, expand, kernel):
    block = MBConv(expand_ratio=expand, kernel_size=kernel, se_ratio=0.25)
    ours = stirred(block.layer(in_channels, channels, stride).build(Conventions()), seed=1)
    theirs = stirred(torchvision_mbconv(in_channels, channels, stride, expand, kernel))
    source, target = theirs.state_dict(), ours.state_dict()
    assert [tuple(v.shape) for v in source.values()] == [tuple(v.shape) for v in target.values()]
    x = torch.randn(2, in_channels, 15, 15)
    assert not torch.allclose(ours(x), theirs(x), rtol=0.1)
    ours.load_state_dict(dict(zip(target, source.values(), strict=True)))
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [14, 15])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_same_padding_puts_the_odd_pixel_bottom_right(size, kernel):
    """TensorFlow's rule by hand: out = ceil(n/2), total pad = (out - 1) * 2 + k - n."""
    conv = convolution(1, 1, kernel, stride=2, conventions=Conventions(padding="same"))
    assert isinstance(conv, SameConv2d)
    x = torch.randn(1, 1, size, size)
    out = -(-size // 2)
    total = (out - 1) * 2 + kernel - size
    low, high = total // 2, total - total // 2
    padded = torch.nn.functional.pad(x, (low, high, low, high))
    expected = torch.nn.functional.conv2d(padded, conv.weight, stride=2)
    assert expected.shape[-1] == out
    torch.testing.assert_close(conv(x), expected)


def test_drop_connect_keeps_the_mean_in_training_and_the_input_in_eval():
    torch.manual_seed(0)
    drop, x = DropConnect(0.25), torch.ones(4000, 1, 2, 2)
    out = drop(x)
    assert out.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert out.mean().item() == pytest.approx(1.0, abs=0.03)
    assert (out == out[:, :, :1, :1]).all()  # a sample is dropped whole
    assert torch.equal(drop.eval()(x), x)


def test_no_skip_where_the_shape_changes_or_it_is_switched_off():
    block = MBConv(expand_ratio=2, kernel_size=3)
    assert block.layer(8, 8, 1).residual
    assert not block.layer(8, 8, 2).residual
    assert not block.layer(8, 16, 1).residual
    assert not block.replace(skip="none").layer(8, 8, 1).residual
