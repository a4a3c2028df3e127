"""Every setting once, in order: a grid over define-by-run spaces, conditional ones too."""

from collections.abc import Sequence
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial

from experiments.samplers.proposing import Params, ProposingSampler
from experiments.samplers.values import grid


class GridSampler(ProposingSampler):
    """Counts like an odometer: the last parameter first, and what follows a change starts anew.

    It goes on from the latest trial, whatever became of it; after the last setting
    `study.optimize` stops. Ranges need steps.
    """

    def propose(self, study: Study, others: Sequence[FrozenTrial]) -> Params:
        whole = [t for t in others if t.params]
        if not whole:
            return {}
        following = _following(whole[-1])
        if following is None:
            _stop(study)
            return {}
        return following

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """The proposal's value, else the first."""
        if param_name in self._proposals.get(trial.number, {}):
            return super().sample_independent(study, trial, param_name, param_distribution)
        return grid(param_distribution, param_name)[0]


def _following(trial: FrozenTrial) -> dict[str, Any] | None:
    """The setting after a trial's: the parameters up to the one that moves on; None at the end."""
    names = list(trial.params)
    for at in reversed(range(len(names))):
        name = names[at]
        values = grid(trial.distributions[name], name)
        place = values.index(trial.params[name])
        if place + 1 < len(values):
            return {**{n: trial.params[n] for n in names[:at]}, name: values[place + 1]}
    return None


def _stop(study: Study) -> None:
    if study._thread_local.in_optimize_loop:  # else there is no loop to stop
        study.stop()
