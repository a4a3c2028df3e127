"""Our networks against timm's and torchvision's: with equal weights, equal functions.

Their models start from a seed; then every parameter and statistic is stirred, for networks fresh
from their initialisation give near nothing whatever the input.
"""

import math
import re
import warnings
from typing import NamedTuple

import pytest
import torch
from torch import nn

from search_spaces import Architecture, InputError, build_network, load_architecture
from search_spaces.foreign_models import Origin
from search_spaces.weights import foreign_network, load_foreign_weights, read_weights

TOLERANCE = 1e-4

LONG = ("vgg16", "tf_efficientnet_b3")  # a sibling of each is quick to compare
BLOCKS = ("blocks.0", "blocks.1", "blocks.2", "blocks.4", "blocks.6")
LAYERS = ("layer1", "layer2", "layer3", "layer4")


class Pair(NamedTuple):
    """A library's model, ours, and the library's modules that give our taps, finest first."""

    source: str
    model: str
    ours: str
    pixels: int
    taps: tuple[str, ...]


def numbered(place: str, *numbers: int) -> tuple[str, ...]:
    return tuple(f"{place}.{number}" for number in numbers)


INCEPTION_V3 = ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c")
RESNET_INCEPTION = ("conv2d_2b", "conv2d_4a", "repeat", "repeat_1", "conv2d_7b")
GOOGLENET = ("conv1", "conv3", "inception3b", "inception4e", "inception5b")
PAIRS = [
    Pair("timm", "efficientnet_b0", "efficientnet_b0", 64, BLOCKS),
    Pair("timm", "tf_efficientnet_b0", "efficientnet_b0", 64, BLOCKS),
    Pair("timm", "efficientnet_b1", "efficientnet_b1", 60, BLOCKS),
    Pair("timm", "efficientnet_b3", "efficientnet_b3", 76, BLOCKS),
    Pair("timm", "tf_efficientnet_b3", "efficientnet_b3", 76, BLOCKS),
    Pair("timm", "tf_efficientnet_lite0", "efficientnet_lite0", 64, BLOCKS),
    Pair("timm", "mobilenetv1_100", "mobilenet_v1", 64, numbered("blocks", 0, 1, 2, 3, 4)),
    Pair("timm", "mobilenetv2_100", "mobilenet_v2", 64, BLOCKS),
    Pair("timm", "semnasnet_100", "mnasnet_a1", 64, BLOCKS),
    Pair("timm", "mnasnet_100", "mnasnet_b1", 64, BLOCKS),
    Pair("timm", "mnasnet_small", "mnasnet_small", 64, BLOCKS),
    Pair("timm", "resnet50", "resnet50", 64, ("act1", *LAYERS)),
    Pair("timm", "inception_v3", "inception_v3", 107, INCEPTION_V3),
    Pair("timm", "inception_v4", "inception_v4", 107, numbered("features", 2, 3, 9, 17, 21)),
    Pair("timm", "inception_resnet_v2", "inception_resnet_v2", 107, RESNET_INCEPTION),
    Pair(
        "torchvision", "efficientnet_b0", "efficientnet_b0", 64, numbered("features", 1, 2, 3, 5, 7)
    ),
    Pair("torchvision", "mobilenet_v2", "mobilenet_v2", 64, numbered("features", 1, 3, 6, 13, 17)),
    Pair("torchvision", "mnasnet1_0", "mnasnet_b1", 64, numbered("layers", 7, 8, 9, 11, 13)),
    Pair("torchvision", "resnet18", "resnet18", 64, ("relu", *LAYERS)),
    Pair("torchvision", "resnext50_32x4d", "resnext50_32x4d", 64, ("relu", *LAYERS)),
    Pair(
        "torchvision",
        "densenet121",
        "densenet121",
        64,
        ("features.relu0", *(f"features.denseblock{i}" for i in (1, 2, 3, 4))),
    ),
    Pair("torchvision", "vgg16", "vgg16", 64, numbered("features", 3, 8, 15, 22, 29, 30)),
    Pair("torchvision", "vgg16_bn", "vgg16_bn", 64, numbered("features", 5, 12, 22, 32, 42, 43)),
    Pair("torchvision", "inception_v3", "inception_v3", 107, INCEPTION_V3),
    Pair("torchvision", "googlenet", "googlenet_3x3", 64, GOOGLENET),
]


def theirs(source: str, model: str) -> nn.Module:
    """The library's model with stirred weights, in eval mode."""
    torch.manual_seed(0)
    if source == "timm":
        import timm

        return stirred(timm.create_model(model))
    from torchvision.models import get_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights that are not initialised as they once were
        return stirred(get_model(model))


def stirred(module: nn.Module) -> nn.Module:
    """Weights that keep the signal's size, norms and biases that are far from 1 and 0."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        if tensor.dim() > 1:
            fan_in = math.prod(tensor.shape[1:])
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * (2 / fan_in) ** 0.5)
            continue
        values = torch.rand(tensor.shape, generator=generator)
        positive = name.endswith(("running_var", "weight"))
        tensor.copy_(
            values * 0.6 + (0.9 if name.endswith("weight") else 0.5)
            if positive
            else values * 0.2 - 0.1
        )
    return module.eval()


def run(network: nn.Module, taps: tuple[str, ...], x: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of the modules `taps`, and the scores."""
    kept: dict[str, torch.Tensor] = {}

    def keep(name: str):
        return lambda _module, _inputs, output: kept.update({name: output.clone()})

    hooks = [network.get_submodule(name).register_forward_hook(keep(name)) for name in taps]
    with torch.no_grad():
        scores = network(x)
    for hook in hooks:
        hook.remove()
    return [*(kept[name] for name in taps), scores]


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference over the largest value."""
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize(
    "pair",
    [pytest.param(p, marks=pytest.mark.slow) if p.model in LONG else p for p in PAIRS],
    ids=lambda pair: f"{pair.source}-{pair.model}",
)
def test_with_equal_weights_every_stage_and_the_scores_are_equal(pair):
    reference = theirs(pair.source, pair.model)
    origin = Origin(pair.source, pair.model)
    ours, _ = foreign_network(load_architecture(pair.ours), reference.state_dict(), origin=origin)
    ours.eval()
    torch.manual_seed(2)
    x = torch.randn(2, 3, pair.pixels, pair.pixels)
    expected = run(reference, pair.taps, x)
    assert distance(expected[-1][:1], expected[-1][1:]) > 100 * TOLERANCE
    with torch.no_grad():
        got = [*ours.features(x), ours(x)]
    assert [tuple(map_.shape) for map_ in got] == [tuple(map_.shape) for map_ in expected]
    assert max(map(distance, got, expected)) < TOLERANCE


def changed_stage(architecture: Architecture, place: int, **changes) -> Architecture:
    stages = list(architecture.stages)
    stages[place] = stages[place].replace(**changes)
    return architecture.replace(stages=tuple(stages))


@pytest.mark.parametrize(
    ("source", "model", "name", "eps"),
    [
        ("torchvision", "efficientnet_b0", "efficientnet_b0", 1e-5),
        ("timm", "mnasnet_100", "mnasnet_b1", 1e-5),
    ],
)
def test_bare_weights_bring_the_conventions_of_the_model_that_their_names_tell(
    source, model, name, eps
):
    state = theirs(source, model).state_dict()
    ours, told = foreign_network(load_architecture(name), state)
    assert ours.architecture.conventions.batch_norm_eps == eps
    assert f"taken as {source}'s {model} (batch-norm eps {eps:g}, symmetric padding)" in told


def test_a_bare_file_that_may_be_of_two_models_says_which_one_is_assumed():
    state = theirs("timm", "efficientnet_b0").state_dict()
    _, told = foreign_network(load_architecture("efficientnet_b0"), state)
    assert "tf_efficientnet_b0 (batch-norm eps 0.001, same padding) has the same tensors" in told
    assert "--source timm --source-model tf_efficientnet_b0" in told


def test_weights_of_an_unknown_model_say_what_is_assumed():
    architecture = load_architecture("resnet18").replace(name="mine")
    _, told = foreign_network(architecture, theirs("torchvision", "resnet18").state_dict())
    assert "unknown model: assumed that its layers are those of 'mine'" in told
    assert "batch-norm eps 1e-05, symmetric padding" in told


def test_a_network_with_another_epsilon_is_refused():
    network = build_network(load_architecture("efficientnet_b0"))
    before = network.stem.conv.weight.clone()
    with pytest.raises(InputError, match=r"has batch-norm eps 1e-05.*set `conventions: "):
        load_foreign_weights(network, theirs("torchvision", "efficientnet_b0").state_dict())
    assert torch.equal(network.stem.conv.weight, before)


def test_a_stride_moved_within_the_bottleneck_is_refused():
    """Same weights and shapes, but the stride on the 1 x 1 instead of the 3 x 3."""
    state = theirs("torchvision", "resnet50").state_dict()
    with pytest.raises(InputError, match="'resnet50_v1' gives other scores with them"):
        foreign_network(load_architecture("resnet50_v1"), state)


def test_a_stride_changed_in_one_stage_is_refused():
    architecture = changed_stage(load_architecture("mobilenet_v2"), 6, stride=2)
    state = theirs("timm", "mobilenetv2_100").state_dict()
    with pytest.raises(InputError, match="gives other scores"):
        foreign_network(architecture, state, origin=Origin("timm", "mobilenetv2_100"))


def as_before_torch_0_4(state):
    return {name: tensor for name, tensor in state.items() if "num_batches" not in name}


def with_entries_turned(state):
    """The tensors of each module the other way round."""
    modules: dict[str, list[str]] = {}
    for name in state:
        modules.setdefault(name.rpartition(".")[0], []).insert(0, name)
    return {name: state[name] for names in modules.values() for name in names}


@pytest.mark.parametrize("name", ["resnet18", "mine"])  # known by its name, or not
@pytest.mark.parametrize(
    "changed",
    [
        as_before_torch_0_4,
        with_entries_turned,
        lambda state: {f"model.net.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": as_before_torch_0_4(state), "optimizer": {}},
    ],
    ids=["no counters", "turned", "prefix", "state_dict", "model"],
)
def test_however_a_file_holds_its_weights_the_scores_are_theirs(tmp_path, name, changed):
    reference = theirs("torchvision", "resnet18")
    torch.save(changed(reference.state_dict()), tmp_path / "weights.pth")
    architecture = load_architecture("resnet18").replace(name=name)
    ours, _ = foreign_network(architecture, read_weights(tmp_path / "weights.pth"))
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert distance(ours.eval()(x), reference(x)) < TOLERANCE


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (LFS, "is a Git-LFS pointer, not the weights; fetch them with `git lfs pull`"),
        (b"\n<!DOCTYPE html><html>", "is a web page, not weights; download the file itself"),
        (b"", "is not a"),
        (b"anything else", "is not a"),
    ],
)
def test_what_is_often_in_a_weights_files_place_is_named_in_one_line(
    tmp_path, content, told, ending
):
    path = tmp_path / f"weights.{ending}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(told)) as refused:
        read_weights(path, source="torchvision", model="resnet18")
    assert not re.search(r"\n|\x1b|weights_only", str(refused.value))


def test_a_pickled_model_is_refused_and_its_class_is_named(tmp_path):
    torch.save(theirs("torchvision", "resnet18"), tmp_path / "model.pth")
    with pytest.raises(InputError, match=r"models.resnet.ResNet, which would run code; save the"):
        read_weights(tmp_path / "model.pth")


def test_a_checkpoint_without_weights_says_what_it_holds(tmp_path):
    torch.save({"epoch": 3, "loss": 0.5}, tmp_path / "weights.pth")
    with pytest.raises(InputError, match="or 'model', but holds 'epoch', 'loss'"):
        read_weights(tmp_path / "weights.pth")


def test_weights_of_another_kernel_are_refused_and_nothing_is_copied():
    b0 = load_architecture("mnasnet_b1")
    stage = b0.stages[3]
    changed = changed_stage(b0, 3, block=stage.block.replace(kernel_size=3))
    network = build_network(changed)
    before = network.stem.conv.weight.clone()
    state = build_network(b0).state_dict()
    with pytest.raises(InputError, match=r"is \(240, 1, 5, 5\), but .* needs \(240, 1, 3, 3\)"):
        load_foreign_weights(network, state)
    assert torch.equal(network.stem.conv.weight, before)


def test_weights_with_too_many_tensors_are_refused():
    network = build_network(load_architecture("resnet18"))
    state = {**network.state_dict(), "more": torch.zeros(1)}
    with pytest.raises(InputError, match=r"they hold 103 tensors .* but this one has 102"):
        load_foreign_weights(network, state)


@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_a_file_of_torchvisions_loads_whatever_order_it_keeps(tmp_path, form):
    reference = theirs("torchvision", "resnet18")
    path = tmp_path / f"weights.{form}"
    if form == "torch":
        torch.save(reference.state_dict(), path)
    else:
        from safetensors.torch import save_file

        save_file(dict(sorted(reference.state_dict().items())), path)
    network = build_network(load_architecture("resnet18")).eval()
    load_foreign_weights(network, read_weights(path, source="torchvision", model="resnet18"))
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert distance(network(x), reference(x)) < TOLERANCE


def test_auxiliary_classifiers_load_too():
    reference = theirs("torchvision", "googlenet")
    architecture = load_architecture("googlenet_3x3_aux")
    network, _ = foreign_network(architecture, reference.state_dict())
    assert torch.equal(network.head.classifier.weight, reference.fc.weight)
    assert torch.equal(network.auxiliary["10"].classifier.weight, reference.aux2.fc2.weight)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "evil.pt"
    torch.save({"weights": theirs("torchvision", "resnet18").layer1}, path)
    with pytest.raises(InputError, match="is not a torch file of weights"):
        read_weights(path)


def test_a_safetensors_file_needs_the_library_that_knows_its_order(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"")
    with pytest.raises(InputError, match="keeps no order; name the library"):
        read_weights(path)
