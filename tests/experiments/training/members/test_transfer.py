import pytest
import torch

from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig
from experiments.training.checkpoint import load_tensors, save_checkpoint
from experiments.training.members.folder import TrainRequest
from experiments.training.members.run import train_member
from experiments.training.members.transfer import initial_weights
from scaler import CompoundCoefficients, scale
from search_spaces import Architecture, build_network, load_architecture
from search_spaces.records import InputError

TEN = tuple("abcdefghij")
SIZES = {"in_channels": 1, "seed": 1}


@pytest.fixture
def checkpoint(tiny, tmp_path):
    """Of `tiny` with ten classes, its weights all different."""
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    network = build_network(tiny, num_classes=10, in_channels=1)
    metadata = {"classes": TEN, "architecture": tiny.model_dump(mode="json")}
    save_checkpoint(path, network, metadata=metadata)
    return path


def test_the_same_network_begins_with_all_of_it(tiny, checkpoint):
    start = initial_weights(checkpoint, tiny, classes=TEN, **SIZES)
    kept = load_tensors(checkpoint)
    assert start.weights.keys() == kept.keys()
    assert all(torch.equal(start.weights[name], kept[name]) for name in kept)
    assert "new" not in start.told


@pytest.mark.parametrize("classes", [("a", "b", "c"), tuple("klmnopqrst")])
def test_other_classes_get_a_new_head_even_if_they_are_as_many(tiny, checkpoint, classes):
    start = initial_weights(checkpoint, tiny, classes=classes, **SIZES)
    missing = load_tensors(checkpoint).keys() - start.weights.keys()
    assert missing == {"head.classifier.weight", "head.classifier.bias"}
    assert "2 new (with the classifier)" in start.told


def test_a_larger_member_grows_from_the_smaller_ones_weights(tiny, checkpoint):
    coefficients = CompoundCoefficients(alpha=1.5, beta=2.0, gamma=1.0)
    large = scale(tiny, phi=1, coefficients=coefficients)
    start = initial_weights(checkpoint, large, classes=TEN, **SIZES)
    network = build_network(large, num_classes=10, in_channels=1)
    network.load_state_dict(start.weights, strict=False)
    small = load_tensors(checkpoint)["stages.1.0.project.0.weight"]
    grown = network.state_dict()["stages.1.0.project.0.weight"]
    assert all(a > b for a, b in zip(grown.shape[:2], small.shape[:2], strict=True))
    assert torch.equal(grown[: small.shape[0], : small.shape[1]], small)
    assert any(name not in start.weights for name in network.state_dict())  # added layers


def test_librarys_weights_begin_a_network_with_other_classes(tmp_path):
    resnet = load_architecture("cifar_resnet20")
    theirs = build_network(resnet, num_classes=1000)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    start = initial_weights(
        tmp_path / "theirs.pth", resnet, classes=tuple("abcdefg"), in_channels=3, seed=0
    )
    assert torch.equal(start.weights["stem.conv.weight"], theirs.state_dict()["stem.conv.weight"])
    assert not any(name.startswith("head.classifier") for name in start.weights)


def test_weights_of_something_else_are_refused(tiny, tmp_path):
    save_checkpoint(
        tmp_path / "other.safetensors", torch.nn.Linear(2, 2), metadata={"architecture": {}}
    )
    with pytest.raises(InputError, match="no weights that 'tiny' could begin with"):
        initial_weights(tmp_path / "other.safetensors", tiny, classes=("a", "b"), **SIZES)


def test_frozen_stages_end_as_they_began(tiny, checkpoint, tmp_path):
    data = DataConfig(source="digits", train_limit=200, validation_limit=50)
    request = TrainRequest(
        architecture=tiny,
        data=data,
        train=TrainConfig(batch_size=32, device="cpu"),
        epochs=1,
        init_from=str(checkpoint),
        frozen=1,
    )
    trained = train_member(request, tmp_path / "run")
    before, after = load_tensors(checkpoint), load_tensors(trained.folder.last)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith(("stem.", "stages.0.")) for name in moved)
    assert any(name.startswith("stages.1.") for name in moved)


def test_freezing_more_stages_than_there_are_is_refused(tiny, tmp_path):
    request = TrainRequest(architecture=tiny, train=TrainConfig(), epochs=1, frozen=3)
    with pytest.raises(InputError, match=r"at most 2.*but is 3"):
        train_member(request, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("head", [{"kind": "unet", "widths": [8]}, {"kind": "fcn", "skips": 2}])
def test_a_dense_network_begins_with_a_classifiers_body(tmp_path, tiny, head):
    body = build_network(tiny, num_classes=2, in_channels=1)
    table = tiny.model_dump(mode="json", exclude_defaults=True)
    path = tmp_path / "body.safetensors"
    facts = {"architecture": table, "classes": ["cat", "dog"]}
    save_checkpoint(path, body, metadata=facts)
    dense = Architecture.parse({**table, "head": head}, source="test")
    classes = ("land", "water", "road")
    start = initial_weights(path, dense, classes=classes, in_channels=1, seed=0)
    wanted = {n: w for n, w in body.state_dict().items() if not n.startswith("head.")}
    assert start.weights.keys() == wanted.keys()
    assert all(torch.equal(start.weights[name], tensor) for name, tensor in wanted.items())
    assert f"{len(wanted)} tensors as they are" in start.told
    network = build_network(dense, num_classes=2, in_channels=1)
    save_checkpoint(path, network, metadata={**facts, "classes": ["cat", "dog"]})
    again = initial_weights(path, dense, classes=classes, in_channels=1, seed=0).weights
    assert not [name for name in again if "scores" in name]
