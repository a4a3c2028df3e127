"""Latency: taken in turns, under stated conditions, nothing left changed."""

import gc
import os
from itertools import groupby

import pytest
import torch

from scaler import latency, measure_latencies, measure_latency
from scaler.conditions import Conditions
from search_spaces import InputError, load_architecture, resize

SIZES = {"num_classes": 10, "in_channels": 1}


def test_a_latency_carries_all_that_it_holds_for(small):
    found = measure_latency(small, batch_size=2, precision="bf16", threads=1, budget=0.2, **SIZES)
    assert 0 < found.low <= found.seconds <= found.high
    asked = Conditions(batch_size=2, precision="bf16", device="cpu", threads=1)
    assert found.conditions == asked
    assert (found.architecture, found.resolution, found.num_classes) == ("small", 16, 10)
    assert found.machine["torch"] == torch.__version__
    assert f"{os.cpu_count()} cores" in found.machine["hardware"]


@pytest.fixture
def calls(monkeypatch):
    """Networks whose steps do nothing but tell that they ran, by name."""
    ran: list[str] = []
    monkeypatch.setattr(latency, "make_step", lambda network, *_: lambda: ran.append(network.name))
    return ran


def test_networks_take_turns_in_every_round(calls, small):
    networks = [small.replace(name=name) for name in "ab"]
    a, b = measure_latencies(networks, conditions=Conditions(threads=1), budget=0.05)
    turns = [name for name, _ in groupby(calls)]
    assert turns == ["a", "b"] * (1 + a.rounds)  # the warm-up is a turn too
    assert (a.rounds, b.runs) == (b.rounds, 50 * b.rounds)


@pytest.mark.usefixtures("calls")
def test_an_uncertain_median_takes_more_rounds(small):
    conditions = Conditions(threads=1)
    (hasty,) = measure_latencies([small], conditions=conditions, budget=9.0, tolerance=99.0)
    (exact,) = measure_latencies([small], conditions=conditions, budget=0.3, tolerance=0.0)
    assert hasty.rounds == 7
    assert exact.rounds > 7


@pytest.mark.parametrize(
    ("medians", "half"),
    [
        ([2.0, 2.0, 2.0], 0.0),
        ([1.0, 2.0, 4.0], 0.75),  # half of 3, over the median 2
        # Of 100, 50 - 0.98 * 10 = 40 lie outside on each side: from the 41st to the 60th.
        (list(range(1, 101)), (60 - 41) / 2 / 50.5),
    ],
)
def test_uncertainty_is_half_the_interval_of_the_order_statistics(medians, half):
    assert latency._uncertainty(medians) == pytest.approx(half)


def test_threads_generator_and_collector_are_left_alone(small):
    found = torch.get_num_threads()
    state = torch.random.get_rng_state()
    measure_latency(small, threads=1, training_step=True, batch_size=2, budget=0.01, **SIZES)
    assert torch.get_num_threads() == found
    assert torch.equal(torch.random.get_rng_state(), state)
    assert gc.isenabled()


@pytest.mark.parametrize("name", ["resnet18", "unet_bn", "fcos_resnet50_fpn"])
def test_a_step_of_training_moves_the_weights_and_an_inference_does_not(name, monkeypatch):
    from scaler import step

    network = resize(load_architecture(name), width=0.125, resolution=72)

    built = []
    original = step.build_network
    monkeypatch.setattr(
        step, "build_network", lambda *a, **k: built.append(original(*a, **k)) or built[-1]
    )
    for training in (True, False):
        conditions = Conditions(training_step=training, batch_size=2)
        run = step.make_step(network, conditions, torch.device("cpu"), 3, 3)
        before = torch.nn.utils.parameters_to_vector(built[-1].parameters()).detach()
        run()
        after = torch.nn.utils.parameters_to_vector(built[-1].parameters()).detach()
        assert torch.equal(after, before) is not training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: input should be greater than or equal to 1"),
        ({"precision": "int8"}, "precision: input should be 'fp32', 'bf16' or 'fp16'"),
        ({"device": "tpu"}, "device: string should match pattern"),
        ({"device": "cuda:99"}, "device is 'cuda:99', but torch finds"),
        ({"training_step": True}, "a training step needs a batch_size of 2 or more"),
        ({"budget": float("nan")}, "budget must be a positive number of seconds, but got nan"),
    ],
)
def test_what_cannot_be_measured_is_one_clear_line(small, options, message):
    with pytest.raises(InputError, match=message) as caught:
        measure_latency(small, **options, **SIZES)
    assert "\n" not in str(caught.value)


def test_a_network_that_cannot_run_is_named(small, monkeypatch):
    def no_room():
        raise RuntimeError("can't allocate memory\nat alloc.cpp")

    monkeypatch.setattr(latency, "make_step", lambda *_: no_room)
    with pytest.raises(
        InputError, match=r"'small' at 16 px cannot run as inference, batch 8.*can't"
    ):
        measure_latency(small, batch_size=8, **SIZES)


@pytest.mark.gpu
def test_a_gpu_is_timed_by_its_own_events(small):
    found = measure_latency(small, device="cuda", budget=0.2, **SIZES)
    assert found.seconds > 0
    assert found.conditions.device == "cuda:0"
    assert found.machine["cuda"] == torch.version.cuda


def test_every_network_of_a_compiled_table_is_compiled(small, monkeypatch):
    compile_, graphs = torch.compile, []

    def count(graph, _inputs):
        graphs.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", lambda network: compile_(network, backend=count))
    members = [small.replace(name=f"n{i}", head={"channels": 8 * i}) for i in range(1, 11)]
    conditions = Conditions(device="cpu", compiled=True)
    measure_latencies(members, conditions=conditions, budget=0.01, **SIZES)
    assert len(graphs) == 10
