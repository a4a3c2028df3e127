"""Tools for dense tasks take our networks as backbones."""

import pytest
import timm
import torch
from timm.optim import create_optimizer_v2
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FeaturePyramidNetwork

import experiments.export.timm  # noqa: F401, registers the networks
from experiments.export.folder import load_exported, write_exported
from experiments.export.model import untrained_model
from search_spaces import build_network, load_architecture


@pytest.fixture
def folder(tmp_path):
    write_exported(untrained_model("cifar_resnet20", num_classes=10, seed=5), tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_segmentation_models_trains_a_unet_on_a_named_network(name):
    models = pytest.importorskip("segmentation_models_pytorch")
    network = models.Unet(f"tu-scaler_{name}", encoder_weights=None, in_channels=4, classes=2)
    masks = network(torch.randn(2, 4, 64, 64))
    assert masks.shape == (2, 2, 64, 64)
    masks.square().mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


def test_segmentation_models_takes_an_exported_folder_with_its_weights(folder):
    models = pytest.importorskip("segmentation_models_pytorch")
    network = models.Unet(
        f"tu-local-dir:{folder}", encoder_weights=True, encoder_depth=2, decoder_channels=(32, 16)
    ).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        maps = network.encoder(images)
        ours = load_exported(folder).network.features(images)
        assert network(images).shape == (2, 1, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(maps, ours, strict=True))


def test_torchvisions_pyramid_takes_the_features_of_a_network():
    network = build_network(load_architecture("mobilenet_v2"), num_classes=0)
    maps = network.features(torch.randn(2, 3, 64, 64))
    pyramid = FeaturePyramidNetwork([m.shape[1] for m in maps], out_channels=8)
    levels = pyramid({str(i): m for i, m in enumerate(maps)})
    assert [tuple(x.shape) for x in levels.values()] == [(2, 8, n, n) for n in (32, 16, 8, 4, 2)]


def test_torchvisions_backbone_with_a_pyramid_takes_timms_features():
    network = timm.create_model("scaler_mobilenet_v2", features_only=True)
    stages = {layer: number for layer, number in network.return_layers.items() if number != "0"}
    channels = network.feature_info.channels()[1:]
    backbone = BackboneWithFPN(network, stages, channels, out_channels=8)
    levels = backbone(torch.randn(2, 3, 64, 64))
    sizes = {name: (2, 8, n, n) for name, n in zip("1234", (16, 8, 4, 2), strict=True)}
    assert {k: tuple(x.shape) for k, x in levels.items()} == sizes | {"pool": (2, 8, 1, 1)}


@pytest.mark.parametrize("channels", [1, 4])
def test_an_exported_network_is_adapted_to_other_input_channels(folder, channels):
    network = timm.create_model(f"local-dir:{folder}", pretrained=True, in_chans=channels).eval()
    ours = load_exported(folder).network
    assert network.stem.conv.weight.shape[1] == channels
    body = {n: t for n, t in ours.state_dict().items() if n != "stem.conv.weight"}
    assert all(torch.equal(network.state_dict()[name], value) for name, value in body.items())
    if channels == 1:
        assert torch.equal(network.stem.conv.weight, ours.stem.conv.weight.sum(1, keepdim=True))
    assert network(torch.randn(1, channels, 32, 32)).shape == (1, 10)


def test_layers_are_grouped_from_the_image_to_the_scores_for_rates_by_layer():
    network = timm.create_model("scaler_mobilenet_v2")
    groups = timm.models.group_parameters(network, network.group_matcher(), return_values=False)
    grouped = [name for names in groups.values() for name in names]
    assert sorted(grouped) == sorted(name for name, _ in network.named_parameters())
    rates = create_optimizer_v2(network, "sgd", lr=1.0, layer_decay=0.5).param_groups
    by_parameter = {id(p): g["lr_scale"] for g in rates for p in g["params"]}
    scales = [by_parameter[id(p)] for p in network.parameters()]
    assert scales == sorted(scales)
    assert scales[0] < scales[-1] == 1.0


@pytest.mark.parametrize(
    "arguments", [{"global_pool": "max"}, {"global_pool": "", "num_classes": 3}]
)
def test_a_pool_that_we_do_not_have_is_refused(arguments):
    with pytest.raises(ValueError, match=r"global_pool.*but got"):
        timm.create_model("scaler_cifar_resnet20", **arguments)


def test_weights_with_auxiliary_classifiers_load_without_them(tmp_path):
    table = load_architecture("googlenet_aux").replace(resolution=96)
    (tmp_path / "aux.yaml").write_text(table.to_yaml())
    write_exported(untrained_model(str(tmp_path / "aux.yaml"), num_classes=3), tmp_path / "out")
    network = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).train()
    assert network(torch.randn(2, 3, 96, 96)).shape == (2, 3)
    ours = load_exported(tmp_path / "out").network
    images = torch.randn(2, 3, 96, 96)
    assert torch.equal(network.eval()(images), ours(images))
