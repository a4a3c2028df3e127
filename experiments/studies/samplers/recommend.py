"""Which of the trained networks the model believes best."""

from collections.abc import Sequence

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from experiments.studies.samplers.accuracy_model import AccuracyModel
from experiments.studies.samplers.encoding import Encoding
from experiments.studies.samplers.known_cost import Cost, KnownCost, Network
from experiments.studies.samplers.observations import Observations

FEWEST = 5  # finished trials below which the best observed is the best guess


def recommend(
    trials: Sequence[FrozenTrial],
    *,
    cost: Cost | None = None,
    target: float | None = None,
    exponent: float = -0.07,
    network: Network | None = None,
) -> list[FrozenTrial]:
    """The finished trials, the one with the highest *expected* reward first.

    The best observed is often the luckiest: one noisy training each. The model of the accuracy,
    fitted to all trials of whichever sampler, averages the luck away. Arguments as
    `make_sampler`'s.
    """
    known = KnownCost(cost, target=target, exponent=exponent, network=network)
    done = [t for t in trials if t.state == TrialState.COMPLETE and known.knows(t.params)]
    told = [*done, *(t for t in trials if t.state == TrialState.PRUNED)]
    observed = Observations.of(told, known)
    if len(observed.values) < FEWEST:
        return sorted(done, key=lambda t: -(t.value or 0.0))
    distributions = {name: d for t in told for name, d in t.distributions.items()}
    # Size is no column here: between trained networks their own accuracies say more than it does.
    plain = KnownCost(network=network)
    for trial in told:
        plain.network(trial.params)
    # A search does not come back to a network that it doubts; what is recommended is one of them.
    model = AccuracyModel.fit(observed, Encoding.of(distributions, plain), believe_low=True)
    factors = np.array([known.factor(t.params) for t in done])
    expected, _ = model.rewards([t.params for t in done], factors)
    return [done[i] for i in np.argsort(-expected, kind="stable")]
