"""The accuracy of a larger member of a family, forecast from the smaller trained ones.

On the scale y = log(a / (1 - a)) of accuracy a, a family is about a line in x = log2(FLOPs):
y = level + slope * x + noise, noise of variance s^2 + c^2 / (n a (1 - a)) with n images to test on.
Two or three members give the level, but hardly the slope; so the slope has a prior. Its mean and
deviation, s and c are those of `Prior`; benchmarks/forecast.py counts how often the intervals hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

IMAGES = 1_000  # to test on, where an own evaluation does not say how many there were
_WIDTH = 1.645  # standard deviations each way: 90 % of a normal distribution


@dataclass(frozen=True)
class Prior:
    """Knowledge from earlier families, on the scale of log(a / (1 - a))."""

    slope: float  # for twice the FLOPs
    slope_deviation: float
    noise: float  # s, of one training
    sampling: float  # c, of the images


# Set before the benchmark's families were known. A prior fitted to so few of them gives narrower
# intervals, which hold less often.
DEFAULT = Prior(slope=0.1, slope_deviation=0.1, noise=0.06, sampling=1.0)


@dataclass(frozen=True)
class Forecast:
    """An accuracy in [0, 1] with its 90 % interval."""

    accuracy: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.accuracy:.3f} expected, {self.low:.3f} to {self.high:.3f}"


def forecast(
    trained: Sequence[tuple[float, float]],
    flops: float,
    *,
    images: int | None = None,
    prior: Prior = DEFAULT,
) -> Forecast:
    """The accuracy at `flops`, from (FLOPs, accuracy) of at least one trained member."""
    mean, deviation = predict_logit(trained, flops, images=images, prior=prior)
    ends = (mean, mean - _WIDTH * deviation, mean + _WIDTH * deviation)
    return Forecast(*(float(expit(end)) for end in ends))


def predict_logit(
    trained: Sequence[tuple[float, float]],
    flops: float,
    *,
    images: int | None,
    prior: Prior,
) -> tuple[float, float]:
    """Mean and standard deviation of log(a / (1 - a)) of one more training."""
    x = np.log2([cost / flops for cost, _ in trained])
    y = np.array([logit_of(accuracy, images) for _, accuracy in trained])
    rows = np.stack([np.ones_like(x), x], axis=1)  # (N, 2): the level at `flops`, the slope
    weights = 1 / np.array([_variance(value, images, prior) for value in y])
    known = 1 / prior.slope_deviation**2  # of the slope; the level has no prior
    covariance = np.linalg.inv(rows.T @ (weights[:, None] * rows) + np.diag([1e-9, known]))
    level, _ = covariance @ (rows.T @ (weights * y) + np.array([0.0, known * prior.slope]))
    variance = covariance[0, 0] + _variance(float(level), images, prior)
    return float(level), float(np.sqrt(variance))


def logit_of(accuracy: float, images: int | None) -> float:
    """log(a / (1 - a)); an accuracy of 0 or 1 counts as half an image away from it."""
    half = 0.5 / (images or IMAGES)
    return float(logit(min(max(accuracy, half), 1 - half)))


def _variance(value: float, images: int | None, prior: Prior) -> float:
    accuracy = float(expit(value))
    sampling = prior.sampling**2 / ((images or IMAGES) * accuracy * (1 - accuracy))
    return prior.noise**2 + sampling
