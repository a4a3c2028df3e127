"""timm loads what we export, offline."""

import json

import pytest
import torch

import experiments.export.timm  # noqa: F401, registers the network
from experiments.export.folder import load_exported, write_exported
from experiments.export.model import Model, untrained_model
from search_spaces import build_network, load_architecture

timm = pytest.importorskip("timm")


@pytest.fixture
def folder(small, tmp_path):
    (tmp_path / "small.yaml").write_text(small.to_yaml())
    model = untrained_model(str(tmp_path / "small.yaml"), num_classes=4, in_channels=1, seed=5)
    model = Model(**{**vars(model), "classes": ("ant", "bee", "cat", "dog")})
    write_exported(model, tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("folded", [False, True], ids=["whole", "folded"])
def test_local_dir_loads_an_exported_folder(small, tmp_path, folded):
    (tmp_path / "small.yaml").write_text(small.to_yaml())
    model = untrained_model(str(tmp_path / "small.yaml"), num_classes=4, in_channels=1, seed=5)
    write_exported(model, tmp_path / "out", folded=folded)
    network = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    images = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(network(images), load_exported(tmp_path / "out").network(images))


def test_timms_preparation_is_ours(folder):
    network = timm.create_model(f"local-dir:{folder}", pretrained=True)
    config = timm.data.resolve_model_data_config(network)
    ours = load_exported(folder).preprocessing
    assert config["input_size"] == (1, 16, 16)
    assert tuple(config["mean"]) == ours.mean
    assert tuple(config["std"]) == ours.std
    assert config["crop_pct"] == 1.0


def test_the_registered_name_builds_any_network_of_ours():
    torch.manual_seed(0)
    network = timm.create_model("scaler_network", architecture="cifar_resnet20", num_classes=10)
    torch.manual_seed(0)
    ours = build_network(load_architecture("cifar_resnet20"), num_classes=10)
    state = network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in ours.state_dict().items())
    assert timm.is_model("scaler_network")
    assert network.pretrained_cfg["input_size"] == (3, 32, 32)


def test_another_number_of_classes_keeps_the_body_and_starts_a_new_classifier(folder):
    network = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=9).eval()
    ours = load_exported(folder).network
    assert network(torch.randn(1, 1, 16, 16)).shape == (1, 9)
    assert torch.equal(network.stem.conv.weight, ours.stem.conv.weight)
    network.reset_classifier(2)
    assert network(torch.randn(1, 1, 16, 16)).shape == (1, 2)


def test_what_timm_itself_saves_for_the_hub_has_our_layout(folder, tmp_path):
    """timm writes the folder anew from the loaded network; ours has the same keys, and loads."""
    from timm.models import save_for_hf

    network = timm.create_model(f"local-dir:{folder}", pretrained=True)
    save_for_hf(network, str(tmp_path / "theirs"), safe_serialization=True)
    theirs = json.loads((tmp_path / "theirs" / "config.json").read_text())
    ours = json.loads((folder / "config.json").read_text())
    assert set(theirs) <= set(ours) | {"global_pool"}
    assert {p.name for p in (tmp_path / "theirs").iterdir()} == {"config.json", "model.safetensors"}
    again = timm.create_model(f"local-dir:{tmp_path / 'theirs'}", pretrained=True).eval()
    images = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(again(images), network.eval()(images))
