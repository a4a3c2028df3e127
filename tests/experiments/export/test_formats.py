"""Exchange formats and folding against the eager network, with statistics that are not 0 and 1."""

import io
import subprocess
import sys
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from experiments.export import predict
from experiments.export.folder import load_exported, write_exported
from experiments.export.formats import check_detector, check_format
from experiments.export.model import Model, untrained_model
from search_spaces import (
    Architecture,
    Head,
    InputError,
    Stage,
    Stem,
    build_network,
    load_architecture,
)
from search_spaces.blocks import (
    Basic,
    Block,
    Bottleneck,
    Conventions,
    Convolution,
    Dense,
    DepthwiseSeparable,
    FusedMBConv,
    Highway,
    Inception,
    MBConv,
)
from search_spaces.blocks.residual import Order
from search_spaces.folding import fold_batch_norm

ORDERS = get_args(Order)
BLOCKS = [
    *(Basic(order=order) for order in ORDERS),
    Basic(shortcut="none", order="full_pre_activation", se_ratio=0.25),
    Bottleneck(groups=2, shortcut="C"),
    MBConv(expand_ratio=4, kernel_size=3, se_ratio=0.25),
    FusedMBConv(expand_ratio=4, kernel_size=3),
    DepthwiseSeparable(),
    Dense(growth=8, dropout=0.1),
    Inception(form="v3_c"),
    Highway(norm="batch_norm"),
    Convolution(kernel_size=3, bias=True),
]
NAMED = {
    "efficientnet_b0": 64,
    "mobilenet_v2": 64,
    "densenet121": 64,
    "inception_v3": 107,
    "inception_resnet_v2": 107,
    "cifar_resnet110_full_pre_activation": 32,
}


def one_stage(block: Block) -> Architecture:
    pre_activation = getattr(block, "order", "") == "full_pre_activation"
    return Architecture(
        resolution=16,
        stem=Stem(channels=16, stride=1, block=Convolution(kernel_size=3)),
        stages=(Stage(channels=32, layers=2, stride=2, block=block),),
        head=Head(normalise="first" if pre_activation else "none"),
    )


def stirred(network: nn.Module) -> nn.Module:
    """Batch norms far from the identity, weights that keep the signal's size."""
    generator = torch.Generator().manual_seed(0)
    for norm in network.modules():
        if isinstance(norm, nn.Conv2d):
            nn.init.kaiming_normal_(norm.weight, generator=generator)
        if isinstance(norm, nn.BatchNorm2d):
            for tensor, low, high in (
                (norm.running_mean, -0.2, 0.2),
                (norm.running_var, 0.5, 1.5),
                (norm.weight.data, 0.8, 1.2),
                (norm.bias.data, -0.2, 0.2),
            ):
                tensor.uniform_(low, high, generator=generator)
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def check_folding(architecture: Architecture, side: int) -> None:
    network = stirred(build_network(architecture, num_classes=5))
    x = torch.randn(2, 3, side, side)
    with torch.no_grad():
        expected = network(x)
        before = norms(network)
        assert fold_batch_norm(network) == before - norms(network) > 0
        got = network(x)
    bound = expected.abs().max()
    assert (expected[0] - expected[1]).abs().max() > 1e-2 * bound
    assert (got - expected).abs().max() < 1e-4 * bound


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.describe())
def test_folding_keeps_a_blocks_scores(block):
    check_folding(one_stage(block), 16)


def test_folding_keeps_the_scores_with_tensorflows_padding():
    block = MBConv(expand_ratio=4, kernel_size=5)
    architecture = one_stage(block)
    check_folding(architecture.replace(conventions=Conventions(padding="same")), 16)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_folding_keeps_a_named_networks_scores(name):
    check_folding(load_architecture(name), NAMED[name])


def test_all_norms_behind_convolutions_go_and_those_before_them_stay(small):
    network = build_network(small)
    fold_batch_norm(network)
    assert norms(network) == 0
    pre_activation = build_network(one_stage(Basic(order="full_pre_activation")))
    fold_batch_norm(pre_activation)
    assert norms(pre_activation) == 3  # the first of both layers, and the head's


def exported(architecture: Architecture, folder, **options) -> tuple[nn.Module, torch.Tensor]:
    """The eager network that was exported, and 3 images for it."""
    path = folder / "architecture.yaml"
    path.write_text(architecture.to_yaml())
    model = untrained_model(str(path), num_classes=5)
    model = Model(**{**vars(model), "network": stirred(model.network)})
    write_exported(model, folder / "out", **options)
    return model.network, torch.randn(3, 3, architecture.resolution, architecture.resolution)


@pytest.mark.parametrize("folded", [False, True], ids=["whole", "folded"])
def test_both_formats_give_the_eager_scores_for_any_number_of_images(small, tmp_path, folded):
    import onnxruntime

    network, images = exported(small, tmp_path, formats=["torch", "onnx"], folded=folded)
    program = torch.export.load(tmp_path / "out" / "model.pt2").module()
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    for count in (1, 2, 3):
        x = images[:count]
        with torch.no_grad():
            expected, from_program = network(x), program(x)
        (scores,) = session.run(None, {"images": x.numpy()})
        torch.testing.assert_close(from_program, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(torch.from_numpy(scores), expected, rtol=1e-4, atol=1e-4)


def test_the_file_beside_the_formats_tells_the_class_without_this_package(small, tmp_path):
    exported(small, tmp_path, formats=["torch", "onnx"])
    folder, image = tmp_path / "out", tmp_path / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(image)
    (beliefs,) = predict(folder, [image], output=tmp_path / "told").filter(regex="^[0-4]$").values
    for _ in ("model.onnx", "model.pt2"):
        run = [sys.executable, "-I", folder / "classify.py", image]
        told = subprocess.run(run, check=True, capture_output=True, text=True).stdout
        table = pd.read_csv(io.StringIO(told))
        assert table["class"].tolist() == np.argsort(-beliefs)[:3].tolist()
        np.testing.assert_allclose(table["belief"], np.sort(beliefs)[:1:-1], atol=1e-4)
        (folder / "model.onnx").unlink(missing_ok=True)  # then by the program
    assert "experiments" not in (folder / "classify.py").read_text()
    exported(small, tmp_path, formats=[])
    assert not (folder / "classify.py").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_b0", "densenet121", "inception_v3", "resnet50"])
def test_named_networks_export_to_onnx(name, tmp_path):
    import onnxruntime

    network, images = exported(load_architecture(name), tmp_path, formats=["onnx"])
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    (scores,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        expected = network(images)
    bound = 1e-4 * expected.abs().max().item()
    torch.testing.assert_close(torch.from_numpy(scores), expected, rtol=1e-3, atol=bound)


def test_a_folded_folder_loads_as_it_was_written(small, tmp_path):
    network, images = exported(small, tmp_path, folded=True)
    loaded = load_exported(tmp_path / "out").network
    assert norms(loaded) == 0
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), network(images), rtol=1e-4, atol=1e-4)
    assert norms(network) > 0  # the network that was given is as it was


def test_an_unknown_format_names_the_known_ones():
    with pytest.raises(InputError, match=r"unknown format 'onxx'; did you mean 'onnx'\?"):
        check_format("onxx")


def test_a_missing_package_is_one_line_with_the_remedy(monkeypatch):
    monkeypatch.setattr("experiments.export.formats.find_spec", lambda _name: None)
    with pytest.raises(InputError, match=r"needs onnx and onnxscript; .*scaler-nas\[export\]"):
        check_format("onnx")
    check_format("torch")
    with pytest.raises(InputError, match=r"needs executorch and torchao; .*nas\[executorch\]"):
        check_format("pte")


def test_a_detector_is_refused_a_program_that_chooses_no_boxes():
    detector = load_architecture("fcos_resnet50_fpn")
    with pytest.raises(InputError, match="'pte' is for networks that score classes or pixels"):
        check_detector(detector, ["pte"])
    check_detector(detector, ["onnx", "torch"])
