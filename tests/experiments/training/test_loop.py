import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from experiments.config.recipe import TrainConfig
from experiments.data.images import Split
from experiments.training.checkpoint import read_state, write_state
from experiments.training.judging import evaluate
from experiments.training.loop import TrainingDiverged
from search_spaces.records import InputError


def curve(results) -> list[tuple[float, float]]:
    return [(result.train_loss, result.accuracy) for result in results]


def with_training_images(data, count: int):
    return dataclasses.replace(data, train=data.train.take(np.arange(count)))


def test_separable_problem_is_learnt(build, train, data):
    network = build()
    results = list(train(network, epochs=8))
    assert [result.epoch for result in results] == list(range(1, 9))
    assert results[-1].accuracy > 0.95
    assert results[-1].train_loss < results[0].train_loss
    assert evaluate(network, data.test, data=data, resolution=8) > 0.95


def test_shuffled_labels_are_not_learnt(build, train, data):
    labels = np.random.RandomState(0).permutation(data.train.labels)
    shuffled = dataclasses.replace(data, train=Split(data.train.images, labels))
    assert list(train(build(), data=shuffled, epochs=8))[-1].accuracy < 0.8


@pytest.mark.parametrize("resolution", [6, 12])
def test_network_sees_the_resolution_asked_for(build, train, resolution):
    seen = set()
    network = build()
    network.register_forward_pre_hook(lambda _, inputs: seen.add(tuple(inputs[0].shape[1:])))
    list(train(network, resolution=resolution, epochs=1))
    assert seen == {(1, resolution, resolution)}


def test_same_seed_gives_the_same_curve_after_another_training(build, train):
    first = curve(train(build(), seed=4, flip=True))
    list(train(build(seed=1), seed=5, resolution=12))
    torch.rand(17)
    assert curve(train(build(), seed=4, flip=True)) == first
    assert curve(train(build(), seed=6, flip=True)) != first


def test_same_seed_gives_the_same_curve_after_a_failed_training(build, train):
    first = curve(train(build()))
    with pytest.raises(TrainingDiverged):
        list(
            train(
                build(),
                config=TrainConfig(batch_size=16, learning_rate=1e30, layout="channels_last"),
            )
        )
    assert curve(train(build())) == first


def test_curve_does_not_depend_on_what_runs_between_two_epochs(build, train):
    undisturbed = curve(train(build()))
    disturbed = []
    for result in train(build()):
        disturbed.append(result)
        torch.rand(5)
        next(train(build(seed=2), seed=9))
    assert curve(disturbed) == undisturbed


@pytest.mark.parametrize("after", [1, 3])
def test_a_training_that_goes_on_from_its_state_continues_the_curve_bit_for_bit(
    build, train, tmp_path, after
):
    network = build()
    whole = list(train(network, epochs=5, flip=True))
    for result in train(build(), epochs=5, flip=True):
        if result.epoch == after:
            write_state(tmp_path / "training.safetensors", result.state())
            break
    again = build(seed=9)  # other weights, which the state replaces
    state = read_state(tmp_path / "training.safetensors")
    rest = list(train(again, epochs=5, flip=True, state=state))
    assert [result.epoch for result in rest] == list(range(after + 1, 6))
    assert curve(rest) == curve(whole[after:])
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


EVERYTHING = {
    "ema_decay": 0.9,
    "clip_norm": 1.0,
    "accumulation": 2,
    "optimizer": "rmsprop",
    "learning_rate": 0.005,
    "schedule": {"kind": "plateau", "patience": 1},
}


def test_averages_plateaus_and_squares_go_on_bit_for_bit_too(build, train, tmp_path):
    config = TrainConfig(batch_size=16, layout="channels_last", **EVERYTHING)
    whole = list(train(build(), config=config, epochs=6))
    for result in train(build(), config=config, epochs=6):
        if result.epoch == 3:
            write_state(tmp_path / "training.safetensors", result.state())
            break
    state = read_state(tmp_path / "training.safetensors")
    rest = list(train(build(seed=9), config=config, epochs=6, state=state))
    assert curve(rest) == curve(whole[3:])
    for name, tensor in whole[-1].network.state_dict().items():
        assert torch.equal(rest[-1].network.state_dict()[name], tensor)


def test_with_an_average_it_is_the_average_that_is_evaluated(build, train, data):
    network = build()
    config = TrainConfig(batch_size=16, layout="channels_last", ema_decay=0.99)
    (result,) = list(train(network, config=config, epochs=1))
    assert result.network is not network
    assert evaluate(result.network, data.validation, data=data, resolution=8) == result.accuracy
    assert not torch.equal(result.network[0].weight, network[0].weight)


def test_accumulated_parts_add_up_to_the_batch(train):
    whole = TrainConfig(batch_size=16, layout="channels_last")
    parts = whole.replace(accumulation=4)
    first, second = (list(train(linear(), config=c, epochs=2)) for c in (whole, parts))
    assert [r.train_loss for r in second] == pytest.approx([r.train_loss for r in first], rel=1e-5)
    assert second[0].parts == 4


def test_clipping_holds_the_whole_gradients_norm(build, train, monkeypatch):
    norms = []
    step = torch.optim.SGD.step

    def watched(self, *args):
        gradients = [w.grad for group in self.param_groups for w in group["params"]]
        norms.append(torch.cat([g.flatten() for g in gradients]).norm().item())
        return step(self, *args)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    list(train(build(), config=TrainConfig(batch_size=16, clip_norm=0.01), epochs=1))
    assert max(norms) <= 0.01 * (1 + 1e-4)
    assert min(norms) > 0


def test_frozen_batch_norm_keeps_its_statistics(build, train):
    network = build()
    network[1].requires_grad_(False)
    before = network[1].running_mean.clone()
    list(train(network, epochs=1))
    assert torch.equal(network[1].running_mean, before)
    assert network[0].weight.grad is not None


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_sixteen_bits_learn_the_separable_problem_too(build, train, precision):
    config = TrainConfig(batch_size=16, learning_rate=0.05, precision=precision)
    assert list(train(build(), config=config, epochs=8))[-1].accuracy > 0.95


@pytest.mark.slow
def test_a_compiled_network_learns_the_same(train):
    plain = TrainConfig(batch_size=16, layout="contiguous")
    first, second = (
        list(train(linear(), config=c, epochs=2)) for c in (plain, plain.replace(compiled="always"))
    )
    assert [r.train_loss for r in second] == pytest.approx([r.train_loss for r in first], rel=1e-4)


def test_a_loss_far_above_guessing_ends_the_training_within_the_epoch(build, train):
    network = build()
    with torch.no_grad():
        network[6].weight.mul_(1e6)
    config = TrainConfig(batch_size=2, learning_rate=1e-9)
    with pytest.raises(TrainingDiverged, match=r"loss is .* in epoch 1"):
        next(train(network, config=config, epochs=1))


class Crowded(nn.Module):
    """Runs out of memory where it sees more than `most` images in training."""

    def __init__(self, network, most):
        super().__init__()
        self.network, self.most, self.sizes = network, most, []

    def forward(self, images):
        if self.training:
            if len(images) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            self.sizes.append(len(images))
        return self.network(images)


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2))


def test_out_of_memory_cuts_the_batch_into_parts_that_add_up_to_it(train):
    crowded = Crowded(linear(), most=5)
    results = list(train(crowded, epochs=2))
    assert {result.parts for result in results} == {4}
    assert set(crowded.sizes) == {4}
    free = list(train(linear(), epochs=2))
    assert [r.train_loss for r in results] == pytest.approx([r.train_loss for r in free], rel=1e-5)
    assert {result.parts for result in free} == {1}


def test_where_not_even_two_images_fit_the_training_ends_out_of_memory(train):
    with pytest.raises(torch.OutOfMemoryError):
        list(train(Crowded(linear(), most=1)))


def test_global_settings_are_left_as_they_were(build, train, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)

    def settings():
        cudnn = torch.backends.cudnn
        return (
            *(cudnn.benchmark, cudnn.deterministic, cudnn.enabled),
            *(torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()),
            torch.are_deterministic_algorithms_enabled(),
        )

    before = settings()
    for _ in train(build()):
        assert settings() == before
    assert settings() == before


def test_infinite_loss_is_told_with_epoch_and_rate(build, train):
    config = TrainConfig(batch_size=16, learning_rate=1e30, layout="channels_last")
    with pytest.raises(TrainingDiverged, match=r"loss is (nan|inf) in epoch 1 .*1e\+30.*lower"):
        list(train(build(), config=config, epochs=2))


@pytest.mark.parametrize(("images", "batches"), [(33, [16, 16]), (16, [16]), (7, [7]), (2, [2])])
def test_last_partial_batch_is_dropped_unless_it_is_the_only_one(
    build, train, data, images, batches
):
    network, sizes = build(), []
    network.register_forward_pre_hook(
        lambda module, inputs: sizes.append(len(inputs[0])) if module.training else None
    )
    list(train(network, data=with_training_images(data, images), epochs=1))
    assert sizes == batches


def test_every_image_is_seen_once_an_epoch(build, train, data):
    network, seen = build(), []
    network.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].clone()) if module.training else None
    )
    list(train(network, data=with_training_images(data, 96), epochs=2, crop_padding=0))
    first, second = torch.cat(seen).flatten(1).split(96)
    assert len(first.unique(dim=0)) == 96
    assert torch.equal(first.unique(dim=0), second.unique(dim=0))
    assert not torch.equal(first, second)  # in another order


def test_one_training_image_is_refused(build, train, data):
    with pytest.raises(InputError, match="at least 2 training images, but there is 1"):
        next(train(build(), data=with_training_images(data, 1)))


def test_evaluation_counts_right_answers_and_keeps_modes(data):
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.frozen, self.answer = nn.BatchNorm2d(1).eval(), nn.Parameter(torch.eye(2)[1])

        def forward(self, images):
            assert not self.training
            return self.answer.expand(len(images), 2)

    network = Constant()
    part = data.test.take(np.flatnonzero(data.test.labels == 1)[:3])
    part = Split(np.repeat(part.images, 100, axis=0), np.array([1, 1, 0] * 100))
    assert evaluate(network, part, data=data, resolution=8) == pytest.approx(2 / 3)
    assert (network.training, network.frozen.training) == (True, False)


def test_batch_norm_statistics_do_not_change_in_evaluation(build, data):
    network = build()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    evaluate(network, data.test, data=data, resolution=8)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
