"""What trials tell, as pandas frames: functions of the frames that `load_trials` gives, or of runs.

None of them writes anything.
"""

from experiments.report.analysis.choices import (
    marginal_effects,
    parameter_importance,
    searched_choices,
)
from experiments.report.analysis.comparing import compare_runs
from experiments.report.analysis.surrogate import surrogate_fit, surrogate_score
from experiments.report.analysis.trials import (
    at_common_epoch,
    outcome_costs,
    pareto_front,
    search_regret,
    seed_noise,
)

__all__ = [
    "at_common_epoch",
    "compare_runs",
    "marginal_effects",
    "outcome_costs",
    "parameter_importance",
    "pareto_front",
    "search_regret",
    "searched_choices",
    "seed_noise",
    "surrogate_fit",
    "surrogate_score",
]
