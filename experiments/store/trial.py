"""One trial from suggestion to row: a `Candidate`, a `Trial` of it, Optuna's `FrozenTrial`.

A sampler or a list gives a `Candidate`: a network, its cost, its seed; nothing is trained yet. A
`Trial` begins when a worker takes the candidate, grows by an `EpochResult` an epoch, may rest, and
ends. `Trial.frozen` is the row that the study keeps for good. `Known` is a trial of elsewhere.
"""

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from scaler.cost import Cost
from search_spaces.architecture import Architecture

# The states of a trial that has ended, as the user sees them, and Optuna's.
STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "fail": TrialState.FAIL,
}
End = Literal["complete", "pruned", "fail"]
State = Literal["running", "resting", End]


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
        """What is the same for equal networks trained in the same way."""
        return identity(self.architecture.key, self.training)


@dataclass(frozen=True)
class Known:
    """Parameters of a trial that was made elsewhere; `origin` says where, `accuracy` what it had.

    They may be a part of the parameters; the sampler then chooses the others.
    """

    origin: str
    params: dict[str, Any]
    accuracy: float | None
    epochs: int | None = None  # that it was trained; None or 0 where that is not known


def identity(key: str, training: dict[str, Any]) -> str:
    """Equal networks trained in the same way have the same."""
    return f"{key} {json.dumps(training, sort_keys=True)}" if training else key


@dataclass(frozen=True)
class EpochResult:
    """What an evaluation told after an epoch; `seconds` are the trial's up to there."""

    epoch: int
    accuracy: float
    figures: dict[str, float] = field(default_factory=dict)  # further ones, as train_loss
    seconds: float = 0.0


@dataclass(frozen=True)
class Trial:
    """A candidate from its start to its end.

    It is `running`, or `resting` at a rung of early stopping until it is promoted. The fields of
    the last block are those of its end.
    """

    candidate: Candidate
    epochs: tuple[EpochResult, ...] = ()
    state: State = "running"
    losses: int = 0  # workers that were lost under it
    passed: int = 0  # the epoch up to which early stopping has promoted it
    host: str = ""  # of its newest worker
    device: str = ""

    accuracy: float | None = None
    reason: str = ""  # why it was stopped or failed
    extra: dict[str, float] = field(default_factory=dict)  # further figures of the evaluation
    took: float | None = None  # seconds, the end of the evaluation included

    @property
    def name(self) -> str:
        """The name of its folder under checkpoints/."""
        candidate = self.candidate
        own = f"{candidate.architecture.key}-{candidate.seed}"  # one network may be trained anew
        return str(candidate.attributes.get("member", own))

    @property
    def seconds(self) -> float:
        """How long its evaluation has run, on all of its workers."""
        if self.took is not None:
            return self.took
        return self.epochs[-1].seconds if self.epochs else 0.0

    @property
    def epoch(self) -> int:
        """The last epoch that it told of."""
        return self.epochs[-1].epoch if self.epochs else 0

    @property
    def rewards(self) -> dict[int, float]:
        """Reward by epoch: what early stopping looks at."""
        factor = self.candidate.reward_factor
        return {told.epoch: told.accuracy * factor for told in self.epochs}

    @property
    def reward(self) -> float | None:
        """The value of a trial that has ended; None where it failed."""
        if self.accuracy is None or self.state == "fail":
            return None
        return self.accuracy * self.candidate.reward_factor

    def told(self, epoch: EpochResult) -> "Trial":
        """With one more epoch; an evaluation that began again takes back what it told before."""
        return replace(self, epochs=(*self.until(epoch.epoch - 1).epochs, epoch))

    def until(self, epoch: int) -> "Trial":
        """As it stood after `epoch`, which is where its checkpoint is."""
        return replace(self, epochs=tuple(told for told in self.epochs if told.epoch <= epoch))

    def ended(
        self,
        state: End,
        accuracy: float | None,
        *,
        reason: str = "",
        extra: dict[str, float] | None = None,
        seconds: float | None = None,
    ) -> "Trial":
        """At its end; `seconds` are those of its last epoch unless they are given."""
        took = self.seconds if seconds is None else seconds
        return replace(
            self, state=state, accuracy=accuracy, reason=reason, extra=extra or {}, took=took
        )

    def frozen(self, **attributes: Any) -> FrozenTrial:
        """A trial that has ended, as the study keeps it. `attributes` are the run's own."""
        candidate = self.candidate
        own = {
            **attributes,
            **self.extra,
            **{n: v for n, v in vars(candidate.cost).items() if v is not None},
            **candidate.attributes,
            "reason": self.reason,
            "accuracy": self.accuracy,
            "reward": self.reward,
            "epochs": self.epoch,
            "curve": [told.accuracy for told in self.epochs],
            "curves": self._curves(),
            "seconds": self.seconds,
            "seed": candidate.seed,
            "suggestion": candidate.suggestion,
            "host": self.host,
            "device": self.device,
            "key": candidate.architecture.key,
            "architecture": candidate.architecture.model_dump_json(exclude_defaults=True),
        }
        if candidate.training:
            own["training"] = candidate.training
        frozen = create_trial(
            state=STATES[self.state],
            value=self.reward,
            params=candidate.params,
            distributions=candidate.distributions,
            user_attrs=own,
            intermediate_values=self.rewards,
        )
        assert frozen.datetime_complete is not None
        # Optuna's own tools, its timeline among them, take a trial's time from the two.
        frozen.datetime_start = frozen.datetime_complete - timedelta(seconds=self.seconds)
        return frozen

    def to_record(self) -> dict[str, Any]:
        """A trial that has not ended, as JSON."""
        candidate = self.candidate
        return {
            "architecture": candidate.architecture.model_dump(mode="json", exclude_defaults=True),
            "cost": vars(candidate.cost),
            "seed": candidate.seed,
            "suggestion": candidate.suggestion,
            "reward_factor": candidate.reward_factor,
            "attributes": candidate.attributes,
            "params": candidate.params,
            "training": candidate.training,
            "distributions": {
                name: distribution_to_json(kind) for name, kind in candidate.distributions.items()
            },
            "epochs": [vars(told) for told in self.epochs],
            "losses": self.losses,
            "resting": self.state == "resting",
            "passed": self.passed,
            "host": self.host,
            "device": self.device,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Trial":
        """The trial of `to_record`; an older version wrote fewer of the fields."""
        kinds = record["distributions"].items()
        candidate = Candidate(
            architecture=Architecture.model_validate(record["architecture"]),
            cost=Cost(**record["cost"]),
            seed=record["seed"],
            suggestion=record["suggestion"],
            reward_factor=record["reward_factor"],
            attributes=record["attributes"],
            params=record["params"],
            training=record["training"],
            distributions={name: json_to_distribution(kind) for name, kind in kinds},
        )
        return cls(
            candidate,
            tuple(EpochResult(**told) for told in record["epochs"]),
            "resting" if record.get("resting") else "running",
            record["losses"],
            record.get("passed", 0),
            record.get("host", ""),
            record.get("device", ""),
        )

    def _curves(self) -> dict[str, list[float | None]]:
        """Further figures, a value an epoch; None where one was not told."""
        names = dict.fromkeys(name for told in self.epochs for name in told.figures)
        curves = {name: [told.figures.get(name) for told in self.epochs] for name in names}
        return {name: _trimmed(values) for name, values in curves.items()}


def _trimmed(values: list[float | None]) -> list[float | None]:
    while values and values[-1] is None:
        values = values[:-1]
    return values


def architecture_of(trial: FrozenTrial) -> Architecture:
    """The architecture that a stored trial trained."""
    return Architecture.model_validate_json(trial.user_attrs["architecture"])


def training_of(trial: FrozenTrial) -> dict[str, Any]:
    """The training settings that a stored trial chose; none where its space has no such choices."""
    return dict(trial.user_attrs.get("training", {}))


def identity_of(trial: FrozenTrial) -> str:
    """A stored trial's `Candidate.identity`."""
    return identity(trial.user_attrs["key"], training_of(trial))


def best_complete(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """The finished trial with the highest value; the earlier one of two equals."""
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return max(done, key=lambda trial: (trial.value, -trial.number), default=None)
