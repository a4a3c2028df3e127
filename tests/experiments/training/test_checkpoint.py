import json
import os

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from experiments.training.checkpoint import load_weights, save_checkpoint
from search_spaces.records import InputError


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "best.safetensors"


def test_weights_and_metadata_come_back(build, path):
    saved, loaded = build(seed=1), build(seed=2)
    save_checkpoint(path, saved, metadata={"epoch": 3, "classes": ["a", "b"]})
    assert load_weights(path, loaded) == {"epoch": 3, "classes": ["a", "b"]}
    assert same_weights(saved, loaded)
    assert json.loads((path.parent / "best.json").read_text())["epoch"] == 3
    assert sorted(os.listdir(path.parent)) == ["best.json", "best.safetensors"]


def test_channels_last_and_shared_weights_are_saved(build, path):
    network = build().to(memory_format=torch.channels_last)
    shared = nn.ModuleList([network, network[0]])
    save_checkpoint(path, shared, metadata={})
    assert torch.equal(load_file(path)["0.0.weight"], network[0].weight)
    assert torch.equal(load_file(path)["1.weight"], network[0].weight)


@pytest.mark.parametrize("survivors", [0, 1])
def test_kill_before_or_between_the_two_files_leaves_a_loadable_pair(
    build, path, monkeypatch, survivors
):
    old, new, loaded = build(seed=1), build(seed=2), build(seed=3)
    save_checkpoint(path, old, metadata={"epoch": 1})
    replace, calls = os.replace, []

    def killed(*names):
        calls.append(names)
        if len(calls) > survivors:
            raise KeyboardInterrupt
        replace(*names)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, new, metadata={"epoch": 2})
    assert load_weights(path, loaded) == {"epoch": 1 + survivors}
    assert same_weights(loaded, (old, new)[survivors])
    assert len(os.listdir(path.parent)) == 2


def test_metadata_that_json_cannot_hold_touches_no_file(build, path):
    for metadata, error in (({"loss": float("nan")}, ValueError), ({"path": path}, TypeError)):
        with pytest.raises(error):
            save_checkpoint(path, build(), metadata=metadata)
    assert not os.listdir(path.parent)


def test_missing_checkpoint_is_told(build, path):
    with pytest.raises(InputError, match=r"there is no checkpoint '.*best\.safetensors'"):
        load_weights(path, build())


@pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: c[:5], lambda c: b"no" + c])
def test_damaged_checkpoint_is_told(build, path, damage):
    save_checkpoint(path, build(), metadata={})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"'.*best\.safetensors' is damaged"):
        load_weights(path, build())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda n: nn.Sequential(*n[:6], nn.Linear(64, 3)), r"'6.weight' is \(2, 64\).*\(3, 64\)"),
        (lambda n: nn.Sequential(*n, nn.Linear(2, 2)), r"'7.weight' is absent there"),
        (lambda n: n[:6], r"'6.bias' is \(2,\) there and absent in this one"),
    ],
)
def test_checkpoint_of_another_network_is_told_and_changes_nothing(build, path, change, told):
    save_checkpoint(path, build(seed=1), metadata={})
    other = change(build(seed=2))
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(InputError, match=told):
        load_weights(path, other)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_name_without_the_suffix_is_refused(build, tmp_path):
    with pytest.raises(InputError, match=r"must end in \.safetensors"):
        save_checkpoint(tmp_path / "best.pt", build(), metadata={})
