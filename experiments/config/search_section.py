"""The search's section of a config: what is tried, when it stops, and what is known before."""

from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, FiniteFloat, field_validator, model_validator

from experiments.config.boards import BOARDS
from experiments.config.sections import Limit, Positive, as_number
from scaler.budget import UNITS, CostName
from scaler.conditions import Conditions
from search_spaces.records import KeyMistakeError, Record, choose


def _counted_targets(section: dict[str, Any]) -> dict[str, Any]:
    """The targets as numbers, before they are compared; what is none is left to its field."""
    found = {}
    for key in {"target", "target_flops", "targets"} & section.keys():
        value = section[key]
        with suppress(ValueError):
            several = isinstance(value, list | tuple)
            found[key] = [as_number(one) for one in value] if several else as_number(value)
    return found


class EarlyStopping(Record):
    """When weak trials stop.

    `model`: when the model of all trials and their learning curves gives a trial a probability
    below `chance` to become the best; with any sampler. `asha` and `hyperband` compare at epochs
    first, first * factor, ...: asynchronous successive halving (arXiv:1810.05934), and brackets of
    trials that start to compare later and later. `median`: below the others' median. `none`: never.

    `type` says what happens to weak trials: with `stopping` they end; with `promotion` they pause,
    and go on from their checkpoint once they are among the best, or likely to be.
    """

    kind: Literal["model", "asha", "hyperband", "median", "none"] = "model"
    """The rule that compares trials."""
    type: Literal["stopping", "promotion"] = "stopping"
    """What happens to weak trials: they end, or they pause and may go on later."""
    first_epoch: Positive = 1
    """The first epoch at which trials are compared."""
    chance: Annotated[float, Field(gt=0, lt=1)] = 0.03
    """For `model`: a trial with a lower probability to become the best stops."""
    factor: Annotated[float, Field(gt=1)] = 3
    """For `asha` and `hyperband`: one of so many trials goes on to the next comparison."""

    @model_validator(mode="after")
    def _has_rungs(self) -> Self:
        if self.type == "promotion" and self.kind not in ("model", "asha", "hyperband"):
            raise ValueError(
                f"type 'promotion' is for 'model', 'asha' and 'hyperband', "
                f"but kind is '{self.kind}'"
            )
        return self


class WarmStart(Record):
    """Results from before the search: an earlier run, or a CSV with a column for each parameter.

    `enqueue` trains its networks first; with `tell` the sampler learns its accuracies, and only the
    confirmation may train its networks.
    """

    source: Path
    """A run folder, or a CSV with a column for each parameter."""
    mode: Literal["enqueue", "tell"] = "enqueue"
    """`enqueue` trains the known networks first; `tell` only tells the sampler their accuracies."""
    top: Positive | None = None
    """Take only so many of the best. Without it: all."""


class SearchSection(Record):
    """The search for a baseline: what is tried, how it is judged, and the limits of networks."""

    space: str = "mbconv_small"
    """A search space's name or a YAML file."""
    resolution: Positive | None = None
    """Side of the candidates' input in pixels. Without it: the space's own."""
    sampler: str = "cost_aware"
    """A sampler's name, or the import path of an Optuna sampler."""
    trials: Positive = 50
    """Trials in all. A continued run trains those that are missing."""
    epochs: Positive = 5
    """Epochs of a trial that is not stopped early."""
    metric: Literal["accuracy"] = "accuracy"
    """The column of the metric on the validation part; `train.metric` chooses the metric."""
    precision: Literal["float32", "int8"] = "float32"
    """The number format in which compared networks (search, confirmation, coefficients) are judged
    after each epoch. `int8` rounds their weights and maps to 8 bits like the int8 file of `scaler
    export`; training does not change. Members of the family are judged in float32.
    """
    cost: CostName = "flops"
    """The cost in the reward ACC * (COST/T)^w."""
    target: Annotated[FiniteFloat, Field(gt=0), BeforeValidator(as_number)] | None = None
    """T of the reward, in the cost's unit. Latency is in seconds. Without it: the median FLOPs of
    the space's networks within the limits; `config.yaml` keeps it.
    """
    targets: tuple[Limit, ...] | None = None
    """Several budgets in the cost's unit, rising: the search names a network for each. `target` is
    then the main one of them, whose network is `baseline.yaml`; without it that is the largest.
    """
    front: bool = False
    """Choose `targets`: the quartiles of the FLOPs of the space's networks within the limits."""
    exponent: FiniteFloat | None = None
    """w of the reward. Without it: the paper's -0.07, or 0 with several targets, which are limits.
    """
    at: Literal["formula", "budget"] = "formula"
    """At which cost networks are compared: each at its own, by the reward's formula, or each scaled
    to the target before it is trained.
    """
    min_flops: Annotated[FiniteFloat, Field(ge=0), BeforeValidator(as_number)] = 0.0
    """Networks with fewer FLOPs are never trained."""
    max_flops: Limit = float("inf")
    """Networks with more FLOPs are never trained."""
    max_params: Limit = float("inf")
    """Networks with more parameters are never trained."""
    max_activations: Limit = float("inf")
    """Networks with more activations are never trained."""
    max_peak_ram: Limit = float("inf")
    """Networks whose maps need more bytes of RAM, as int8, are never trained. As `256KiB`."""
    max_flash: Limit = float("inf")
    """Networks whose weights need more bytes of flash, as int8, are never trained. As `1MiB`."""
    max_latency: Limit = float("inf")
    """Networks with a higher latency, in seconds, are never trained."""
    latency_model: Path | None = None
    """A file of `scaler latency` that predicts latency. Without it latency is measured."""
    latency: Conditions = Conditions(threads=1)
    """The conditions under which latency is measured."""
    early_stopping: EarlyStopping | None = EarlyStopping()
    """When weak trials stop. `null` lets every trial end."""
    time_limit: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """The most seconds for a trial. Without it: no limit."""

    @property
    def known_target(self) -> float:
        """T. A run has it from its beginning; those of earlier versions that name none had 1e6."""
        return 1e6 if self.target is None else self.target

    @property
    def known_exponent(self) -> float:
        """w. With several targets the most accurate network within each is asked for."""
        if self.exponent is not None:
            return self.exponent
        return 0.0 if len(self.budgets) > 1 else -0.07

    @property
    def budgets(self) -> tuple[float, ...]:
        """The targets, rising; the one target where there is one."""
        return self.targets or (self.known_target,)

    @property
    def target_flops(self) -> float | None:
        """T where the cost is FLOPs and T is known; None elsewhere."""
        return self.target if self.cost == "flops" else None

    def replace(self, **changes: Any) -> Self:
        """A validated copy; `target_flops` sets cost and target, as in a file."""
        if "target_flops" in changes:
            changes = {"cost": "flops", "target": changes["target_flops"], **changes}
        return super().replace(**changes)

    def named(self, metric: str) -> str:
        """What people call the metric of the networks that are compared."""
        return f"{metric} in int8" if self.precision == "int8" else metric

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by their names."""
        costs = ("flops", "params", "activations", "peak_ram", "flash", "latency")
        names = ("min_flops", *(f"max_{cost}" for cost in costs))
        values = {name: float(getattr(self, name)) for name in names}
        return {name: value for name, value in values.items() if 0 < value < float("inf")}

    @property
    def needs_latency(self) -> bool:
        """Whether a candidate's latency is asked for: by the objective, a limit, or a model."""
        limited = self.max_latency < float("inf")
        return self.cost == "latency" or limited or self.latency_model is not None

    @model_validator(mode="before")
    @classmethod
    def _limits_of_the_board(cls, data: Any) -> Any:
        """`board: NAME` is short for its RAM and flash as limits; one that is given counts."""
        if not isinstance(data, dict) or "board" not in data:
            return data
        section = dict(data)
        board = choose(BOARDS, str(section.pop("board")), what="board")
        return {"max_peak_ram": board.ram, "max_flash": board.flash, **section}

    @model_validator(mode="before")
    @classmethod
    def _target_of_the_cost(cls, data: Any) -> Any:
        """`target_flops: x` is short for `cost: flops, target: x`; other costs need a target."""
        if not isinstance(data, dict):
            return data
        section = {**data, **_counted_targets(data)}
        cost: Any = str(section.get("cost", "flops"))
        targets = section.get("targets")
        if targets and isinstance(targets, list | tuple) and "target_flops" not in section:
            section["target"] = section.get("target") or targets[-1]
            one = len(targets) == 1 and not section.get("front")
            if one and section["target"] == targets[0]:
                section["targets"] = None  # the same as `target`
        if "target_flops" in section:
            target = section.pop("target_flops")
            if cost != "flops":
                raise KeyMistakeError(
                    f"`target_flops` is a target of cost flops, but got cost {cost!r}; "
                    f"write `target:` in {UNITS.get(cost, 'its unit')}",
                    key="cost",
                )
            if section.get("target") is None:
                section["target"] = target
            if section["target"] != target:
                raise KeyMistakeError(
                    f"`target_flops` and `target` are one setting, but got "
                    f"(target_flops={target}, target={section['target']}); leave one out",
                    key="target_flops",
                )
        if cost in UNITS and cost != "flops" and section.get("target") is None:
            raise KeyMistakeError(f"cost {cost!r} needs a `target:`, in {UNITS[cost]}", key="cost")
        return section

    @model_validator(mode="after")
    def _a_network_a_budget(self) -> Self:
        """`targets` rise, `target` is one of them, and none of them has to be measured."""
        if self.front and self.targets is None and (self.cost, self.target) != ("flops", None):
            raise ValueError(
                f"`front` chooses targets of FLOPs itself, but got (cost={self.cost}, "
                f"target={self.target:g}); leave them out, or list `targets`"
            )
        if self.targets is None:
            return self
        told = f"({', '.join(f'{target:g}' for target in self.targets)})"
        if not self.targets or any(low >= high for low, high in pairwise(self.targets)):
            raise ValueError(f"`targets` are budgets that rise, each once, but got {told}")
        if self.target not in self.targets:
            raise ValueError(
                f"`target` and `target_flops` beside `targets` name the main one of them, but got "
                f"(target={self.target:g}, targets={told}); leave it out for the largest"
            )
        rule = self.early_stopping
        if len(self.targets) > 1 and rule and rule.kind not in ("model", "none"):
            raise ValueError(
                f"early stopping of kind '{rule.kind}' compares all trials, and those of a small "
                f"budget would lose; with several targets use 'model' or 'none'"
            )
        if self.cost == "latency" and self.latency_model is None:
            raise ValueError(
                "`targets` of a latency need a `latency_model` (see `scaler latency`): measured, "
                "each network would take seconds before it is known which budgets it is within"
            )
        return self

    @field_validator("metric", mode="before")
    @classmethod
    def _metric(cls, metric: object) -> object:
        if metric != "accuracy":
            raise ValueError(
                f"the metric is named by `train.metric` (accuracy, dice, ...), but got {metric!r} "
                f"here; move it there"
            )
        return metric

    @model_validator(mode="after")
    def _one_latency(self) -> Self:
        if self.latency_model is not None and self.latency != Conditions(threads=1):
            raise ValueError(
                f"`latency_model` predicts and `latency` says how to measure, but got both "
                f"(latency_model={self.latency_model}); leave one out"
            )
        return self

    warm_start: WarmStart | None = None
    """What is known before the search."""

    @model_validator(mode="after")
    def _budget_can_be_solved_for(self) -> Self:
        """`at: budget` scales each suggestion, so the target must be within the limits."""
        if self.at == "formula":
            return self
        if self.cost == "latency" and self.latency_model is None:
            raise ValueError(
                "`at: budget` scales each network to the target, and measured latencies would take "
                "minutes for each; give a `latency_model` (see `scaler latency`)"
            )
        low = self.limits.get(f"min_{self.cost}", 0.0)
        high = self.limits.get(f"max_{self.cost}", float("inf"))
        if self.target is not None and not low <= self.target <= high:
            limits = ", ".join(f"{name}={value:g}" for name, value in self.limits.items())
            raise ValueError(
                f"`at: budget` scales each network to the target, which must lie within the "
                f"limits, but got (target={self.target:g}, {limits})"
            )
        if self.warm_start is not None and self.warm_start.mode == "tell":
            raise ValueError(
                "`at: budget` trains other networks than those that were told; use `mode: enqueue`"
            )
        return self

    @model_validator(mode="after")
    def _window(self) -> Self:
        if not self.min_flops < self.max_flops:
            raise ValueError(
                f"`min_flops < max_flops` must hold, but got "
                f"(min_flops={self.min_flops:g}, max_flops={self.max_flops:g})"
            )
        return self
