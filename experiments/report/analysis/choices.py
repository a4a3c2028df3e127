"""What the choices of a space are worth: each value's effect, each parameter's importance."""

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    MeanDecreaseImpurityImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.trial import FrozenTrial, create_trial

from experiments.report.analysis.trials import at_common_epoch
from experiments.store.store import reading
from experiments.store.trials import Runs, load_curves, load_trials, named_runs
from search_spaces.records import choose

_SIZES = ("stages.", "stem.", "head.", "training.")
_EFFECTS = {
    "choice": "string",
    "value": "string",
    "trials": "Int64",
    "mean": "float64",
    "low": "float64",
    "high": "float64",
    "effect": "float64",
    "p": "float64",
}


def searched_choices(trials: pd.DataFrame) -> list[str]:
    """The columns of the architecture and the training that differ between trials."""
    sizes = [n for n in trials if str(n).startswith(_SIZES) or n == "resolution"]
    return [str(name) for name in sizes if trials[name].nunique(dropna=False) > 1]


def columns_of(parameters: Iterable[str], columns: Iterable[str]) -> list[str]:
    """Those of `columns` of trials that hold what a space's parameters choose, in order.

    A parameter below a choice among kinds names the option, as `head.fpn.channels`, and its column
    does not: `head.channels`. The choice itself, `head`, is in `head.kind`.
    """
    known = set(columns)
    found = (_column(parameter.split("."), known) for parameter in parameters)
    return list(dict.fromkeys(name for name in found if name))


def _column(parts: list[str], columns: set[str]) -> str | None:
    """The longest name in `columns` of these parts with some of the inner ones left out."""
    for count in range(len(parts), 0, -1):
        for inner in combinations(parts[1:-1], max(0, count - 2)):
            name = ".".join([parts[0], *inner, *parts[1:][-1:]])
            for own in (name, f"{name}.kind"):
                if own in columns:
                    return own
    return None


def marginal_effects(
    trials: pd.DataFrame, *, of: str = "reward", choices: Sequence[str] | None = None
) -> pd.DataFrame:
    """A row a value of each choice: mean of `of` with its 95 % interval, effect, p of the choice.

    `effect` is the mean less the mean of all; the interval is Student's, missing for one trial; `p`
    is that of a one-way analysis of variance over the choice's values, not corrected for how many
    choices are looked at. A search tries good values together, so that a value's mean also holds
    what it went with: read an effect as a hint, not as a cause. Trials without a value are left
    out; give trials of like training, as `at_common_epoch` makes them.
    """
    scored = trials.dropna(subset=[of])
    names = searched_choices(scored) if choices is None else choices
    rows: list[dict[str, Any]] = []
    overall = scored[of].mean()
    for name in names:
        groups = [(v, g[of]) for v, g in scored.groupby(name, observed=True) if len(g)]
        p = _anova([values.to_numpy() for _, values in groups])
        for value, values in groups:
            low, high = _interval(values)
            rows.append(
                {
                    "choice": name,
                    "value": f"{value:g}" if isinstance(value, float) else str(value),
                    "trials": len(values),
                    "mean": values.mean(),
                    "low": low,
                    "high": high,
                    "effect": values.mean() - overall,
                    "p": p,
                }
            )
    return pd.DataFrame(rows, columns=list(_EFFECTS)).astype(_EFFECTS)


def _interval(values: "pd.Series[float]") -> tuple[float, float]:
    from scipy import stats  # takes a second to load

    if len(values) < 2:
        return math.nan, math.nan
    half = stats.t.ppf(0.975, len(values) - 1) * values.sem()
    return float(values.mean() - half), float(values.mean() + half)


def _anova(groups: list[Any]) -> float:
    from scipy import stats

    groups = [group for group in groups if len(group) > 1]
    if len(groups) < 2 or all(group.std() == 0 for group in groups):
        return math.nan
    return float(stats.f_oneway(*groups).pvalue)


MOST = 1_000  # trials that an evaluator sees; of more, so many taken evenly
FEWEST = 4
_COLUMNS = {
    "run": "string",
    "of": "string",
    "evaluator": "string",
    "epoch": "Int64",
    "trials": "Int64",
    "parameter": "string",
    "importance": "float64",
}


def _evaluators() -> dict[str, Any]:
    return {
        "fanova": lambda: FanovaImportanceEvaluator(seed=0),
        "mean_decrease_impurity": lambda: MeanDecreaseImpurityImportanceEvaluator(seed=0),
        "ped_anova": PedAnovaImportanceEvaluator,
    }


def parameter_importance(
    run: Runs,
    *,
    of: str | Sequence[str] = ("reward", "accuracy"),
    evaluator: str = "fanova",
    epoch: int | None = None,
) -> pd.DataFrame:
    """A row a parameter of each run's search and figure of `of`; importances add up to 1.

    The trials stand as they did after `epoch`; None: the latest that half of them reached (see
    `at_common_epoch`). Parameters that only some trials have are left out. No rows where fewer than
    4 trials, or no difference, are there. `evaluator`: fanova (Hutter et al. 2014),
    mean_decrease_impurity, or ped_anova (Watanabe et al. 2023), which looks at the best trials.
    Raises InputError for an unknown one.
    """
    make = choose(_evaluators(), evaluator, what="evaluator")
    figures = [of] if isinstance(of, str) else list(of)
    rows: list[dict[str, Any]] = []
    for name, folder in named_runs(run):
        with reading(folder) as snapshot:
            stored = {trial.number: trial for trial in snapshot.trials("search")}
        trials = load_trials(folder.path, study="search")
        curves = load_curves(folder.path, study="search")
        shown = at_common_epoch(trials, curves, epoch=epoch)
        if len(shown) > MOST:
            shown = shown.iloc[np.linspace(0, len(shown) - 1, MOST).astype(int)]
        for figure in figures:
            values = {int(n): float(v) for n, v in zip(shown["number"], shown[figure], strict=True)}
            values = {n: v for n, v in values.items() if np.isfinite(v) and stored[n].params}
            about = {"run": name, "of": figure, "evaluator": evaluator, "trials": len(values)}
            about["epoch"] = int(shown["epochs"].iloc[0]) if len(shown) else None
            found = _importances(stored, values, make())
            rows += [{**about, "parameter": p, "importance": i} for p, i in found.items()]
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


def _importances(
    stored: dict[int, FrozenTrial], values: dict[int, float], evaluator: BaseImportanceEvaluator
) -> dict[str, float]:
    if len(values) < FEWEST or len(set(values.values())) == 1:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of each study that it makes
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        create_trial(
            params=stored[number].params, distributions=stored[number].distributions, value=value
        )
        for number, value in values.items()
    )
    return get_param_importances(study, evaluator=evaluator)
