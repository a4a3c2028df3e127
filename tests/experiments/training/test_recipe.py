import pytest
import torch
from torch import nn

from experiments.config import TrainConfig
from experiments.training.optimizer import make_optimizer
from experiments.training.rates import epoch_rates


def all_rates(config: TrainConfig, *, epochs: int, steps: int, **seen: object) -> list[float]:
    return [
        rate
        for epoch in range(1, epochs + 1)
        for rate in epoch_rates(config, epoch=epoch, epochs=epochs, steps_per_epoch=steps, **seen)
    ]


def rates(*, epochs: int, steps: int, warmup: float) -> list[float]:
    config = TrainConfig(learning_rate=1.0, warmup_epochs=warmup)
    return all_rates(config, epochs=epochs, steps=steps)


def test_warm_up_is_linear_and_ends_at_the_peak():
    assert rates(epochs=4, steps=4, warmup=1)[:5] == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_cosine_falls_from_the_peak_towards_0():
    half = rates(epochs=2, steps=100, warmup=0)
    assert half[0] == 1
    assert half[100] == pytest.approx(0.5)
    assert 0 < half[-1] < 0.001
    assert half == sorted(half, reverse=True)


@pytest.mark.parametrize("warmup", [0, 0.001, 0.5, 1, 1.3, 100])
@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (1, 3), (2, 1), (5, 7)])
def test_any_warm_up_gives_rates_in_range_and_a_decay(warmup, epochs, steps):
    found = rates(epochs=epochs, steps=steps, warmup=warmup)
    assert len(found) == epochs * steps
    assert all(0 < rate <= 1 for rate in found)
    if len(found) > 3:
        assert found[-1] < max(found)


def test_weight_decay_spares_batch_norm_and_biases():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    optimizer = make_optimizer(network, TrainConfig(weight_decay=0.5))
    decayed = {
        id(parameter)
        for group in optimizer.param_groups
        if group["weight_decay"] == 0.5
        for parameter in group["params"]
    }
    assert decayed == {id(network[0].weight), id(network[3].weight)}


def test_a_step_is_nesterovs():
    weight = nn.Parameter(torch.tensor([[1.0]]))
    network = nn.ParameterList([weight])
    optimizer = make_optimizer(
        network, TrainConfig(learning_rate=0.1, momentum=0.5, weight_decay=0)
    )
    for wanted in (1 - 0.1 * 1.5 * 2, 0.7 - 0.1 * (2 + 0.5 * (0.5 * 2 + 2))):  # gradient 2
        weight.grad = torch.full_like(weight, 2.0)
        optimizer.step()
        assert weight.item() == pytest.approx(wanted)
