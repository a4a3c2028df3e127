"""How well the search's model of the accuracy foretells trials that it has not seen."""

import numpy as np
import pandas as pd
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from experiments.config.run_folder import RunFolder
from experiments.samplers.accuracy_model import AccuracyModel
from experiments.samplers.encoding import Encoding
from experiments.samplers.known_cost import KnownCost
from experiments.samplers.observations import Observations
from experiments.store.store import reading
from experiments.store.trials import Runs, named_runs

FEWEST = 5  # finished trials to learn from
MOST = 400  # trials that are looked at; of more, so many taken evenly
_COLUMNS = {
    "run": "string",
    "number": "Int64",
    "reward": "float64",
    "predicted": "float64",
    "deviation": "float64",
}


def surrogate_fit(run: Runs, *, folds: int = 5, seed: int = 0) -> pd.DataFrame:
    """A row a finished trial: its reward, and what the cost-aware model says that never saw it.

    Cross-validation in `folds` parts dealt out by `seed`; the model is given every other trial,
    stopped ones too, and each network's cost; of more than 400 trials it sees so many, taken
    evenly. `deviation` is of the noise-free reward. The model is the `cost_aware` sampler's,
    whichever sampler the run used. No rows where fewer than 5 finished trials would be left to
    learn from.
    """
    frames = [_fitted(name, folder, folds, seed) for name, folder in named_runs(run)]
    return pd.concat(frames, ignore_index=True)


def surrogate_score(fit: pd.DataFrame) -> pd.DataFrame:
    """A row a run of what `surrogate_fit` gives: n, R^2, rank correlation, RMSE.

    R^2 is 1 for a perfect forecast and 0 for one that always says the mean; `spearman` says whether
    the order is right, which is what a search needs.
    """
    rows = []
    for name, part in fit.groupby("run", sort=False):
        error = part["reward"] - part["predicted"]
        total = float(((part["reward"] - part["reward"].mean()) ** 2).sum())
        rows.append(
            {
                "run": name,
                "trials": len(part),
                "r2": 1 - float((error**2).sum()) / total if total else np.nan,
                "spearman": part["reward"].rank().corr(part["predicted"].rank()),
                "rmse": float(np.sqrt((error**2).mean())),
            }
        )
    kinds = {"run": "string", "trials": "Int64"}
    kinds |= dict.fromkeys(("r2", "spearman", "rmse"), "float64")
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def _fitted(name: str, folder: RunFolder, folds: int, seed: int) -> pd.DataFrame:
    with reading(folder) as snapshot:
        stored = [trial for trial in snapshot.trials("search") if trial.params]
    if len(stored) > MOST:
        stored = [stored[i] for i in np.linspace(0, len(stored) - 1, MOST).astype(int)]
    done = [trial for trial in stored if trial.state == TrialState.COMPLETE]
    rows = []
    if len(done) - -(-len(done) // folds) >= FEWEST:
        place = np.random.default_rng(seed).permutation(len(done)) % folds
        for fold in range(folds):
            asked = [trial for trial, at in zip(done, place, strict=True) if at == fold]
            rows += _predicted(name, folder, stored, asked)
    frame = pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)
    return frame.sort_values("number", ignore_index=True)


def _predicted(
    name: str, folder: RunFolder, stored: list[FrozenTrial], asked: list[FrozenTrial]
) -> list[dict[str, object]]:
    hidden = {trial.number for trial in asked}
    section = folder.config.search
    costs = {frozenset(t.params.items()): t.user_attrs[_cost_of(t, section.cost)] for t in stored}
    known = KnownCost(costs, target=section.known_target, exponent=section.known_exponent)
    observed = Observations.of([t for t in stored if t.number not in hidden], known)
    distributions: dict[str, BaseDistribution] = {}
    for trial in stored:
        distributions |= trial.distributions
    factors = np.array([known.factor(trial.params) for trial in asked])
    tried = known.range(np.array([known.of(params) for params in observed.params]))
    model = AccuracyModel.fit(observed, Encoding.of(distributions, known, tried))
    mean, deviation = model.rewards([trial.params for trial in asked], factors)
    return [
        {"run": name, "number": t.number, "reward": t.value, "predicted": m, "deviation": d}
        for t, m, d in zip(asked, mean, deviation, strict=True)
    ]


def _cost_of(trial: FrozenTrial, cost: str) -> str:
    """Runs of older versions kept no `cost`."""
    return "cost" if trial.user_attrs.get("cost") is not None else cost
