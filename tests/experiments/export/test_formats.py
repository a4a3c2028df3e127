"""Exchange formats and folding against the eager network, with statistics that are not 0 and 1."""

import pytest
import torch
from torch import nn

from experiments.export.folder import load_exported, write_exported
from experiments.export.folding import fold_batch_norm
from experiments.export.formats import check_format
from experiments.export.model import Model, untrained_model
from search_spaces import Architecture, InputError, build_network, load_architecture

FAMILIES = {
    "efficientnet_b0": 64,
    "efficientnet_lite0": 64,
    "mobilenet_v2": 64,
    "densenet121": 64,
    "inception_v3": 107,
    "cifar_resnet20": 32,
    "cifar_plain20": 32,
    "cifar_resnet110_full_pre_activation": 32,
    "cifar_resnet110_bn_after_addition": 32,
}


def stirred(network: nn.Module) -> nn.Module:
    """Batch norms far from the identity, scores far from 0."""
    generator = torch.Generator().manual_seed(0)
    for norm in network.modules():
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


@pytest.mark.parametrize("name", FAMILIES)
def test_folding_keeps_the_scores(name):
    network = stirred(build_network(load_architecture(name), num_classes=5))
    x = torch.randn(2, 3, FAMILIES[name], FAMILIES[name])
    with torch.no_grad():
        expected = network(x)
        before = norms(network)
        assert fold_batch_norm(network) == before - norms(network) > 0
        got = network(x)
    assert (expected[0] - expected[1]).abs().max() > 1e-3 * expected.abs().max()
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_all_norms_behind_convolutions_go_and_those_before_them_stay():
    b0 = build_network(load_architecture("efficientnet_b0"))
    fold_batch_norm(b0)
    assert norms(b0) == 0
    pre_activation = build_network(load_architecture("cifar_resnet110_full_pre_activation"))
    fold_batch_norm(pre_activation)
    # 54 layers of two convolutions: the first norm of each stays, the stem's goes, the head's stays
    assert norms(pre_activation) in (54, 55)


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
