"""The printed file, run where this package cannot be imported, is the same network."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from experiments.export.code import network_code
from search_spaces import Architecture, build_network, load_architecture, load_space

SIDES = {"inception_v3": 107, "inception_resnet_v2": 107, "cifar_highway19": 32}
NAMES = [
    "efficientnet_b0",
    pytest.param("resnet50", marks=pytest.mark.slow),
    pytest.param("vgg16_bn", marks=pytest.mark.slow),
    "densenet121",
    pytest.param("inception_v3", marks=pytest.mark.slow),
    "googlenet_aux",
    "cifar_highway19",
    "mobilenet_v2",
    "resnext50_32x4d",
    pytest.param("inception_resnet_v2", marks=pytest.mark.slow),
    "cifar_resnet20",
]


def executed(architecture: Architecture, **sizes: int) -> dict:
    namespace: dict = {"__name__": "printed"}
    exec(network_code(architecture, **sizes), namespace)
    return namespace


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_printed_network_our_weights_and_outputs(name):
    architecture = load_architecture(name)
    torch.manual_seed(0)
    ours = build_network(architecture, num_classes=7)
    torch.manual_seed(0)
    printed = executed(architecture)["Network"](num_classes=7)
    state = printed.state_dict()
    assert list(state) == list(ours.state_dict())
    assert all(torch.equal(state[key], value) for key, value in ours.state_dict().items())
    side = SIDES.get(name, 64)
    x = torch.randn(2, 3, side, side)
    with torch.no_grad():
        scores = ours.eval()(x)
        assert torch.equal(printed.eval()(x), scores)
    assert (scores[0] - scores[1]).abs().max() > 0


def test_drop_connect_and_auxiliary_scores_are_those_of_training(small):
    auxiliary = load_architecture("googlenet_3x3_aux")
    for architecture, side in ((small, 16), (auxiliary, 96)):
        ours = build_network(architecture)
        printed = executed(architecture)["Network"]()
        printed.load_state_dict(ours.state_dict())
        x = torch.randn(4, 3, side, side)
        outputs = []
        for network in (ours, printed):
            torch.manual_seed(1)
            scores = network.train()(x)
            parts = [scores] if side == 16 else [scores[0], *(s for _, s in scores[1])]
            outputs.append(torch.cat(parts))
        assert len(outputs[0]) == 4 if side == 16 else 12
        torch.testing.assert_close(*outputs)


def test_a_searched_architecture_of_the_mixed_space_prints_too():
    import optuna

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    space = load_space("mixed")
    for _ in range(3):
        architecture = space.suggest(study.ask())
        torch.manual_seed(0)
        ours = build_network(architecture, num_classes=10, in_channels=1)
        torch.manual_seed(0)
        printed = executed(architecture, num_classes=10, in_channels=1)["Network"]()
        x = torch.randn(1, 1, architecture.resolution, architecture.resolution)
        with torch.no_grad():
            assert torch.equal(ours.eval()(x), printed.eval()(x))


def test_a_process_without_this_package_gives_the_same_scores(tmp_path):
    architecture = load_architecture("efficientnet_b0")
    network = build_network(architecture, num_classes=10).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        save_file({"x": x, "scores": network(x)}, tmp_path / "expected.safetensors")
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "printed.py").write_text(network_code(architecture, num_classes=10))
    (tmp_path / "run.py").write_text(
        "import sys, torch, printed\n"
        "from safetensors.torch import load_file, save_file\n"
        "network = printed.Network().eval()\n"
        "network.load_state_dict(load_file('model.safetensors'))\n"
        "scores = network(load_file('expected.safetensors')['x'])\n"
        "save_file({'scores': scores.detach()}, 'got.safetensors')\n"
        "assert not {'search_spaces', 'scaler', 'experiments'} & set(sys.modules)\n"
    )
    command = [sys.executable, "run.py"]
    subprocess.run(command, cwd=tmp_path, env={"PATH": ""}, check=True, timeout=120)
    expected = load_file(tmp_path / "expected.safetensors")["scores"]
    got = load_file(tmp_path / "got.safetensors")["scores"]
    assert torch.allclose(got, expected, atol=1e-6)


def test_repeated_layers_are_loops_and_growing_widths_too():
    code = network_code(load_architecture("densenet121"))
    assert "*(dense_layer(64 + 32 * i, 96 + 32 * i) for i in range(6))" in code
    assert "drop_rate=0.2 * i / 16" in network_code(load_architecture("efficientnet_b0"))


@pytest.mark.parametrize("name", ["efficientnet_b0", "inception_v3_aux"])
def test_the_printed_file_has_no_undefined_or_unused_name(name, tmp_path):
    path = tmp_path / "printed.py"
    path.write_text(network_code(load_architecture(name)))
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F,E9", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
