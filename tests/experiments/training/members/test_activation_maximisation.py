import torch

from experiments.data.images import ChannelStatistics
from experiments.training.members.pictures import maximise
from search_spaces import build_network

GREY = ChannelStatistics((0.5,), (0.25,))


def test_every_channel_is_excited_more_than_by_the_noise_it_began_with(tiny):
    torch.manual_seed(0)
    network = build_network(tiny, num_classes=2, in_channels=1)
    for tap in (0, 1):
        found = maximise(
            network, tap=tap, channels=[0, 3, 5], statistics=GREY, resolution=8, steps=40
        )
        assert (found.after > found.before).all()
        assert found.images.shape == (3, 1, 8, 8)
        assert 0 <= found.images.min() <= found.images.max() <= 1


def test_a_map_of_brightness_is_maximised_by_white(tiny):
    network = build_network(tiny, num_classes=2, in_channels=1)
    with torch.no_grad():
        network.stem.conv.weight.fill_(1.0)
    found = maximise(network, tap=0, channels=[2], statistics=GREY, resolution=8, steps=200)
    assert found.images.mean() > 0.9


def test_the_network_is_left_as_it_was(tiny):
    network = build_network(tiny, num_classes=2, in_channels=1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    maximise(network, tap=1, channels=[0], statistics=GREY, resolution=8, steps=5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())
