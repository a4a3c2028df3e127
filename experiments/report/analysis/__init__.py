"""What trials tell, as pandas frames: functions of the frames that `load_trials` gives, or of runs.

None of them writes anything.
"""

from experiments.report.analysis.choices import marginal_effects, searched_choices
from experiments.report.analysis.comparing import compare_runs
from experiments.report.analysis.costs import outcome_costs
from experiments.report.analysis.epochs import at_common_epoch
from experiments.report.analysis.importance import parameter_importance
from experiments.report.analysis.regret import search_regret
from experiments.report.analysis.seeds import seed_noise
from experiments.report.analysis.surrogate import surrogate_fit, surrogate_score
from experiments.report.pareto import pareto_front

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
