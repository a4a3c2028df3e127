"""Accuracy learnt from trials, the cost known: what reward is to be expected of a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.samplers.encoding import Encoding
from experiments.samplers.gaussian_process import GaussianProcess
from experiments.samplers.observations import Observations

Array = npt.NDArray[np.float64]

MOST = 300  # observations that the model holds; keeps a suggestion's time bounded
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(6)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True)
class AccuracyModel:
    encoding: Encoding
    process: GaussianProcess
    logistic: bool

    @classmethod
    def fit(
        cls,
        observed: Observations,
        encoding: Encoding,
        *,
        running: Sequence[Mapping[str, Any]] = (),
        start: Array | None = None,
        steps: int = 30,
        believe_low: bool = False,
    ) -> "AccuracyModel":
        """The model of what was observed, or of the `MOST` observations that say most.

        Each running network counts as if it had shown what the model expects of it: nothing is
        learnt of its neighbourhood, but there is less left to learn there. `believe_low` as
        `GaussianProcess.fit`'s.
        """
        observed = informative(observed)
        columns = np.array([encoding.encode(params) for params in observed.params])
        values, extra = observed.values, observed.extra_noise
        groups = encoding.groups
        process = GaussianProcess.fit(
            columns,
            values,
            groups=groups,
            extra_noise=extra,
            start=start,
            steps=steps,
            believe_low=believe_low,
        )
        if running:
            asked = np.array([encoding.encode(params) for params in running])
            process = GaussianProcess.fit(
                np.vstack([columns, asked]),
                np.concatenate([values, process.predict(asked)[0]]),
                groups=groups,
                extra_noise=np.concatenate([extra, np.zeros(len(asked))]),
                start=process.theta,
                steps=0,
            )
        return cls(encoding, process, observed.logistic)

    def rewards(self, params: Sequence[Mapping[str, Any]], factors: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the noise-free reward of each network."""
        mean, deviation = self.process.predict(np.array([self.encoding.encode(p) for p in params]))
        if not self.logistic:
            return mean * factors, deviation * factors
        accuracies = 1 / (1 + np.exp(-(mean[:, None] + deviation[:, None] * _NODES)))  # (N, 6)
        expected = accuracies @ _WEIGHTS
        variance = np.square(accuracies - expected[:, None]) @ _WEIGHTS
        return expected * factors, np.sqrt(variance) * factors


def informative(observed: Observations) -> Observations:
    """All; or the better half of `MOST` by what was seen, and the others evenly over the rest."""
    if len(observed.values) <= MOST:
        return observed
    seen = observed.values
    if observed.logistic:
        seen = 1 / (1 + np.exp(-seen))
    order = np.argsort(-seen * observed.factors, kind="stable")
    best, rest = order[: MOST // 2], order[MOST // 2 :]
    evenly = rest[np.linspace(0, len(rest) - 1, MOST - len(best)).astype(int)]
    return observed.only(np.sort(np.concatenate([best, evenly])))
