"""An exported folder gives back the very network that went in."""

import json

import pytest
import torch

from experiments.config.files import write_text
from experiments.export import load_exported
from experiments.export.folder import write_exported
from experiments.export.model import checkpoint_model, untrained_model
from experiments.training.checkpoint import save_checkpoint
from search_spaces import InputError, build_network, load_architecture

IMAGES = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)


@pytest.fixture
def checkpoint(small, tmp_path):
    """A run's checkpoint as the family's training writes it, and its network."""
    network = build_network(small, num_classes=4, in_channels=1)
    network.train()(torch.randn(8, 1, 16, 16))  # statistics that are not those of a fresh network
    metadata = {
        "architecture": small.model_dump(mode="json", exclude_defaults=True),
        "classes": ["ant", "bee", "cat", "dog"],
        "in_channels": 1,
        "data": "0123456789abcdef",
        "data_name": "beasts",
        "train_images": 1234,
        "epochs": 17,
        "epoch": 12,  # the best one
        "seed": 3,
        "mean": [0.25],
        "std": [0.125],
        "accuracy": 0.75,
        "test_accuracy": 0.7,
        "train": {"optimizer": "sgd", "learning_rate": 0.05},
    }
    path = tmp_path / "checkpoints" / "small" / "weights.safetensors"
    save_checkpoint(path, network, metadata=metadata)
    return path, network.eval()


def test_a_checkpoint_comes_back_exactly_with_its_preparation_and_classes(checkpoint, tmp_path):
    path, network = checkpoint
    write_exported(checkpoint_model(path), tmp_path / "out")
    loaded = load_exported(tmp_path / "out")
    state = loaded.network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    inputs = loaded.preprocessing(IMAGES)
    assert inputs.shape == (3, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded.network(inputs), network(inputs))
    assert loaded.classes == ("ant", "bee", "cat", "dog")
    assert loaded.architecture.key == checkpoint_model(path).architecture.key


def test_images_are_normalised_with_the_training_datas_mean_and_deviation(checkpoint, tmp_path):
    write_exported(checkpoint_model(checkpoint[0]), tmp_path / "out")
    grey = torch.full((1, 1, 16, 16), 255, dtype=torch.uint8)  # (1 - 0.25) / 0.125 = 6
    inputs = load_exported(tmp_path / "out").preprocessing(grey)
    assert torch.allclose(inputs, torch.tensor(6.0), atol=1e-5)


def test_the_card_says_on_what_and_how_long_it_was_trained(checkpoint, tmp_path):
    write_exported(checkpoint_model(checkpoint[0]), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Trained to epoch 12 of 17 on 1,234 images of `beasts`" in card
    assert "0123456789abcdef" in card
    assert "| accuracy on the test part, looked at once | 0.7000 |" in card
    assert "- optimizer: sgd" in card
    assert "| bytes of RAM as int8: its maps at the worst moment |" in card
    assert "| bytes of ExecuTorch's arena on a Cortex-M4, " in card


def test_an_untrained_network_follows_from_its_seed_and_is_called_untrained(tmp_path):
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        model = untrained_model("cifar_resnet20", num_classes=10, seed=seed)
        write_exported(model, tmp_path / folder)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c
    card = (tmp_path / "a" / "README.md").read_text()
    assert "Untrained: as initialised from seed 1." in card
    assert "not those of training data" in card


def test_a_librarys_weights_can_be_exported(tmp_path):
    from torchvision.models import resnet18

    theirs = resnet18().eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    model = untrained_model("resnet18", weights=tmp_path / "resnet18.pth")
    write_exported(model, tmp_path / "out")
    loaded = load_exported(tmp_path / "out").network
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(loaded(x), theirs(x), atol=1e-4)
    assert "read from `resnet18.pth`" in (tmp_path / "out" / "README.md").read_text()


def test_exporting_again_leaves_no_file_of_the_export_before(checkpoint, tmp_path):
    model = checkpoint_model(checkpoint[0])
    write_exported(model, tmp_path / "out", formats=["torch"])
    assert (tmp_path / "out" / "model.pt2").is_file()
    files = write_exported(model, tmp_path / "out")
    assert "model.pt2" not in [file.name for file in files]


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(checkpoint, tmp_path):
    write_text(tmp_path / "out" / "diary.txt", "mine")
    with pytest.raises(InputError, match="is not empty and not an export; name a new folder"):
        write_exported(checkpoint_model(checkpoint[0]), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["diary.txt"]


def test_a_checkpoint_of_another_network_is_refused(checkpoint):
    with pytest.raises(InputError, match="is of another network: "):
        checkpoint_model(checkpoint[0], architecture="cifar_resnet20")


def test_weights_without_our_metadata_point_to_init_from(tmp_path):
    network = build_network(load_architecture("cifar_resnet20"))
    save_checkpoint(tmp_path / "w.safetensors", network, metadata={})
    with pytest.raises(InputError, match=r"does not say its .*scaler export ARCH --init-from"):
        checkpoint_model(tmp_path / "w.safetensors")


def test_what_is_no_export_is_not_loaded(checkpoint, tmp_path):
    with pytest.raises(InputError, match="is not an export"):
        load_exported(tmp_path)
    write_exported(checkpoint_model(checkpoint[0]), tmp_path / "out")
    (tmp_path / "out" / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="damaged"):
        load_exported(tmp_path / "out")
    (tmp_path / "out" / "config.json").write_text('{"architecture": "scaler_network"}')
    with pytest.raises(InputError, match=r"config\.json: "):
        load_exported(tmp_path / "out")


def test_config_json_has_the_fields_that_timm_writes(checkpoint, tmp_path):
    write_exported(checkpoint_model(checkpoint[0]), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["num_features"] == 32
    assert config["label_names"] == ["ant", "bee", "cat", "dog"]
    assert config["pretrained_cfg"]["input_size"] == [1, 16, 16]
