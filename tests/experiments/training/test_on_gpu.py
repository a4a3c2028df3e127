"""The same trainings on a CPU and, with `-m gpu`, on a card."""

import pytest
import torch

from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig
from experiments.data.sources import load_data
from experiments.export import load_exported, write_exported
from experiments.export.model import checkpoint_model
from experiments.training.batches import place
from experiments.training.checkpoint import save_checkpoint
from experiments.training.training import Training
from scaler import measure_latency

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
devices = pytest.mark.parametrize("device", DEVICES)


def recipe(device, **changes):
    return TrainConfig(batch_size=16, learning_rate=0.05, device=device, **changes)


def trained(train, build, device, **changes):
    return list(train(build(), config=recipe(device, **changes), device=device))


@devices
def test_two_classes_that_are_easy_to_tell_apart_are_learnt(train, build, device):
    results = trained(train, build, device)
    assert results[-1].accuracy > 0.9
    assert next(results[-1].network.parameters()).device.type == device


@devices
def test_a_training_that_goes_on_from_its_state_ends_as_the_whole_one(train, build, device):
    same = {"layout": "contiguous", "deterministic": True}
    whole = trained(train, build, device, **same)
    config = recipe(device, **same)
    half = train(build(), config=config, device=device)
    state = next(half).state()
    rest = list(train(build(seed=9), config=config, device=device, state=state))
    assert [each.train_loss for each in rest] == [each.train_loss for each in whole[1:]]
    for one, other in zip(
        rest[-1].network.parameters(), whole[-1].network.parameters(), strict=True
    ):
        assert torch.equal(one, other)


@devices
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns_with_weights_in_float32(train, build, device, precision):
    if (device, precision) == ("cpu", "float16"):
        pytest.skip("float16 needs a card's loss scaling")
    result = trained(train, build, device, precision=precision)[-1]
    assert result.accuracy > 0.9
    assert {weight.dtype for weight in result.network.parameters()} == {torch.float32}


@devices
def test_channels_last_is_the_layout_of_the_weights(train, build, device):
    network = trained(train, build, device, layout="channels_last")[-1].network
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.gpu
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_compiled_training_follows_the_uncompiled_one(train, build, accumulation):
    plain, fast = (
        trained(train, build, "cuda", compiled=kind, accumulation=accumulation, precision="float32")
        for kind in ("never", "always")
    )
    for one, other in zip(plain, fast, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=0.05)


@devices
def test_streamed_batches_are_those_of_the_images_in_memory(folder, device):
    held, streamed = (
        load_data(DataConfig(source=str(folder), placement=kind), seed=3).train
        for kind in ("device", "stream")
    )
    chosen = [torch.tensor([3, 0]), torch.tensor([1, 2])]
    wanted = place(held, torch.device("cpu")).batches(chosen)
    found = place(streamed, torch.device(device), workers=0).batches(chosen)
    for (images, labels), (same, own) in zip(found, wanted, strict=True):
        assert (images.device.type, labels.device.type) == (device, device)
        assert torch.equal(images.cpu(), same)
        assert torch.equal(labels.cpu(), own)


@devices
def test_the_weights_of_a_device_come_back_from_an_exported_folder(tiny, data, tmp_path, device):
    training = Training(tiny, data, DataConfig(), recipe(device), epochs=1, seed=0)
    network = next(training.run()).network
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, network, metadata=training.metadata(accuracy=1.0))
    write_exported(checkpoint_model(path), tmp_path / "out")
    exported = load_exported(tmp_path / "out").network.state_dict()
    for name, weight in network.state_dict().items():
        assert torch.equal(exported[name], weight.cpu())


@devices
def test_a_latency_is_of_the_device(tiny, device):
    found = measure_latency(tiny, device=device, budget=0.05, num_classes=2, in_channels=1)
    assert found.conditions.device.startswith(device)
    assert found.seconds > 0


@pytest.mark.gpu
def test_two_trials_share_a_card_and_each_learns(data, tiny):
    """Both hold a card's context at once, each in a process of its own."""
    context = torch.multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        accuracies = pool.starmap(_trained_on_a_card, [(data, tiny, seed) for seed in range(2)])
    assert min(accuracies) > 0.8


def _trained_on_a_card(data, architecture, seed):
    training = Training(architecture, data, DataConfig(), recipe("cuda"), epochs=5, seed=seed)
    return list(training.run())[-1].accuracy
