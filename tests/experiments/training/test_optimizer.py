import pytest
import torch
from torch import nn

from experiments.config.recipe import TrainConfig
from experiments.training.optimizer import (
    make_optimizer,
    optimizer_tensors,
    restore_optimizer,
    set_rate,
)
from search_spaces import build_network
from search_spaces.architecture import Architecture


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


def test_everything_but_batch_norm_decays_in_efficientnet():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    groups = make_optimizer(network, TrainConfig(decayed="all_but_norm")).param_groups
    spared = {id(w) for group in groups if not group["weight_decay"] for w in group["params"]}
    assert spared == {id(network[1].weight), id(network[1].bias)}


def test_rmsprop_is_tensorflows():
    """Squares begin at 1, epsilon under the root, the rate inside the momentum."""
    weight = nn.Parameter(torch.tensor([1.0]))
    settings = {"optimizer": "rmsprop", "momentum": 0.9, "rms_decay": 0.9, "epsilon": 0.001}
    optimizer = make_optimizer(
        nn.ParameterList([weight]), TrainConfig(learning_rate=0.1, weight_decay=0, **settings)
    )
    wanted, square, moment = 1.0, 1.0, 0.0
    for gradient in (2.0, -1.0, 0.5):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        square += 0.1 * (gradient**2 - square)
        moment = 0.9 * moment + 0.1 * gradient / (square + 0.001) ** 0.5
        wanted -= moment
        assert weight.item() == pytest.approx(wanted, rel=1e-5)


def test_the_rate_falls_stage_by_stage_from_the_head_to_the_stem(tiny: Architecture):
    network = build_network(tiny, num_classes=2)
    optimizer = make_optimizer(network, TrainConfig(layer_decay=0.5))
    set_rate(optimizer, 1.0)
    rates = {id(w): group["lr"] for group in optimizer.param_groups for w in group["params"]}

    def found(part: nn.Module) -> set[float]:
        return {rates[id(weight)] for weight in part.parameters()}

    assert found(network.head) == {1.0}
    assert [found(stage) for stage in network.stages] == [{0.25}, {0.5}]
    assert found(network.stem) == {0.125}


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adamw", "muon"])
def test_an_optimizer_goes_on_from_its_tensors(name):
    def trained(steps: int, optimizer: torch.optim.Optimizer, network: nn.Module) -> None:
        for step in range(steps):
            for weight in network.parameters():
                weight.grad = torch.full_like(weight, 1.0 + step)
            optimizer.step()

    config = TrainConfig(optimizer=name, learning_rate=0.01)
    torch.manual_seed(0)
    whole, part = nn.Linear(3, 2), nn.Linear(3, 2)
    part.load_state_dict(whole.state_dict())
    first, second = make_optimizer(whole, config), make_optimizer(part, config)
    trained(3, first, whole)
    trained(3, second, part)
    again = nn.Linear(3, 2)
    again.load_state_dict(part.state_dict())
    third = make_optimizer(again, config)
    restore_optimizer(third, optimizer_tensors(second))
    trained(2, first, whole)
    trained(2, third, again)
    assert torch.equal(whole.weight, again.weight)
    assert torch.equal(whole.bias, again.bias)
