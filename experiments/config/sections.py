"""The sections of a config beside data and search: the steps after the search, and the machines.

`schema` puts them together.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FiniteFloat,
    field_serializer,
    field_validator,
    model_validator,
)

from experiments.config.units import count_of
from scaler.budget import UNITS, CostName
from search_spaces.records import KeyMistakeError, Record

Positive = Annotated[int, Field(ge=1)]


def as_number(value: object) -> object:
    """A number as people write it, as a number; anything else as it is."""
    return count_of(value) if isinstance(value, str) else value


Limit = Annotated[float, Field(gt=0), BeforeValidator(as_number)]  # `15M`, `256KiB`, or a number


def _untimed(limits: dict[CostName, float]) -> dict[CostName, float]:
    if "latency" in limits:
        raise ValueError(f"limits are of {', '.join(c for c in UNITS if c != 'latency')}")
    return limits


Limits = Annotated[dict[CostName, Limit], AfterValidator(_untimed)]


class ConfirmationSection(Record):
    """The search's best, trained again with new seeds before one of them is the baseline.

    In each round every network is trained `seeds` times; the better half, at least two, goes on
    to the next round, whose trainings are twice as long. If that takes more than `share` of the
    search's epochs, there are fewer rounds, then fewer networks, and at last fewer seeds.
    """

    top: Positive = 4
    """Networks in the first round. 1 turns the confirmation off."""
    # Two find 12, 28 and 67 % of differences of 2, 4 and 8 standard deviations; three find 37, 89
    # and 100 % (Welch's test at 5 %).
    seeds: Annotated[int, Field(ge=1, le=1000)] = 3
    """Trainings of each network in a round."""
    rounds: Annotated[int, Field(ge=1, le=8)] = 2
    """Number of rounds."""
    epochs: Positive | None = None
    """Epochs of the first round's trainings. Without it: `search.epochs`."""
    known: tuple[str, ...] | None = None
    """Networks scaled to the search's target and trained like the winner, to show what the search
    is worth. Without it: two that fit the resolution. `[]`: none.
    """
    share: Annotated[FiniteFloat, Field(gt=0)] | None = 0.5
    """The most epochs of all rounds, as a share of the search's. Without it: no bound."""


class CoefficientsSection(Record):
    """The grid of alpha, beta, gamma, each from 1, alpha * beta^2 * gamma^2 near 2.

    `equal_flops` scales every direction to the same measured FLOPs; `phi` is the paper's rule, the
    same phi for all; their FLOPs differ after rounding. Each is trained once,
    then the `leaders` with `seeds` new seeds.
    """

    rule: Literal["equal_flops", "phi"] = "equal_flops"
    """What the directions have in common: measured FLOPs, or the paper's phi."""
    step: Annotated[float, Field(ge=0.02, le=1)] = 0.1
    """Step of the grid of alpha, beta and gamma."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """How far alpha * beta^2 * gamma^2 may be from 2."""
    target_ratio: Annotated[float, Field(gt=1, le=100)] = 2.0
    """For `equal_flops`: FLOPs of every candidate over the baseline's."""
    flops_tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """For `equal_flops`: how far a candidate's FLOPs may be from the target."""
    limits: Limits = Field(default={})
    """For `equal_flops`: the most that a candidate may have, as `{peak_ram: 256KiB}`."""
    phi: Annotated[float, Field(gt=0, le=8)] = 1.0
    """For `phi`: the exponent, the same for all."""
    epochs: Positive = 5
    """Epochs of each training."""
    leaders: Positive = 3
    """How many of the best are trained again. 1 takes the best of the first trainings."""
    seeds: Annotated[int, Field(ge=1, le=1000)] = 3
    """New seeds of each leader."""


class FamilySection(Record):
    """Which members are built and trained: `phi`, `released` or `budgets` (see scaler.family)."""

    kind: Literal["phi", "released", "budgets"] = "budgets"
    """How the members are chosen."""
    ratios: tuple[Annotated[float, Field(gt=0, le=10_000)], ...] | None = None
    """For `budgets`: FLOPs of the members over the baseline's."""
    phis: tuple[Annotated[float, Field(gt=0, le=12)], ...] | None = None
    """For `phi`: the exponents, in place of 1 to 7."""
    limits: Limits = Field(default={})
    """For `budgets`: the most that a member may have, as `{peak_ram: 256KiB, flash: 1MiB}`. Members
    that cannot keep them are left out.
    """
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """How far a member's FLOPs may be from its budget."""
    epochs: Positive = 10
    """Epochs of each member's training."""
    start: Literal["scratch", "baseline"] = "scratch"
    """What the members begin with: weights that their seed initialises, or the trained weights of
    the baseline.
    """


class ComparisonSection(Record):
    """Networks trained side by side with one recipe: panels of names, files or architectures."""

    networks: dict[str, tuple[str | dict[str, Any], ...]] = Field(default={})
    """Panels of networks. Each network is a name, a file, or an architecture."""
    resolution: Positive | None = None
    """Side of their input in pixels. Without it: each network's own."""
    epochs: Positive = 10
    """Epochs of each training."""
    seeds: Positive = 1
    """Trainings of each network."""


class ShortTraining(Record):
    """A proxy: `epochs` with their own schedule on a share of the images, at a lower resolution.

    With `full_schedule` it is the longer training's first epochs, as early stopping sees them.
    """

    epochs: Positive
    """Epochs of the short training."""
    data: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training images."""
    resolution: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Side of the input over that of the longer training."""
    full_schedule: bool = False
    """Use the first epochs of the longer training, as early stopping sees them."""

    @model_validator(mode="after")
    def _same_data_in_full(self) -> Self:
        if self.full_schedule and (self.data, self.resolution) != (1.0, 1.0):
            raise ValueError(
                f"with `full_schedule` data and resolution are the longer training's, but got "
                f"(data={self.data:g}, resolution={self.resolution:g}); leave them at 1"
            )
        return self


class ProxySection(Record):
    """How well short trainings rank networks of the space, against longer ones."""

    networks: Annotated[int, Field(ge=4)] = 20
    """Random networks within the search's limits."""
    epochs: Positive = 6
    """Epochs of the longer training."""
    seeds: Annotated[int, Field(ge=2, le=100)] = 2
    """Longer trainings of each network."""
    trainings: tuple[ShortTraining, ...] = (
        ShortTraining(epochs=1, full_schedule=True),
        ShortTraining(epochs=2, full_schedule=True),
        ShortTraining(epochs=1),
        ShortTraining(epochs=2),
        ShortTraining(epochs=2, data=0.5),
        ShortTraining(epochs=2, resolution=0.5),
        ShortTraining(epochs=4, resolution=0.5),
    )
    """The short trainings that are tried."""
    correlation: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """The rank correlation (Spearman's rho) that a proxy must reach."""

    @model_validator(mode="after")
    def _shorter(self) -> Self:
        for training in self.trainings:
            if training.full_schedule and training.epochs >= self.epochs:
                raise ValueError(
                    f"`full_schedule` must have fewer epochs than the longer training, but got "
                    f"(epochs={training.epochs}, of {self.epochs})"
                )
        return self


class ClusterSection(Record):
    """Where trials run. No address: an embedded Ray on this machine (see docs/cluster.md)."""

    address: str | None = None
    """`host:port` of a Ray cluster's head, or `auto` on its nodes. Without it: an embedded Ray."""
    workers: Positive | None = None
    """Trials at a time. Without it: as many as fit."""
    cpus_per_trial: Annotated[FiniteFloat, Field(gt=0)] = 1
    """CPU cores of a trial."""
    gpus_per_trial: Annotated[FiniteFloat, Field(ge=0)] | None = None
    """GPUs of a trial. With 0.25 four trials share one; with 0 a trial sees none. Without it: a
    share by the memory that the largest network takes, if nodes have GPUs.
    """
    wait: Annotated[FiniteFloat, Field(ge=0)] = 0
    """Seconds to wait for a node that can take a trial."""
    dashboard_host: str | None = None
    """Address on which the embedded Ray shows its dashboard. Without it: no dashboard."""
    storage: Annotated[str | None, Field(repr=False)] = None
    """A database URL, as `postgresql+psycopg://user@host/scaler`. Without it: study.db in the run
    folder.
    """

    @field_validator("storage")
    @classmethod
    def _database_url(cls, storage: str | None) -> str | None:
        if storage is not None:
            from experiments.config.storage_url import masked

            masked(storage)
        return storage

    @field_serializer("storage", when_used="json")
    def _without_password(self, storage: str | None) -> str | None:
        from experiments.config.storage_url import masked

        return None if storage is None else masked(storage)

    @model_validator(mode="before")
    @classmethod
    def _one_driver(cls, data: Any) -> Any:
        """Earlier versions had `drivers: one` and `drivers: many`; now one command drives a run."""
        if not isinstance(data, dict) or "drivers" not in data:
            return data
        section = dict(data)
        if (drivers := section.pop("drivers")) != "one":
            raise KeyMistakeError(
                f"`drivers: {drivers}` is no longer there, as one command drives a run; remove the "
                f"line, and set `workers:` to train more networks at a time",
                key="drivers",
            )
        return section

    @field_validator("gpus_per_trial")
    @classmethod
    def _whole_gpus(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"above 1 it must be a whole number of GPUs, but got {gpus:g}")
        return gpus


class TrackingSection(Record):
    """Where trials are shown as well; none by default (see docs/tracking.md)."""

    to: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    """The tools that trials are sent to."""
    mlflow_uri: Annotated[str | None, Field(repr=False)] = None
    """MLflow's address. Without it: MLFLOW_TRACKING_URI, or mlflow.db in the run folder."""
    wandb_project: str | None = None
    """Project of Weights & Biases. Without it: the run's name."""

    @field_serializer("mlflow_uri", when_used="json")
    def _without_password(self, uri: str | None) -> str | None:
        from experiments.config.storage_url import without_passwords

        return None if uri is None else without_passwords(uri)
