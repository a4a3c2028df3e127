"""Searches over kept learning curves: what early stopping and the model are worth at equal epochs.

    python -m experiments.benchmarks.curves --seeds 21000:21053

The table holds networks with their curves (see `curve_table`). A search over it costs no training:
a suggestion stands for the nearest network of the table that the search has not tried, and the
search's seed says which of its trainings it sees. All searchers count the epochs that they spend;
at 10, 20, 40 and 80 full trainings' worth each names the network that it would recommend, and the
regret is 100 times what that network's mean reward falls short of the best one's. Ours recommends
by its model, stopped networks among them (as the confirmation takes its contenders); a rival its
best finished network, or the best of the stopped ones where none is finished. A budget is left out
where the table has fewer than four networks for each of its full trainings.

Tune's hyperband is its asynchronous one (three brackets), which Tune advises over the synchronous
one: that holds a bracket's trials until all have come as far, and so has no meaning for a search
that trains one network after the other.

Each search is a line of results/curves_searches.jsonl; those that are there are not run again.
Seeds 1,000 to 1,015 were looked at while the rules and `chance` were chosen. Seeds 21,000 to 21,052
are those of the figures that are kept: to 21,019 with the code of commit d04192f, looked at once,
then the others with 2d18d34. Before, with forecasts in the place of evidence
(samplers/learning_curves.py) and a chance of .1, seeds 20,000 to 20,016 gave .36, .36 and .36 on
digits and 1.04 and .91 on CIFAR-10, there .45 (s.e. .21) more than without early stopping.
"""

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from experiments.benchmarks import keep
from experiments.benchmarks.parts.curve_table import EXPONENT, FOLDER, SETS, TARGET, Array, Table
from experiments.benchmarks.parts.told_epochs import told_epochs
from experiments.config.search_section import EarlyStopping
from experiments.engine.early_stopping import EarlyStopper
from experiments.samplers import make_sampler, recommend
from experiments.samplers.accuracy_model import Learner
from experiments.samplers.cost_aware import CostAwareSampler
from experiments.samplers.known_cost import KnownCost
from experiments.samplers.told import THROWN_BACK
from experiments.store.trial import Candidate, Trial
from scaler.cost import Cost
from search_spaces.reference import load_architecture

SEARCHES = FOLDER / "curves_searches.jsonl"
BUDGETS = (10, 20, 40, 80)
NETWORKS_A_TRAINING = 4  # that the table has to have, or a search runs out of networks
REDRAWS = 10


@dataclass
class CurveSearch:
    """One search: the trials so far, as the product's parts see them, and the epochs spent."""

    table: Table
    study: optuna.Study
    seed: int
    spent: int = 0
    networks: list[int] = field(default_factory=list)  # of the trials, in order
    latest: tuple[dict[str, Any], int] = ({}, -1)  # looked up

    def nearest(self, params: dict[str, Any]) -> int:
        """The nearest network of the table."""
        if self.latest[0] != params:
            self.latest = (params, int(self.table.away(params).argmin()))
        return self.latest[1]

    def curve(self, network: int) -> Array:
        """What a training of it shows in this search."""
        drawn = np.random.default_rng((self.seed, network)).integers(self.table.curves.shape[1])
        return self.table.curves[network, drawn] * self.table.factors[network]

    def ask(self) -> tuple[optuna.Trial, int]:
        """The next trial, and the network that it trains: one that no trial has had."""
        for draw in range(REDRAWS):
            trial = self.study.ask(self.table.distributions)  # type: ignore[arg-type]
            network = self.nearest(trial.params)
            if network not in self.networks:
                break
            if draw < REDRAWS - 1:
                trial.set_user_attr(THROWN_BACK, True)
                self.study.tell(trial, state=TrialState.FAIL)
            else:
                away = self.table.away(trial.params)
                away[self.networks] = np.inf
                network = int(away.argmin())
        self.networks.append(network)
        trial.set_user_attr("network", network)
        return trial, network


Stops = Callable[[CurveSearch, optuna.Trial, int], bool]


def run(table: Table, searcher: str, seed: int) -> list[float]:
    """The regrets of what a search recommends at each of the table's budgets."""
    make, make_stops, by_model = SEARCHERS[searcher]
    search = CurveSearch(table, optuna.create_study(direction="maximize"), seed)
    search.study.sampler = make(search)
    stops = make_stops(search)
    epochs, wanted = table.curves.shape[2], budgets(table)
    regrets: list[float] = []
    while len(regrets) < len(wanted) and len(search.networks) < len(table.params):
        trial, network = search.ask()
        curve = search.curve(network)
        for epoch in range(1, epochs + 1):
            trial.report(float(curve[epoch - 1]), epoch)
            search.spent += 1
            if epoch < epochs and stops(search, trial, epoch):
                search.study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            search.study.tell(trial, float(curve[-1]))
        while len(regrets) < len(wanted) and search.spent >= wanted[len(regrets)] * epochs:
            regrets.append(float(table.regrets[recommended(search, by_model=by_model)]))
    while len(regrets) < len(wanted):
        regrets.append(float(table.regrets[recommended(search, by_model=by_model)]))
    return regrets


def recommended(search: CurveSearch, *, by_model: bool) -> int:
    """The network that the search would recommend now."""
    trials = [t for t in search.study.get_trials(deepcopy=False) if "network" in t.user_attrs]
    told = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    if by_model:
        best = recommend(
            told, cost=known_cost(search), target=TARGET, exponent=EXPONENT, stopped=True
        )[0]
    else:
        best = max(told, key=lambda t: (t.state == TrialState.COMPLETE, *_last(t)))
    return int(best.user_attrs["network"])


def _last(trial: FrozenTrial) -> tuple[int, float]:
    return max(trial.intermediate_values.items())


def known_cost(search: CurveSearch) -> Callable[[dict[str, Any]], float]:
    """The FLOPs of the network that the parameters stand for."""
    return lambda params: float(search.table.flops[search.nearest(params)])


def _ours(search: CurveSearch) -> BaseSampler:
    return make_sampler(
        "cost_aware",
        cost=known_cost(search),
        target=TARGET,
        exponent=EXPONENT,
        network=search.nearest,
        seed=search.seed,
    )


def _never(_: CurveSearch) -> Stops:
    return lambda _search, _trial, _epoch: False


def _rule(rule: EarlyStopping) -> Callable[[CurveSearch], Stops]:
    """Our early stopping, as the engine runs it."""

    def make(search: CurveSearch) -> Stops:
        sampler = search.study.sampler
        if isinstance(sampler, CostAwareSampler):
            learner = sampler.learner  # as in the product
        else:
            learner = Learner(KnownCost(known_cost(search), target=TARGET, exponent=EXPONENT))

        def chances() -> dict[int, float]:
            return learner.chances(search.study, search.study.get_trials(deepcopy=False))

        stopper = EarlyStopper(
            rule,
            epochs=search.table.curves.shape[2],
            ended=[],
            opened=[],
            new=10_000,
            chances=chances,
        )

        def stops(search: CurveSearch, trial: optuna.Trial, epoch: int) -> bool:
            network = search.networks[-1]
            told = told_epochs(search.curve(network)[:epoch].tolist())
            candidate = Candidate(_ANY, Cost(1, 1, 1), seed=0, suggestion=trial.number)
            return stopper.stops(Trial(candidate, told))

        return stops

    return make


_ANY = load_architecture("resnet18")  # no rule looks at it


def _pruner(make: Callable[[int], optuna.pruners.BasePruner]) -> Callable[[CurveSearch], Stops]:
    """A pruner of Optuna's."""

    def made(search: CurveSearch) -> Stops:
        search.study.pruner = make(search.table.curves.shape[2])
        return lambda _search, trial, _epoch: trial.should_prune()

    return made


def _tune_hyperband(search: CurveSearch) -> Stops:
    """Ray Tune's asynchronous Hyperband, told of one trial at a time."""
    from ray.tune.schedulers import AsyncHyperBandScheduler

    scheduler = AsyncHyperBandScheduler(
        metric="value", mode="max", max_t=search.table.curves.shape[2], brackets=3
    )
    np.random.seed(search.seed)
    known: dict[int, Any] = {}

    class Named:
        def __init__(self, number: int) -> None:
            self.trial_id = str(number)
            self.config: dict[str, Any] = {}

    def stops(search: CurveSearch, trial: optuna.Trial, epoch: int) -> bool:
        if trial.number not in known:
            known[trial.number] = Named(trial.number)
            scheduler.on_trial_add(None, known[trial.number])
        value = float(search.curve(search.networks[-1])[epoch - 1])
        result = {"training_iteration": epoch, "value": value}
        decision = scheduler.on_trial_result(None, known[trial.number], result)
        return decision == scheduler.STOP

    return stops


def _tpe(search: CurveSearch) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=search.seed, multivariate=True)


def _random(search: CurveSearch) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=search.seed)


_ASHA = _rule(EarlyStopping(kind="asha"))
_HYPERBAND = _pruner(lambda epochs: optuna.pruners.HyperbandPruner(1, epochs, 3))
SEARCHERS: dict[str, tuple[Any, Callable[[CurveSearch], Stops], bool]] = {
    "ours": (_ours, _rule(EarlyStopping()), True),
    "ours, no stopping": (_ours, _never, True),
    "ours + asha": (_ours, _ASHA, True),
    "TPE + asha": (_tpe, _ASHA, False),
    "random + asha": (_random, _ASHA, False),
    "TPE + Optuna's hyperband": (_tpe, _HYPERBAND, False),
    "TPE + Tune's hyperband": (_tpe, _tune_hyperband, False),
    "TPE, no stopping": (_tpe, _never, False),
}


def budgets(table: Table) -> list[int]:
    """Those that the table has networks enough for."""
    return [b for b in BUDGETS if b * NETWORKS_A_TRAINING <= len(table.params)]


def searches(seeds: range, searchers: Iterable[str], kept: Path) -> list[dict[str, Any]]:
    """The lines of these searches; those that `kept` lacks are run, and appended at once."""
    lines = kept.read_text().splitlines() if kept.exists() else []
    found = {(r["set"], r["networks"], r["searcher"], r["seed"]): r for r in map(json.loads, lines)}
    tables = {name: Table.load(name) for name in SETS}
    wanted = [
        (name, len(table.params), searcher, seed)
        for seed in seeds
        for name, table in tables.items()
        for searcher in searchers
    ]
    for place in wanted:
        if place not in found:
            name, networks, searcher, seed = place
            row = {"set": name, "networks": networks, "searcher": searcher, "seed": seed}
            row["regrets"] = run(tables[name], searcher, seed)
            found[place] = row
            with kept.open("a") as file:
                file.write(json.dumps(row) + "\n")
    return [found[place] for place in wanted]


def regret_rows(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a set, budget and searcher: its regret, and by how much ours is less, both paired."""
    rows = []
    for name in SETS:
        own = [row for row in found if row["set"] == name]
        by = {
            searcher: np.array([row["regrets"] for row in own if row["searcher"] == searcher])
            for searcher in dict.fromkeys(row["searcher"] for row in own)
        }
        for place in range(len(own[0]["regrets"])):
            for searcher, regrets in by.items():
                row = {"set": name, "networks": own[0]["networks"], "searcher": searcher}
                row |= {"trainings": BUDGETS[place], "n": len(regrets)}
                row["regret"] = mean_and_error(regrets[:, place])
                row["ours - it"] = mean_and_error((by["ours"] - regrets)[:, place])
                rows.append(row)
    return rows


def mean_and_error(values: Array) -> str:
    """The mean and its standard error."""
    return f"{values.mean():.3f} +- {values.std(ddof=1) / len(values) ** 0.5:.3f}"


def main() -> None:
    """Search the kept curves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", default="21000:21053", help="first:end")
    kept = [name for name in SEARCHERS if name != "ours + asha"]  # of those the figures are kept
    parser.add_argument("--searchers", nargs="+", default=kept, choices=SEARCHERS)
    parser.add_argument("--kept", type=Path, default=SEARCHES, help="where the searches are kept")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    first, end = map(int, args.seeds.split(":"))
    found = searches(range(first, end), args.searchers, args.kept)
    note = f"Regret x 100, mean and standard error over the searches. Seeds {args.seeds}."
    keep("curves", regret_rows(found), folder=FOLDER, note=note)


if __name__ == "__main__":
    main()
