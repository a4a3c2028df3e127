"""A candidate before its trial, and what came of it: the data that the engine passes around."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from scaler.cost import Cost
from search_spaces.architecture import Architecture

STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "fail": TrialState.FAIL,
}


@dataclass(frozen=True)
class Candidate:
    """A network to be trained. `suggestion` is its number among those handed out."""

    architecture: Architecture
    cost: Cost
    seed: int
    suggestion: int
    reward_factor: float = 1.0  # (FLOPS/T)^w, known before the trial
    attributes: dict[str, Any] = field(default_factory=dict)  # alpha, beta, gamma; member; ...
    params: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)  # settings over the config's `train`

    @property
    def identity(self) -> str:
        return identity(self.architecture.key, self.training)


@dataclass(frozen=True)
class Known:
    """Parameters of a trial that was made elsewhere; `origin` says where, `accuracy` what it had.

    They may be a part of the parameters; the sampler then chooses the others.
    """

    origin: str
    params: dict[str, Any]
    accuracy: float | None


def identity(key: str, training: dict[str, Any]) -> str:
    """Equal networks trained in the same way have the same."""
    return f"{key} {json.dumps(training, sort_keys=True)}" if training else key


@dataclass(frozen=True)
class Outcome:
    """How a trial ended. `curve` is the accuracy after each epoch; `curves` further figures.

    `at` are the epochs that were told, where those are not 1, 2, 3, ...
    """

    state: Literal["complete", "pruned", "fail"]
    accuracy: float | None
    curve: tuple[float, ...] = ()
    at: tuple[int, ...] | None = None
    curves: dict[str, list[float | None]] = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0
    host: str = ""
    device: str = ""
    extra: dict[str, float] = field(default_factory=dict)  # further figures of the evaluation


def freeze(
    candidate: Candidate, outcome: Outcome, *, attributes: dict[str, Any] | None = None
) -> FrozenTrial:
    """The trial as it goes into the study, whole: one write. `attributes` are the run's own."""
    value = None
    if outcome.accuracy is not None and outcome.state != "fail":
        value = outcome.accuracy * candidate.reward_factor
    at = outcome.at or tuple(range(1, len(outcome.curve) + 1))
    own = {
        **(attributes or {}),
        **outcome.extra,
        **candidate.attributes,
        "reason": outcome.reason,
        "accuracy": outcome.accuracy,
        "reward": value,
        "flops": candidate.cost.flops,
        "params": candidate.cost.params,
        "activations": candidate.cost.activations,
        "epochs": at[-1] if at else 0,
        "curve": list(outcome.curve),
        "curves": outcome.curves,
        "seconds": outcome.seconds,
        "seed": candidate.seed,
        "suggestion": candidate.suggestion,
        "host": outcome.host,
        "device": outcome.device,
        "key": candidate.architecture.key,
        "architecture": candidate.architecture.model_dump_json(exclude_defaults=True),
    }
    if candidate.training:
        own["training"] = candidate.training
    rewards = {
        epoch: accuracy * candidate.reward_factor
        for epoch, accuracy in zip(at, outcome.curve, strict=True)
    }
    return create_trial(
        state=STATES[outcome.state],
        value=value,
        params=candidate.params,
        distributions=candidate.distributions,
        user_attrs=own,
        intermediate_values=rewards,
    )


def architecture_of(trial: FrozenTrial) -> Architecture:
    """The architecture that a stored trial trained."""
    return Architecture.model_validate_json(trial.user_attrs["architecture"])


def training_of(trial: FrozenTrial) -> dict[str, Any]:
    """The training settings that a stored trial chose; none where its space has no such choices."""
    return dict(trial.user_attrs.get("training", {}))


def identity_of(trial: FrozenTrial) -> str:
    return identity(trial.user_attrs["key"], training_of(trial))


def best_complete(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """The finished trial with the highest value; the earlier one of two equals."""
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return max(done, key=lambda trial: (trial.value, -trial.number), default=None)
