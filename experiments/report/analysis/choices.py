"""What each choice of the space is worth by itself: means over all that it went with."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

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
