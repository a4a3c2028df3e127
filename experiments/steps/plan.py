"""The plan of a search before it begins: networks, budget, trainings, and about how long.

The time is measured: the space's median network trains for a moment on the run's own data. Early
stopping later saves a part of this time.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch

from experiments.config.messages import say
from experiments.config.schema import SearchConfig
from experiments.config.search_section import SearchSection
from experiments.config.units import readable_cost, readable_seconds
from experiments.data.images import ImageData
from experiments.data.sources import load_data
from experiments.engine.budgets import check_targets, with_target
from experiments.engine.limits import limits_text, searched_space
from experiments.engine.machines.cluster_check import cpus_here
from experiments.engine.pricing import Pricing
from experiments.steps.confirmation import rounds
from experiments.steps.known import known_trainings
from experiments.steps.search import check_search
from experiments.training.training import Training, check_space
from scaler.conditions import find_device
from scaler.cost import SAMPLE
from search_spaces.architecture import Architecture
from search_spaces.records import InputError

IMAGES = 512  # images of the training part in the measured epochs
FEWEST = 10  # trials; fewer are no search
FEWEST_EPOCHS = 2  # of a trial; the first shows hardly more than how fast a network learns
ENOUGH = 20  # trials; if fewer fit into the time, smaller images use it better
SPARE = 0.9  # share of the given time; starting workers and reports take the rest


@dataclass(frozen=True)
class Plan:
    """The most that a search of a config costs. `epoch` is seconds of one epoch on one worker."""

    config: SearchConfig
    epoch: float
    workers: int

    @property
    def epochs(self) -> dict[str, int]:
        """Epochs at most, by step: `search`, `confirmation`, `known networks`."""
        search, confirmation = self.config.search, self.config.confirmation
        whole = search.trials * search.epochs
        counts = {"search": whole, "confirmation": 0, "known networks": 0}
        if confirmation is not None and confirmation.top > 1:
            plan = rounds(
                confirmation,
                networks=confirmation.top,
                epochs=search.epochs,
                spent=whole,
                budgets=len(search.budgets),
            )
            counts["confirmation"] = sum(one.cost for one in plan)
            if plan:
                trainings = known_trainings(confirmation, seeds=plan[-1].seeds)
                counts["known networks"] = trainings * plan[-1].epochs
        return counts

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time at most, by step, with all workers busy."""
        return {name: count * self.epoch / self.workers for name, count in self.epochs.items()}


def plan_search(config: SearchConfig) -> Plan:
    """Read the data, check the config, measure an epoch. Nothing is written.

    Raises InputError as a search of the config would.
    """
    check_search(config)
    data = load_data(config.data, seed=config.seed)
    check_space(
        searched_space(config.search),
        config.train,
        data,
        varied=config.data.varied(config.train.augmentation),
    )
    sizes = {"num_classes": data.num_classes, "in_channels": data.channels}
    search = config.search
    if search.target is None:
        config = config.replace(search=with_target(search, **sizes))
    check_targets(config.search, **sizes)
    network = _median(config.search, **sizes)
    workers = config.cluster.workers or max(1, int(cpus_here() / config.cluster.cpus_per_trial))
    if find_device(config.train.device).type == "cuda":
        workers = 1  # trials on one card share its time
    return Plan(config, seconds_an_epoch(config, data, network), workers)


def _median(search: SearchSection, **sizes: int) -> Architecture:
    """The network of median FLOPs among some random ones that could be trained."""
    pricing, space = Pricing(search, **sizes), searched_space(search)
    trained = []
    for member in space.members(SAMPLE if search.at == "formula" else FEWEST, seed=0):
        with suppress(InputError):  # a shape that cannot be scaled to the target
            network = pricing.brought(member)
            cost = pricing.cost(network)
            trained.append((pricing.excess(cost, None), cost.flops, network))
    if not trained:
        raise InputError(
            f"none of {FEWEST} random networks of space '{search.space}' can be scaled to the "
            f"target of {readable_cost(search.cost, search.known_target)}"
        )
    within = [one for one in trained if one[0] == 0] or trained
    return sorted(within, key=lambda one: one[1])[len(within) // 2][2]


def seconds_an_epoch(config: SearchConfig, data: ImageData, network: Architecture) -> float:
    """Wall time of an epoch of `network`, measured on the first IMAGES images.

    The first epoch warms up and is not counted.
    """
    threads = torch.get_num_threads()
    most = max(IMAGES, 2 * config.train.batch_size)
    train, validation = data.train.take(slice(most)), data.validation.take(slice(most // 2))
    part = replace(data, train=train, validation=validation)
    training = Training(
        architecture=network,
        data=part,
        data_config=config.data,
        config=config.train,
        epochs=2,
        seed=config.seed,
        threads=max(1, int(config.cluster.cpus_per_trial)),
        judged_in=config.search.precision,
    )
    try:
        seconds = [result.seconds for result in training.run()]
    finally:
        torch.set_num_threads(threads)
    whole = len(data.train) + len(data.validation) / 3  # evaluation takes a third
    return seconds[-1] * whole / (len(part.train) + len(part.validation) / 3)


def side_within(plan: Plan, seconds: float, sides: Sequence[int]) -> int | None:
    """The first of `sides` (px, falling) at which ENOUGH trials fit into a time, or the last.

    None if they fit at the plan's own resolution, or no side is smaller. An epoch's time is assumed
    to be proportional to the square of the side, as the FLOPs of convolutions are.
    """
    own = searched_space(plan.config.search).members(1, seed=0)[0].resolution
    smaller = [side for side in sides if side < own]
    if not smaller or _fits(plan, ENOUGH, seconds):
        return None
    fitting = (s for s in smaller if _fits(plan, ENOUGH, seconds * (own / s) ** 2))
    return next(fitting, smaller[-1])


def with_fewer_epochs(plan: Plan, seconds: float) -> Plan:
    """The plan with the most epochs a trial at which FEWEST trials fit into a time; says if fewer.

    Unchanged if they do not fit even with FEWEST_EPOCHS.
    """
    most = plan.config.search.epochs
    for epochs in range(most, FEWEST_EPOCHS - 1, -1):
        shorter = _of(plan, epochs=epochs)
        if _fits(shorter, FEWEST, seconds):
            if epochs < most:
                say(
                    f"the time is short, so a trial has {epochs} epochs, which rank networks less "
                    f"reliably (--epochs sets them)"
                )
            return shorter
    return plan


def within(plan: Plan, seconds: float) -> Plan:
    """The plan with as many trials as fit into `seconds`, with the confirmation.

    Raises InputError if not even FEWEST fit.
    """
    search = plan.config.search
    if not _fits(plan, FEWEST, seconds):
        least = sum(_of(plan, trials=FEWEST).seconds.values()) / SPARE
        raise InputError(
            f"{FEWEST} trials of {search.epochs} epochs, the least for a search, take about "
            f"{readable_seconds(least)} here, but the time is {readable_seconds(seconds)}; give "
            f"more time, or fewer epochs, a smaller resolution or less data (data.train_limit)"
        )
    low, high = FEWEST, FEWEST
    while _fits(plan, 2 * high, seconds):
        low = high = 2 * high
    high *= 2
    while high - low > 1:
        middle = math.floor((low + high) / 2)
        low, high = (middle, high) if _fits(plan, middle, seconds) else (low, middle)
    return _of(plan, trials=low)


def _of(plan: Plan, **changes: int) -> Plan:
    search = plan.config.search.replace(**changes)
    return Plan(plan.config.replace(search=search), plan.epoch, plan.workers)


def _fits(plan: Plan, trials: int, seconds: float) -> bool:
    return sum(_of(plan, trials=trials).seconds.values()) <= SPARE * seconds


def tell_plan(plan: Plan) -> None:
    """Say the plan: networks, budget, trainings, time."""
    config, search = plan.config, plan.config.search
    space = searched_space(search)
    say(
        f"networks: of '{search.space}' at {space.members(1, seed=0)[0].resolution} px, at most "
        f"{space.size():.3g} settings{limits_text(search)}"
    )
    budgets = ", ".join(readable_cost(search.cost, target) for target in search.budgets)
    say(f"budget: {budgets}, compared at the {search.at}")
    rule = search.early_stopping.kind if search.early_stopping else "none"
    say(
        f"trials: {search.trials} by {search.sampler}, {search.epochs} epochs each, "
        f"early stopping: {rule}; recipe {config.train.name}, batch {config.train.batch_size}"
    )
    parts = [f"{name} {readable_seconds(s)}" for name, s in plan.seconds.items() if s]
    in_all = readable_seconds(sum(plan.seconds.values()))
    epoch = readable_seconds(plan.epoch) if plan.epoch >= 10 else f"{plan.epoch:.2g} s"
    say(
        f"time: at most about {in_all} with {plan.workers} workers ({', '.join(parts)}); an epoch "
        f"of the space's median network takes {epoch}; early stopping saves some of it"
    )
    say(f"run folder: {config.run_folder}")
