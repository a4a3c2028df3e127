"""Cost against the golden table, a full fvcore trace, and torch's own counter on meta tensors."""

import optuna
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scaler import measure_cost
from scaler.cost import measure_layers, trace_cost
from search_spaces import build_network, load_architecture, load_space, resize
from tests.conftest import golden


@pytest.mark.parametrize("row", golden("efficientnet.csv"), ids=lambda row: f"{row[0]}@{row[1]}")
def test_parameters_and_flops_equal_the_literature_to_the_integer(row):
    name, resolution, params, flops, activations = row
    network = resize(load_architecture(name), resolution=int(resolution))
    cost = measure_cost(network)
    assert (cost.params, cost.flops) == (int(params), int(flops))
    assert f"{cost.activations / 1e6:.3f}" == activations


def random_members(space: str, resolution: int, count: int):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=resolution))
    return [load_space(space).at(resolution).suggest(study.ask()) for _ in range(count)]


@pytest.mark.parametrize(("space", "resolution"), [("mbconv", 49), ("mbconv_small", 17)])
def test_sum_of_the_layers_equals_a_trace_of_the_whole_network(space, resolution):
    for member in random_members(space, resolution, 4):
        network = build_network(member, num_classes=7, in_channels=2)
        traced, _ = trace_cost(network, (2, resolution, resolution))
        assert measure_cost(member, num_classes=7, in_channels=2) == traced


def test_torchs_own_counter_on_meta_tensors_agrees():
    for member in random_members("mbconv", 75, 4):
        with torch.device("meta"):
            network = build_network(member).eval()
            x = torch.empty(1, 3, 75, 75)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(x)
        assert measure_cost(member).flops * 2 == counter.get_total_flops()


def test_classes_and_channels_are_counted(small):
    """By hand: a class more is 32 weights and a bias; an input channel more is 8 3 x 3 kernels."""
    base = measure_cost(small, num_classes=10, in_channels=1)
    more = measure_cost(small, num_classes=11, in_channels=1)
    assert (more.flops - base.flops, more.params - base.params) == (32, 33)
    colour = measure_cost(small, num_classes=10, in_channels=2)
    assert (colour.flops - base.flops, colour.params - base.params) == (72 * 16 * 16, 72)


def test_rows_name_every_layer(small):
    rows = measure_layers(small, num_classes=10, in_channels=1)
    assert list(rows) == ["stem", "stages.0.0", "stages.0.1", "stages.1.0", "stages.1.1", "head"]
    assert rows["stem"].flops == 9 * 8 * 16 * 16  # 3 x 3 kernels, one to 8 channels


def test_measuring_leaves_the_thread_count_alone(small):
    threads = torch.get_num_threads()
    measure_cost(small.replace(resolution=31))
    assert torch.get_num_threads() == threads
