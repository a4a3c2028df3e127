import pytest

from experiments.config.recipe import TrainConfig
from experiments.training.optimizer import epoch_rates


def all_rates(config: TrainConfig, *, epochs: int, steps: int) -> list[float]:
    return [
        rate
        for epoch in range(1, epochs + 1)
        for rate in epoch_rates(config, epoch=epoch, epochs=epochs, steps_per_epoch=steps)
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


def steps_of(
    schedule: dict[str, object], *, epochs: int, steps: int, **seen: object
) -> list[float]:
    config = TrainConfig(learning_rate=1.0, warmup_epochs=0, schedule=schedule)
    return all_rates(config, epochs=epochs, steps=steps, **seen)


def test_exponential_falls_in_steps_of_whole_intervals():
    found = steps_of({"kind": "exponential", "factor": 0.97, "epochs": 2.4}, epochs=5, steps=10)
    assert found[:24] == [1.0] * 24
    assert found[24:48] == pytest.approx([0.97] * 24)
    assert found[48:] == pytest.approx([0.97**2] * 2)


def test_steps_fall_at_their_shares_of_the_epochs():
    found = steps_of({"kind": "steps", "at": [1 / 3, 2 / 3], "factor": 0.1}, epochs=3, steps=2)
    assert found == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize(
    ("accuracies", "drops"),
    [
        ([], 0),
        ([0.1, 0.2, 0.3], 0),
        ([0.3, 0.2, 0.2], 1),  # two epochs without a rise
        ([0.3, 0.2, 0.2, 0.4, 0.4], 1),
        ([0.3, 0.2, 0.2, 0.2, 0.2], 2),
        ([0.3] * 20, 3),  # at most `times`
    ],
)
def test_plateaus_are_counted_by_epochs_without_a_higher_accuracy(accuracies, drops):
    schedule = {"kind": "plateau", "factor": 0.1, "patience": 2, "times": 3}
    config = TrainConfig(learning_rate=1.0, warmup_epochs=0, schedule=schedule)
    found = epoch_rates(
        config, epoch=len(accuracies) + 1, epochs=30, steps_per_epoch=2, accuracies=accuracies
    )
    assert found == pytest.approx([0.1**drops] * 2)


def test_the_rate_follows_the_batch_where_the_recipe_says_for_which_it_holds():
    config = TrainConfig(
        learning_rate=0.256, learning_rate_batch=4096, batch_size=256, warmup_epochs=0
    )
    assert all_rates(config, epochs=1, steps=1) == pytest.approx([0.016])
