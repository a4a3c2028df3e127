import pytest
import torch

from experiments.training.hardware import choose_precision, compiles

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("setting", "device", "left", "wanted"),
    [
        ("always", CPU, None, True),
        ("never", GPU, 1e6, False),
        ("auto", GPU, None, False),  # before an epoch has shown how long the rest takes
        ("auto", GPU, 400.0, False),
        ("auto", GPU, 600.0, True),
        ("auto", CPU, 1e6, False),
    ],
)
def test_compiling_must_save_twice_its_cost(setting, device, left, wanted):
    assert compiles(setting, device=device, seconds_left=left) is wanted


def test_a_cpu_computes_in_float32_unless_told_otherwise():
    assert choose_precision("auto", CPU) is None
    assert choose_precision("bfloat16", CPU) is torch.bfloat16


@pytest.mark.parametrize(("capability", "wanted"), [((8, 0), torch.bfloat16), ((7, 5), None)])
def test_a_gpu_computes_in_bfloat16_where_it_has_it(monkeypatch, capability, wanted):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert choose_precision("auto", GPU) is wanted
