"""The trained network that the model expects to be the best."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from experiments.samplers.accuracy_model import AccuracyModel
from experiments.samplers.encoding import Encoding
from experiments.samplers.known_cost import CostOf, Key, KnownCost, Network
from experiments.samplers.observations import Observations, informative

FEWEST = 5  # trials that reported; with fewer the best observed one is recommended
FEWEST_AGAIN = 2  # repeated networks; a single one may be one training stored twice
FEWEST_HALVED = 40  # observations from which on the better half may have its own model


def recommend(
    trials: Sequence[FrozenTrial],
    *,
    cost: CostOf | None = None,
    target: float | None = None,
    exponent: float = -0.07,
    network: Network | None = None,
    stopped: bool = False,
) -> list[FrozenTrial]:
    """The finished trials, the one with the highest *expected* reward first.

    With `stopped` also the stopped ones, by their expected accuracy at the end.

    The best observed is often the luckiest, as each has one noisy training. The model of the
    accuracy, fitted to all trials of any sampler and again to their better half, averages the luck
    out. Arguments are those of `make_sampler`.
    """
    known = KnownCost(cost, target=target, exponent=exponent, network=network)
    done = [t for t in trials if t.state == TrialState.COMPLETE and known.knows(t.params)]
    early = [t for t in trials if t.state == TrialState.PRUNED and t.intermediate_values]
    told = [*done, *(t for t in early if known.knows(t.params))]
    observed = informative(Observations.of(told, known))
    certain = len(observed.values) < FEWEST or exact(done, known)
    if stopped:
        done = told
    if certain:
        return sorted(done, key=lambda t: (t.state != TrialState.COMPLETE, -(t.value or 0.0)))
    distributions = {name: d for t in told for name, d in t.distributions.items()}
    # Cost is no column here: for trained networks their own accuracies say more than size.
    plain = KnownCost(network=network)
    for trial in told:
        plain.network(trial.params)
    encoding = Encoding.of(distributions, plain)
    params, factors = [t.params for t in done], np.array([known.factor(t.params) for t in done])
    whole = _fit(observed, encoding)
    expected, _ = whole.rewards(params, factors)
    local = model_of_better_half(whole, observed, encoding)
    if local is None:
        return [done[i] for i in np.argsort(-expected, kind="stable")]
    far = expected < np.median(expected)
    expected = np.where(far, expected, local.rewards(params, factors)[0])
    return [done[i] for i in np.lexsort((-expected, far))]


def exact(done: Sequence[FrozenTrial], known: KnownCost) -> bool:
    """Whether at least two networks finished more than once, each with equal values.

    Then there is no luck, and the best observed is the best. If each network finished once, this is
    not known: what a model does not explain may be noise or a property of the network.
    """
    values: dict[Key, set[float | None]] = {}
    times: Counter[Key] = Counter()
    for trial in done:
        key = known.key(trial.params)
        values.setdefault(key, set()).add(trial.value)
        times[key] += 1
    again = [key for key, count in times.items() if count > 1]
    return len(again) >= FEWEST_AGAIN and all(len(values[key]) == 1 for key in again)


def model_of_better_half(
    whole: AccuracyModel, observed: Observations, encoding: Encoding
) -> AccuracyModel | None:
    """A model of the better half alone, if it clearly predicts that half better than `whole`.

    Bad networks often differ by more than good ones, and in other choices: with them in the data
    the noise among the leaders looks small. Each observation is predicted from the others. The half
    is chosen by expected accuracy, as by the observed one lucky networks would get into it.
    """
    if len(observed.values) < FEWEST_HALVED:
        return None
    expected, _ = whole.rewards(observed.params, observed.factors)
    near = expected >= np.median(expected)
    local = _fit(observed.only(np.flatnonzero(near)), encoding)
    gained = local.process.left_out() - whole.process.left_out()[near]
    doubt = 2 * gained.std(ddof=1) / len(gained) ** 0.5
    return local if gained.mean() > doubt else None


def _fit(observed: Observations, encoding: Encoding) -> AccuracyModel:
    """With `believe_low`: otherwise a network with a low observation could be recommended."""
    return AccuracyModel.fit(observed, encoding, believe_low=True)
