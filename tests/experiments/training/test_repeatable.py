"""What a training asks of torch for equal bits on a card: told by flags, which a CPU has too."""

import os

import pytest
import torch
from torch import nn

from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig
from experiments.training import hardware, loop
from experiments.training.training import Training
from search_spaces import InputError


def flags():
    cudnn = torch.backends.cudnn
    return cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled()


@pytest.fixture(autouse=True)
def as_a_user_set_them(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")


class Noting(nn.Module):
    """Notes the flags at each of its passes."""

    def __init__(self, network):
        super().__init__()
        self.network, self.seen = network, []

    def forward(self, images):
        cublas = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
        self.seen.append((self.training, *flags(), cublas))
        return self.network(images)


def recipe(**changes):
    return TrainConfig(
        batch_size=16, learning_rate=0.05, device="cpu", layout="contiguous", **changes
    )


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [(False, (True, False, False, None)), (True, (False, True, True, ":4096:8"))],
)
def test_trainings_and_accuracies_run_under_the_flags_of_the_config(build, train, wanted, asked):
    network = Noting(build())
    for _ in train(network, config=recipe(deterministic=wanted), epochs=1):
        assert flags() == (True, False, False)
    assert {seen[0] for seen in network.seen} == {True, False}
    assert {seen[1:] for seen in network.seen} == {asked}
    assert flags() == (True, False, False)


def test_the_test_part_is_looked_at_under_the_same_flags(tiny, data):
    training = Training(
        tiny, data, DataConfig(), recipe(deterministic=True), epochs=1, seed=0, resolution=8
    )
    network = Noting(training.network())
    training.test(network)
    assert {seen[1:4] for seen in network.seen} == {(False, True, True)}


def test_the_layout_is_timed_under_the_same_flags(build, train, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(hardware, "_timed", lambda *_: seen.append(flags()) or 1.0)
    monkeypatch.setenv("SCALER_CACHE", str(tmp_path))
    config = recipe(deterministic=True).replace(layout="auto")
    next(train(build(), config=config, epochs=1))
    assert seen == [(False, True, True)] * 2


def test_a_cpu_gives_the_same_curve_either_way(build, train):
    plain, asked = (
        [result.train_loss for result in train(build(), config=recipe(deterministic=wanted))]
        for wanted in (False, True)
    )
    assert plain == asked


def test_a_layer_that_cannot_repeat_itself_is_refused_by_name(build, train):
    class Pool(nn.Module):
        def forward(self, _):
            raise RuntimeError(
                "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, "
                "but you set 'torch.use_deterministic_algorithms(True)'. You can turn off"
            )

    network = nn.Sequential(build(), Pool())
    message = r"^train\.deterministic is true, but adaptive_avg_pool2d_backward_cuda does not"
    with pytest.raises(InputError, match=message) as caught:
        next(train(network, config=recipe(deterministic=True)))
    assert "\n" not in str(caught.value)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(("wanted", "times"), [(False, 1), (True, 0)])
def test_what_the_clock_decides_is_left_out(build, train, monkeypatch, wanted, times):
    compiled = []
    monkeypatch.setattr(loop, "compiles", lambda *_, seconds_left, **__: seconds_left is not None)
    monkeypatch.setattr(
        loop, "compile_network", lambda network, *_, **__: compiled.append(1) or network
    )
    list(train(build(), config=recipe(deterministic=wanted), epochs=2))
    assert len(compiled) == times
