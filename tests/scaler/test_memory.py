"""RAM and flash: by hand, and by the whole network's own graph."""

import math

import pytest
import torch
from torch import fx, nn
from torch.fx.experimental.optimization import fuse
from torch.fx.passes.shape_prop import ShapeProp

from scaler.cost import device_cost
from scaler.memory import measure_memory, memory_rows, peak_ram
from scaler.memory_graph import trace_graph
from scaler.memory_law import Tensors, _trace, tensors_of
from search_spaces import build_network, list_spaces, load_architecture, load_space, resize
from search_spaces.architecture import Architecture


def network(*stages, stem_channels=8, **head):
    return Architecture.model_validate(
        {
            "name": "tiny",
            "resolution": 32,
            "stem": {
                "channels": stem_channels,
                "stride": 2,
                "block": {"kind": "conv", "kernel_size": 3, "activation": "relu"},
            },
            "stages": list(stages),
            "head": {"channels": 0, **head},
        }
    )


def stage(kind, channels=8, layers=1, stride=1, **block):
    return {
        "channels": channels,
        "layers": layers,
        "stride": stride,
        "block": {"kind": kind, **block},
    }


def test_mobilenet_v2_needs_what_executorch_gives_it():
    # The 96 expanded maps at 112 px and what the depthwise convolution makes of them at 56 px.
    assert 96 * 112**2 + 96 * 56**2 == 1_505_280
    assert device_cost(load_architecture("mobilenet_v2")).peak_ram == 1_505_280


def test_residual_addition_has_three_maps():
    cost = device_cost(network(stage("basic")), num_classes=10)
    assert cost.peak_ram == 3 * 8 * 16**2  # input, branch and sum; rectifiers are no maps
    kernels = 8 * 3 * 9 + 2 * 8 * 8 * 9 + 8 * 10
    assert cost.flash == kernels + (8 + 8 + 8 + 10) * (4 + 4)


def test_silu_is_a_map_of_its_own():
    plain, table = (
        device_cost(network(stage("conv", 64, kernel_size=3, activation=name))).peak_ram
        for name in ("relu", "silu")
    )
    assert (plain, table) == ((8 + 64) * 16**2, (64 + 64) * 16**2)


def test_squeeze_and_excitation_keeps_the_map_for_the_product():
    block = {"expand_ratio": 4, "kernel_size": 3, "se_ratio": 0.25, "activation": "relu"}
    cost = device_cost(network(stage("mbconv", 16, **block)))
    # No skip: the depthwise output, its factors and the product; the input is gone by then.
    assert cost.peak_ram == 2 * 32 * 16**2 + 32


def test_dense_layer_has_input_new_channels_and_both_joined():
    cost = device_cost(network(stage("dense", growth=8, bottleneck=0)))
    assert cost.peak_ram == (8 + 8 + 16) * 16**2


def test_relu_behind_a_batch_norm_that_stands_alone_is_a_map_of_its_own():
    dense = network(stage("dense", 64, growth=8, bottleneck=0), stem_channels=64)
    # The input waits to be joined, beside it normalised and that rectified. 64 + 8 + 72 are fewer.
    assert device_cost(dense).peak_ram == 3 * 64 * 16**2


def test_precision_counts_bytes_of_maps_and_weights():
    tiny = network(stage("basic"))
    int8, float32 = (measure_memory(tiny, precision=name) for name in ("int8", "float32"))
    cost = device_cost(tiny)
    assert int8 == (cost.peak_ram, cost.flash)
    weights = 8 * 3 * 9 + 2 * 8 * 8 * 9 + 8 * 1000
    assert float32 == (4 * int8[0], 4 * (weights + 8 + 8 + 8 + 1000))


def test_auxiliary_classifiers_are_not_on_the_device():
    plain, extra = (device_cost(load_architecture(n)) for n in ("googlenet", "googlenet_aux"))
    assert (plain.peak_ram, plain.flash) == (extra.peak_ram, extra.flash)
    assert extra.params > plain.params


def test_steps_run_in_the_order_of_the_networks_code():
    # The input (96), a branch (32) of it, then another (64) that shrinks to 16; both are joined.
    own = Tensors((96, 32, 64, 16, 48), ((), (0,), (0,), (2,), (1, 3)), 4, 0, 0, 0)
    assert peak_ram(own, "int8") == 96 + 32 + 64  # the branch waits beside the large map


def test_a_map_that_a_dense_head_reads_lives_on_beside_the_layers_behind_it():
    body = network(stage("conv", 16, stride=2, kernel_size=3, activation="relu"))
    unet = body.replace(head={"kind": "unet", "widths": [8], "layers": 1, "norm": "none"})
    rows = {row.part: row.ram for row in memory_rows(unet, num_classes=3)}
    tap, last = 8 * 16**2, 16 * 8**2
    assert rows["stages.0.0"] == tap + last
    # Upsampled (16) and joined (16 + 8) beside the tap; the scores (3) are drawn to 32 px at last.
    assert rows["head.step_0_0"] == tap + 16 * 16**2 + 24 * 16**2
    assert measure_memory(unet, precision="int8", num_classes=3)[0] == max(rows.values())


@pytest.mark.parametrize("name", ["unet_resnet34", "fcn8s_vgg16", "deeplabv3_resnet50"])
def test_segmenters_peak_is_that_of_their_whole_graph(name):
    small = resize(load_architecture(name), resolution=97)
    with torch.device("meta"):
        whole = trace_graph(build_network(small, num_classes=5), (3, 97, 97))
    tensors = Tensors(
        tuple(math.prod(step.shape) for step in whole.steps),
        tuple(step.inputs for step in whole.steps),
        *(whole.output, 0, 0, 0),
    )
    assert device_cost(small, num_classes=5).peak_ram == peak_ram(tensors, "int8")


def test_tensors_start_at_multiples_of_16_bytes():
    two = Tensors(elements=(3, 17), inputs=((), (0,)), output=1, weights=0, biases=0, scales=0)
    assert peak_ram(two, "int8") == 16 + 32
    assert peak_ram(two, "float32") == 16 + 80


@pytest.mark.parametrize("name", list_spaces())
def test_laws_say_what_the_layer_itself_is_traced_to(name):
    for member in load_space(name).members(3, seed=5):
        size = member.resolution
        for row in member.rows(num_classes=10, in_channels=3):
            graph = _trace(row.layer, size, member.conventions)
            known = tensors_of(row.layer, size, member.conventions)
            assert known.elements == tuple(math.prod(step.shape) for step in graph.steps)
            assert known.inputs == tuple(step.inputs for step in graph.steps)
            assert known.weights == sum(weights.elements for weights in graph.weights)
            if row.part != "head":
                size = row.layer.output_size(size)


class Planes(nn.Module):
    """A detector up to its scores and sides, before they become boxes."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network.head.planes(self.network.read(x))


def liveness(member, num_classes):
    """The peak in the order of the whole network's own graph, rectifiers in place."""
    network = build_network(member, num_classes=num_classes)
    network = Planes(network) if member.task == "detection" else network
    whole = fuse(fx.symbolic_trace(network.eval()))
    side = member.resolution
    ShapeProp(whole).propagate(torch.zeros(1, 3, side, side))
    modules = dict(whole.named_modules())
    buffer, size, last = {}, {}, {}
    nodes = list(whole.graph.nodes)
    for at, node in enumerate(nodes):
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        kept = (nn.ReLU, nn.ReLU6, nn.Identity, nn.Dropout)
        if isinstance(module, kept) or node.target == "flatten":
            buffer[node] = buffer[node.args[0]]
        elif "tensor_meta" in node.meta and node.op not in ("get_attr", "output"):
            buffer[node] = node
            size[node] = -(-node.meta["tensor_meta"].shape.numel() // 16) * 16
        for other in node.all_input_nodes:
            last[buffer.get(other)] = at
    first = {node: at for at, node in enumerate(nodes) if node in size}
    return max(
        sum(size[n] for n in size if first[n] <= at <= last.get(n, at)) for at in range(len(nodes))
    )


@pytest.mark.parametrize("name", ["mbconv_small", "residual", "vgg"])
def test_the_whole_networks_graph_has_the_same_peak(name):
    checked = 0
    for member in load_space(name).members(6, seed=2):
        blocks = [s.block for s in member.stages]
        if any("pre_activation" in getattr(b, "order", "") for b in blocks):
            continue  # a batch norm of its own, and the rectifier behind it, are one step here
        assert device_cost(member, num_classes=10).peak_ram == liveness(member, 10)
        checked += 1
    assert checked


LEVELS = {"kind": "fpn", "channels": 16, "levels": [8, 16, 32]}
BOTH_WAYS = {"kind": "bifpn", "layers": 1, "fusion": "sum"}
PREDICTORS = [
    ({"kind": "points", "layers": 1}, {}),
    ({"kind": "points", "layers": 1, "norm": "none"}, BOTH_WAYS),
    ({"kind": "anchors", "layers": 1}, {}),
    ({"kind": "proposals", "count": 40, "widths": [32]}, {}),
    ({"kind": "given", "count": 300, "widths": [32]}, {}),
]


def detector(predictor, **head):
    body = load_space("mbconv_detect").at(96).members(1, seed=0)[0]
    return body.replace(head={**LEVELS, "predictor": predictor, **head})


@pytest.mark.parametrize(
    ("predictor", "head"),
    [PREDICTORS[0], *(pytest.param(*each, marks=pytest.mark.slow) for each in PREDICTORS[1:])],
)
def test_a_detectors_peak_is_that_of_its_whole_graph(predictor, head):
    small = detector(predictor, **head)
    assert device_cost(small, num_classes=3).peak_ram == liveness(small, 3)


def test_the_second_stage_holds_the_maps_of_all_its_regions_at_once():
    few, many = (
        detector({"kind": "proposals", "count": n, "widths": [32]}, beyond="max_pool")
        for n in (10, 1000)
    )
    first = 3 * 5 * (12**2 + 6**2 + 3**2)  # the first stage's scores and sides wait
    peak = device_cost(many, num_classes=3).peak_ram
    assert 0 <= peak - (first + 1000 * (16 * 7 * 7 + 32)) < 100  # multiples of 16 bytes
    assert device_cost(few, num_classes=3).peak_ram < 0.6 * peak
