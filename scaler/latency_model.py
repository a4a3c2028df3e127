"""A latency table of measured networks, and the model fitted to it: seconds from a network's cost.

On some hardware activations predict a convolutional network's time better than FLOPs (Radosavovic
et al., arXiv:2003.13678; Dollar et al., arXiv:2103.06877). So the model uses both, and the fits to
each alone are printed beside it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, FiniteFloat
from scipy.optimize import nnls

from scaler.conditions import Conditions
from scaler.cost import Cost
from scaler.latency import Latency
from search_spaces.records import InputError, Record, read_mapping

LEAST_NETWORKS = 5  # for three coefficients, with one of five left out in turn

Seconds = Annotated[FiniteFloat, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Feature = Literal["flops", "activations"]
FEATURES: tuple[tuple[Feature, ...], ...] = (
    ("flops", "activations"),
    ("flops",),
    ("activations",),
)


class MeasuredNetwork(Record):
    """A row of the table; seconds are of one step with a whole batch, as in `Latency`."""

    name: str
    resolution: int
    flops: Count
    params: Count
    activations: Count
    seconds: Seconds
    low: Seconds
    high: Seconds
    quiet: Seconds
    uncertainty: Annotated[FiniteFloat, Field(ge=0)]
    runs: int

    @property
    def cost(self) -> Cost:
        """FLOPs, parameters and activations together."""
        return Cost(self.flops, self.params, self.activations)


class LatencyTable(Record):
    """Networks measured together on one device, with the conditions of the figures."""

    version: Literal[1] = 1
    conditions: Conditions
    machine: dict[str, str]
    num_classes: int
    in_channels: int
    networks: tuple[MeasuredNetwork, ...]

    @classmethod
    def of(cls, measured: Sequence[tuple[Latency, Cost]]) -> Self:
        """The table of networks that were measured together, with their costs."""
        first, _ = measured[0]
        return cls(
            conditions=first.conditions,
            machine=first.machine,
            num_classes=first.num_classes,
            in_channels=first.in_channels,
            networks=tuple(_row(latency, cost) for latency, cost in measured),
        )

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a file of `scaler latency -o`. Raises InputError for any other file."""
        return cls.parse(read_mapping(Path(path)), source=str(path))

    def to_json(self) -> str:
        """The table as the text of a JSON file."""
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"


@dataclass(frozen=True)
class Fit:
    """seconds = coefficients[0] + the sum of the others times the features; none is negative.

    Errors are relative to the measured time: on the networks fitted, and (`new_`) on each network
    predicted from a fit to the others.
    """

    features: tuple[Feature, ...]
    coefficients: tuple[float, ...]  # seconds, then seconds a FLOP or an element
    median_error: float
    max_error: float
    new_median_error: float
    new_max_error: float

    def __call__(self, cost: Cost) -> float:
        """Seconds that a step of a network of this cost takes."""
        fixed, *rates = self.coefficients
        amounts = (getattr(cost, feature) for feature in self.features)
        return fixed + sum(rate * amount for rate, amount in zip(rates, amounts, strict=True))


@dataclass(frozen=True)
class LatencyModel:
    """Predicts seconds from a Cost, as measured on the table's device under its conditions."""

    table: LatencyTable
    fit: Fit

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """The model of a latency file. Raises InputError for another file, or too few networks."""
        return cls.of(LatencyTable.from_file(path), source=str(path))

    @classmethod
    def of(cls, table: LatencyTable, *, source: str = "latency table") -> Self:
        """The model fitted to a table. Raises InputError for too few networks."""
        return cls(table, fit_latency(table.networks, FEATURES[0], source=source))

    def __call__(self, cost: Cost) -> float:
        """Seconds of one step with the table's batch size."""
        return self.fit(cost)

    def describe(self) -> str:
        """The networks, the hardware, the conditions and the error."""
        table = self.table
        return (
            f"{len(table.networks)} networks on {table.machine.get('hardware', 'unknown')}, "
            f"{table.conditions.describe()}, torch {table.machine.get('torch', 'unknown')}; "
            f"median error of a new network {self.fit.new_median_error:.1%}"
        )


def check_enough(costs: Sequence[Cost], *, source: str = "latency table") -> None:
    """Raise InputError unless there are enough networks of different costs for a fit."""
    different = len({(cost.flops, cost.activations) for cost in costs})
    if different < LEAST_NETWORKS:
        raise InputError(
            f"{source}: a fit needs {LEAST_NETWORKS} networks of different costs or more, but "
            f"there are {different}; measure more, or at several resolutions"
        )


def fits_of(table: LatencyTable) -> list[Fit]:
    """By FLOPs and activations together, by FLOPs alone, by activations alone."""
    return [fit_latency(table.networks, features) for features in FEATURES]


def fit_latency(
    networks: Sequence[MeasuredNetwork],
    features: tuple[Feature, ...],
    *,
    source: str = "latency table",
) -> Fit:
    """Non-negative least squares of relative errors on a constant and the features.

    Fitted to `quiet`, which other work on the machine changes least. Raises InputError if too few
    networks differ in cost.
    """
    check_enough([n.cost for n in networks], source=source)
    amounts = np.array([[1.0, *(getattr(n, f) for f in features)] for n in networks])
    seconds = np.array([n.quiet for n in networks])
    coefficients = _solve(amounts, seconds)
    errors = np.abs(amounts @ coefficients / seconds - 1)
    new = []
    for i in range(len(seconds)):
        rest = np.arange(len(seconds)) != i
        predicted = amounts[i] @ _solve(amounts[rest], seconds[rest])
        new.append(abs(float(predicted / seconds[i]) - 1))
    return Fit(
        features=features,
        coefficients=tuple(float(c) for c in coefficients),
        median_error=float(np.median(errors)),
        max_error=float(errors.max()),
        new_median_error=median(new),
        new_max_error=max(new),
    )


def _solve(amounts: "np.ndarray", seconds: "np.ndarray") -> "np.ndarray":
    """The columns are first scaled alike: FLOPs are millions of times the constant."""
    relative = amounts / seconds[:, None]
    scales = np.linalg.norm(relative, axis=0)
    scales[scales == 0] = 1.0
    scaled, _ = nnls(relative / scales, np.ones(len(seconds)))
    return scaled / scales


def _row(latency: Latency, cost: Cost) -> MeasuredNetwork:
    return MeasuredNetwork(
        name=latency.architecture,
        resolution=latency.resolution,
        flops=cost.flops,
        params=cost.params,
        activations=cost.activations,
        seconds=latency.seconds,
        low=latency.low,
        high=latency.high,
        quiet=latency.quiet,
        uncertainty=latency.uncertainty,
        runs=latency.runs,
    )
