import pytest
import torch
from torch import nn

from experiments.training.optimizer import AveragedNetwork


def test_the_average_follows_the_weights_and_the_statistics():
    network = nn.BatchNorm1d(1)
    average = AveragedNetwork(network, decay=0.9)
    wanted_weight, wanted_mean = 1.0, 0.0
    for step in range(200):
        with torch.no_grad():
            network.weight.fill_(step)
            network.running_mean.fill_(-step)
        average.update(network)
        decay = min(0.9, (1 + step) / (10 + step))  # as in TensorFlow, with num_updates
        wanted_weight = decay * wanted_weight + (1 - decay) * step
        wanted_mean = decay * wanted_mean - (1 - decay) * step
    assert average.network.weight.item() == pytest.approx(wanted_weight, rel=1e-5)
    assert average.network.running_mean.item() == pytest.approx(wanted_mean, rel=1e-5)


def test_the_average_is_in_eval_mode_and_learns_nothing_itself():
    average = AveragedNetwork(nn.Linear(1, 1).train(), decay=0.9)
    assert not average.network.training
    assert not any(weight.requires_grad for weight in average.network.parameters())
