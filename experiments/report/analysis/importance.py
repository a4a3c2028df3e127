"""How much of the outcome each parameter of the space explains, by Optuna's evaluators."""

from collections.abc import Sequence
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

from experiments.report.analysis.epochs import at_common_epoch
from experiments.store.snapshot import reading
from experiments.store.trials import Runs, load_curves, load_trials, named_runs
from search_spaces.records import choose

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
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        create_trial(
            params=stored[number].params, distributions=stored[number].distributions, value=value
        )
        for number, value in values.items()
    )
    return get_param_importances(study, evaluator=evaluator)
