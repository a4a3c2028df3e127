"""A trial that has begun and not ended, as the store keeps it: who it is and how far it came."""

from dataclasses import dataclass, field, replace
from typing import Any

from optuna.distributions import distribution_to_json, json_to_distribution

from experiments.store.trial import Candidate
from scaler.cost import Cost
from search_spaces.architecture import Architecture


@dataclass(frozen=True)
class Epoch:
    """What an evaluation told after an epoch; `seconds` are the trial's up to there."""

    epoch: int
    accuracy: float
    figures: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class OpenTrial:
    """A candidate in training. `losses` counts the workers that were lost under it.

    One that is `resting` waits until early stopping promotes it; `passed` is the epoch up to which
    it was promoted.
    """

    candidate: Candidate
    epochs: tuple[Epoch, ...] = ()
    losses: int = 0
    resting: bool = False
    passed: int = 0
    host: str = ""  # of its newest worker
    device: str = ""

    @property
    def name(self) -> str:
        """Of its folder under checkpoints/."""
        candidate = self.candidate
        own = f"{candidate.architecture.key}-{candidate.seed}"  # one network may be trained anew
        return str(candidate.attributes.get("member", own))

    @property
    def seconds(self) -> float:
        return self.epochs[-1].seconds if self.epochs else 0.0

    @property
    def rewards(self) -> dict[int, float]:
        """Reward by epoch: what early stopping looks at."""
        factor = self.candidate.reward_factor
        return {told.epoch: told.accuracy * factor for told in self.epochs}

    def told(self, epoch: Epoch) -> "OpenTrial":
        """With one more epoch; an evaluation that began again takes back what it told before."""
        return replace(self, epochs=(*self.until(epoch.epoch - 1).epochs, epoch))

    def until(self, epoch: int) -> "OpenTrial":
        """As it stood after `epoch`, which is where its checkpoint is."""
        return replace(self, epochs=tuple(told for told in self.epochs if told.epoch <= epoch))

    def curves(self) -> dict[str, list[float | None]]:
        """Further figures, a value an epoch; None where one was not told."""
        names = dict.fromkeys(name for told in self.epochs for name in told.figures)
        curves = {name: [told.figures.get(name) for told in self.epochs] for name in names}
        return {name: _trimmed(values) for name, values in curves.items()}

    def to_record(self) -> dict[str, Any]:
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
            "resting": self.resting,
            "passed": self.passed,
            "host": self.host,
            "device": self.device,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "OpenTrial":
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
        epochs = tuple(Epoch(**told) for told in record["epochs"])
        later = ("resting", "passed", "host", "device")  # an older scaler wrote none of them
        return cls(
            candidate, epochs, record["losses"], **{k: record[k] for k in later if k in record}
        )


def _trimmed(values: list[float | None]) -> list[float | None]:
    while values and values[-1] is None:
        values = values[:-1]
    return values
