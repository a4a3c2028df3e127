import json

import pytest
import torch
from torch import nn

from experiments.training import hardware
from experiments.training.hardware import choose_layout

CPU = torch.device("cpu")
SHAPE = (4, 3, 8, 8)


@pytest.fixture
def network(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALER_CACHE", str(tmp_path))
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def seconds(monkeypatch, **told):
    asked = []

    def measured(_network, _shape, _device, kind, _precision):
        name = "channels_last" if kind == torch.channels_last else "contiguous"
        asked.append(name)
        return told[name]

    monkeypatch.setattr(hardware, "_seconds_a_step", measured)
    return asked


@pytest.mark.parametrize(
    ("contiguous", "wanted"),
    [(2.0, torch.channels_last), (0.99, torch.channels_last), (0.5, torch.contiguous_format)],
)
def test_the_usual_layout_is_left_for_a_clear_gain_only(network, monkeypatch, contiguous, wanted):
    seconds(monkeypatch, channels_last=1.0, contiguous=contiguous)
    assert choose_layout("auto", network, shape=SHAPE, device=CPU) == wanted


def test_what_was_measured_is_remembered(network, monkeypatch, tmp_path):
    asked = seconds(monkeypatch, channels_last=1.0, contiguous=0.5)
    choose_layout("auto", network, shape=SHAPE, device=CPU)
    seconds(monkeypatch, channels_last=0.5, contiguous=1.0)
    assert choose_layout("auto", network, shape=SHAPE, device=CPU) == torch.contiguous_format
    assert sorted(asked) == ["channels_last", "contiguous"]
    (file,) = (tmp_path / "layouts").iterdir()
    assert json.loads(file.read_text())["layout"] == "contiguous"


def test_a_setting_is_not_measured(network, monkeypatch):
    asked = seconds(monkeypatch)
    assert choose_layout("contiguous", network, shape=SHAPE, device=CPU) == torch.contiguous_format
    assert not asked


def test_measuring_changes_neither_the_network_nor_the_random_state(network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    choose_layout("auto", network, shape=SHAPE, device=CPU)
    assert torch.rand(1) == wanted
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(weight.grad is None for weight in network.parameters())


def test_the_layout_is_timed_as_the_training_runs_and_remembered_for_that(network, monkeypatch):
    asked = []

    def measured(_network, shape, device, _kind, precision):
        asked.append((shape, device.type, precision))
        return 1.0

    monkeypatch.setattr(hardware, "_seconds_a_step", measured)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    gpu = torch.device("cuda")
    whole = (512, 3, 8, 8)  # of a batch; a CPU is asked for 16 images of it
    trainings = [
        (SHAPE, CPU, None),
        (SHAPE, CPU, torch.bfloat16),
        ((4, 3, 16, 16), CPU, None),
        (whole, gpu, torch.bfloat16),
        ((256, 3, 8, 8), gpu, torch.bfloat16),
    ]
    for _ in range(2):
        for shape, device, precision in trainings:
            choose_layout("auto", network, shape=shape, device=device, precision=precision)
    assert asked[::2] == asked[1::2] == [(s, d.type, p) for s, d, p in trainings]
    choose_layout("auto", network, shape=whole, device=CPU)
    assert asked[-1] == ((16, 3, 8, 8), "cpu", None)


def test_a_step_that_does_not_fit_is_timed_with_half_of_the_images(network, monkeypatch):
    tried = []

    def timed(_network, shape, *_):
        tried.append(shape[0])
        if shape[0] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1.0

    monkeypatch.setattr(hardware, "_timed", timed)
    assert hardware._seconds_a_step(network, (8, 3, 8, 8), CPU, torch.channels_last, None) == 1.0
    assert tried == [8, 4, 2]
