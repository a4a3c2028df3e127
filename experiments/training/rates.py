"""The learning rate at each step."""

import math
from collections.abc import Sequence

from experiments.config.recipe import Cosine, Exponential, Plateau, Steps, TrainConfig


def epoch_rates(
    config: TrainConfig,
    *,
    epoch: int,
    epochs: int,
    steps_per_epoch: int,
    accuracies: Sequence[float] = (),
) -> list[float]:
    """The rate of each step of `epoch` (from 1) of `epochs`.

    Linear up to the peak, then the recipe's schedule. The warm-up takes at most half of the
    training, so that a very short one has a decay too. `accuracies`, of the epochs before, are
    what a plateau is seen by.
    """
    steps = epochs * steps_per_epoch
    warmup = min(config.warmup_epochs * steps_per_epoch, steps / 2)
    peak = config.peak_rate
    first = (epoch - 1) * steps_per_epoch
    return [
        peak * (step + 1) / warmup
        if step + 1 < warmup
        else peak * _share(config, step, warmup, steps, steps_per_epoch, accuracies)
        for step in range(first, first + steps_per_epoch)
    ]


def _share(
    config: TrainConfig,
    step: int,
    warmup: float,
    steps: int,
    steps_per_epoch: int,
    accuracies: Sequence[float],
) -> float:
    """Of the peak, after the warm-up."""
    schedule = config.schedule
    if isinstance(schedule, Cosine):
        progress = max(0.0, step - warmup) / (steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * progress))
    if isinstance(schedule, Exponential):
        # Counted from the first step, the warm-up included, as TensorFlow's does. The small
        # number keeps a step that begins an interval in it (2.4 * 5 is 12, or a little less).
        return schedule.factor ** int(step / (schedule.epochs * steps_per_epoch) + 1e-9)
    if isinstance(schedule, Steps):
        return schedule.factor ** sum(step >= at * steps - 1e-9 for at in schedule.at)
    return schedule.factor ** _plateaus(schedule, accuracies)


def _plateaus(schedule: Plateau, accuracies: Sequence[float]) -> int:
    """How often the accuracy had not risen for `patience` epochs, at most `times`."""
    found, best, waited = 0, -math.inf, 0
    for accuracy in accuracies:
        best, waited = (accuracy, 0) if accuracy > best else (best, waited + 1)
        if waited == schedule.patience:
            found, waited = found + 1, 0
    return min(found, schedule.times)
