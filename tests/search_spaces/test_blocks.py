"""The block families by hand: what they compute, and what they refuse."""

import pytest
import torch

from search_spaces import Architecture, InputError, build_network, load_architecture
from search_spaces.blocks import Basic, Bottleneck, Conventions, Dense, Highway, Inception, Pool
from search_spaces.blocks.pooling import ZeroPadded
from search_spaces.network import TrainingScores, weighted_loss

CONVENTIONS = Conventions()


def architecture(block: dict, *, channels: int = 32, stride: int = 1, layers: int = 1, **other):
    stage = {"channels": channels, "layers": layers, "stride": stride, "block": block}
    stem = {"channels": 16, "stride": 1, "block": {"kind": "conv", "kernel_size": 3}}
    data = {"resolution": 16, "stem": stem, "stages": [stage], **other}
    return Architecture.parse(data, source="net.yaml")


@pytest.mark.parametrize(
    ("block", "channels", "message"),
    [
        ({"kind": "bottleneck", "groups": 3}, 32, "groups 3 must divide .* which is 8"),
        ({"kind": "conv", "kernel_size": 3, "groups": 5}, 32, "groups 5 must divide .* got 16"),
        ({"kind": "bottleneck"}, 2, "a bottleneck of 2 channels has width 0 inside"),
        ({"kind": "inception", "form": "v1"}, 8, "has branches of width 0; use at least 16"),
        ({"kind": "inception", "form": "naive", "widths": [8, 0, 8]}, 32, "greater than or equal"),
        ({"kind": "inception", "form": "v1", "widths": [8, 8]}, 32, "takes 6 widths, but got 2"),
        (
            {"kind": "inception", "form": "v1", "widths": [8, 8, 8, 8, 8, 8]},
            30,
            "channels must be 32, which is what Inception v1 gives there, but got 30",
        ),
        ({"kind": "dense", "growth": 0}, 32, r"growth: .*greater than or equal to 1, but got 0"),
        ({"kind": "basic", "shortcut": "A"}, 8, "shortcut A .* cannot shrink 16 channels to 8"),
        ({"kind": "pool"}, 32, "channels must be 16, which is what MaxPool2x2 gives there"),
        ({"kind": "pool", "kernel_size": 2, "padding": "symmetric"}, 16, "needs an odd kernel"),
    ],
)
def test_widths_that_do_not_fit_are_one_clear_line(block, channels, message):
    with pytest.raises(InputError, match=message) as caught:
        architecture(block, channels=channels)
    assert "\n" not in str(caught.value)
    assert "stages.0" in str(caught.value)


@pytest.mark.parametrize(
    ("auxiliary", "message"),
    [
        ({"after": 0, "form": "v3"}, r"auxiliary\.0: the map behind stages\.0 is 16 px.* needs 17"),
        ({"after": 3}, "after must be a stage from 0 to 0, but got 3"),
    ],
)
def test_an_auxiliary_head_that_does_not_fit_is_refused(auxiliary, message):
    with pytest.raises(InputError, match=message):
        architecture({"kind": "basic"}, auxiliary=[auxiliary])


def test_a_window_that_the_map_does_not_hold_is_refused():
    block = {"kind": "conv", "kernel_size": 17, "padding": "valid"}
    with pytest.raises(InputError, match=r"a 17 x 17 window without padding must fit .* 16 px"):
        architecture(block)


def test_a_pool_cannot_be_repeated():
    with pytest.raises(InputError, match=r"stages\.0: layers must be 1 for pool, but got 2"):
        architecture({"kind": "pool", "kernel_size": 3}, channels=16, layers=2)


def test_shortcut_a_subsamples_and_appends_zeros():
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    padded = ZeroPadded(3, 2)(x)
    assert padded.shape == (1, 5, 2, 2)
    assert torch.equal(padded[:, :2], x[:, :, ::2, ::2])
    assert not padded[:, 2:].any()


def ordered(order: str) -> list[str]:
    """The modules of a residual layer in the order they run, + for the addition."""
    layer = Basic(order=order).layers(8, 8, 1, 1)[0].build(CONVENTIONS)
    names = {"Conv2d": "conv", "BatchNorm2d": "BN", "ReLU": "ReLU"}
    parts = (
        [names[type(m).__name__] for m in p] for p in (layer.before, layer.branch, layer.after)
    )
    before, branch, after = parts
    return [*before, *branch, "+", *after]


@pytest.mark.parametrize(
    ("order", "modules"),
    [
        ("original", "conv BN ReLU conv BN + ReLU"),
        ("bn_after_addition", "conv BN ReLU conv + BN ReLU"),
        ("relu_before_addition", "conv BN ReLU conv BN ReLU +"),
        ("relu_only_pre_activation", "ReLU conv BN ReLU conv BN +"),
        ("full_pre_activation", "BN ReLU conv BN ReLU conv +"),
    ],
)
def test_the_five_orders_are_the_papers(order, modules):
    assert ordered(order) == modules.split()


def test_a_highway_gate_that_is_shut_carries_its_input():
    layer = Highway(gate_bias=-50.0).layer(4, 4, 1).build(CONVENTIONS)
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(layer(x), x)
    open_gate = Highway(gate_bias=50.0).layer(4, 4, 1).build(CONVENTIONS)
    torch.testing.assert_close(open_gate(x), open_gate.transform(x))


def test_a_dense_stage_keeps_what_came_in_and_adds_its_growth():
    layers = Dense(growth=12).layers(16, 16, 3, 1)
    assert [layer.out_channels for layer in layers] == [28, 40, 52]
    x = torch.randn(1, 16, 4, 4)
    assert torch.equal(layers[0].build(CONVENTIONS)(x)[:, :16], x)


def test_a_naive_module_passes_its_input_through_the_pool():
    layer = Inception(form="naive", widths=(4, 8, 2)).layer(6, 20, 1)
    assert layer.out_channels == 4 + 8 + 2 + 6
    assert layer.build(CONVENTIONS)(torch.randn(1, 6, 5, 5)).shape == (1, 20, 5, 5)


@pytest.mark.parametrize("channels", range(16, 80))
@pytest.mark.parametrize("form", ["v1", "bn", "v3_a", "v3_b", "v3_c", "v4_c"])
def test_branches_share_out_exactly_the_stages_channels(form, channels):
    assert Inception(form=form).layer(32, channels, 2).out_channels == channels


@pytest.mark.parametrize("size", [7, 8, 9, 10])
@pytest.mark.parametrize("padding", ["symmetric", "valid", "ceil"])
def test_the_windows_tell_the_size_that_torch_gives(size, padding):
    layer = Pool(kernel_size=3, padding=padding).layer(2, 2, 2)
    out = layer.build(CONVENTIONS)(torch.zeros(1, 2, size, size))
    assert layer.output_size(size) == out.shape[-1]


@pytest.mark.parametrize("width", [1.1, 1.21, 1.5, 0.7])
def test_grouped_bottlenecks_widen_to_what_their_groups_divide(width):
    from search_spaces import resize

    grouped = architecture({"kind": "bottleneck", "groups": 8}, channels=64)
    grown = resize(grouped, width=width).stages[0]
    assert grown.channels % 32 == 0
    assert Bottleneck(groups=8).inner_width(grown.channels) % 8 == 0


def test_auxiliary_scores_are_there_in_training_only_and_weigh_on_the_loss():
    network = build_network(load_architecture("googlenet_aux"), num_classes=3)
    x = torch.randn(2, 3, 224, 224)
    output = network(x)
    assert isinstance(output, TrainingScores)
    parts = [scores.sum() for _, scores in output.auxiliary]
    expected = output.scores.sum() + 0.3 * parts[0] + 0.3 * parts[1]
    torch.testing.assert_close(weighted_loss(output, torch.sum), expected)
    assert network.eval()(x).shape == (2, 3)


def test_a_fully_connected_head_pools_to_its_size():
    vgg = load_architecture("vgg11").replace(resolution=96)
    small = vgg.replace(head=vgg.head.replace(widths=(16,)))
    assert build_network(small, num_classes=3).eval()(torch.zeros(1, 3, 96, 96)).shape == (1, 3)


@pytest.mark.parametrize(
    ("scheme", "std"),
    [("he", 0.0416), ("he_fan_in", 0.2357), ("normal", 0.1), ("glorot", 0.0786)],
)
def test_initialisation_follows_the_convention(scheme, std):
    """By hand, 3 x 3 with 128 outputs in 32 groups of 4 inputs: sqrt(2/1152), sqrt(2/36), 0.1,
    sqrt(2/(36+288))."""
    block = {"kind": "conv", "kernel_size": 3, "groups": 4}
    wide = architecture(block, channels=128, conventions={"initialisation": scheme})
    torch.manual_seed(0)
    weight = build_network(wide).stages[0][0].conv.weight
    assert weight.std().item() == pytest.approx(std, rel=0.03)


def test_a_constant_schedule_drops_every_layer_alike():
    constant = {"drop_connect": 0.2, "conventions": {"drop_connect_schedule": "constant"}}
    network = architecture({"kind": "basic"}, layers=3, **constant)
    rates = [row.drop_rate for row in network.rows(num_classes=1, in_channels=3)]
    assert rates == [0.0, 0.2, 0.2, 0.2, 0.0]
