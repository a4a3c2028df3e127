"""Searches over kept learning curves: what early stopping and the model are worth at equal epochs.

    python -m experiments.benchmarks.curves --seeds 0:100
    python -m experiments.benchmarks.curves --train digits 400 --runs FILE

The table (results/curves.jsonl.gz) holds random networks of `mbconv_small`, each trained for the
full length with two seeds; `--train` makes it (and goes on after a stop). A search over it costs no
training: a suggestion stands for the nearest network of the table that the search has not tried,
and the search's seed says which of its trainings it sees. All searchers count the epochs that they
spend; at 10, 20 and 40 full trainings' worth each names the network that it would recommend,
and the regret is 100 times what that network's mean reward falls short of the best one's. Ours
recommends by its model, stopped networks among them (as the confirmation takes its contenders); a
rival its best finished network, or the best of the stopped ones where none is finished.
Seeds 1,000 to 1,015 were looked at while the rule was made; `chance` was not tuned on them, as they
do not tell its values apart.
"""

import argparse
import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from experiments.benchmarks import keep
from experiments.benchmarks.regret import interval
from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig, EarlyStopping
from experiments.engine.early_stopping import EarlyStopper
from experiments.samplers import make_sampler, recommend
from experiments.samplers.accuracy_model import Learner
from experiments.samplers.known_cost import KnownCost
from experiments.store.trial import Candidate, EpochResult, Trial
from scaler.cost import Cost, measure_cost
from search_spaces.architecture import Architecture
from search_spaces.reference import load_architecture
from search_spaces.space import load_space

FOLDER = Path(__file__).with_name("results")
TABLE = FOLDER / "curves.jsonl.gz"
BUDGETS = (10, 20, 40)
# The sets: data, the resolution and epochs of a full training, the window of FLOPs, the target.
SETS: dict[str, dict[str, Any]] = {
    "digits": {
        "data": {"source": "digits", "flip": False, "crop_padding": 1},
        "resolution": 16,
        "epochs": 9,
        "window": (2e5, 2e6),
        "train": {"batch_size": 64, "learning_rate": 0.1},
    },
    "cifar10": {
        "data": {"source": "cifar10", "train_limit": 2500, "validation_limit": 1000},
        "resolution": 16,
        "epochs": 9,
        "window": (3e5, 3e6),
        "train": {"batch_size": 64, "learning_rate": 0.1},
    },
}
TARGET = 1e6
EXPONENT = -0.07
REDRAWS = 10

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Networks by their parameters, with the curves of their trainings (N, seeds, epochs)."""

    distributions: dict[str, optuna.distributions.CategoricalDistribution]
    params: list[dict[str, Any]]
    places: Array  # (N, P) of the parameters' values among their choices, 0 to 1
    flops: Array  # (N,)
    curves: Array

    @classmethod
    def load(cls, name: str, path: Path = TABLE) -> Self:
        """The table of a set; networks that lack a training are left out."""
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            rows = [row for row in map(json.loads, file) if row["set"] == name]
        by_key: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            by_key.setdefault(row["key"], []).append(row)
        most = max(len(found) for found in by_key.values())
        whole = [found for found in by_key.values() if len(found) == most]
        params = [found[0]["params"] for found in whole]
        values = {n: sorted({p[n] for p in params if n in p}) for p in params for n in p}
        kinds = {n: optuna.distributions.CategoricalDistribution(v) for n, v in values.items()}
        places = np.array([cls._placed(values, p) for p in params])
        return cls(
            distributions=kinds,
            params=params,
            places=places,
            flops=np.array([found[0]["flops"] for found in whole], dtype=float),
            curves=np.array([[row["curve"] for row in found] for found in whole]),
        )

    @staticmethod
    def _placed(values: dict[str, list[Any]], params: dict[str, Any]) -> list[float]:
        return [v.index(params[n]) / max(len(v) - 1, 1) for n, v in values.items()]

    def order(self, params: dict[str, Any]) -> npt.NDArray[np.intp]:
        """The networks, the nearest to these parameters first."""
        values = {name: list(kind.choices) for name, kind in self.distributions.items()}
        away = np.abs(self.places - np.array(self._placed(values, params))).sum(axis=1)
        return np.argsort(away, kind="stable")

    @property
    def factors(self) -> Array:
        """(FLOPs / T)^w of each network."""
        return (self.flops / TARGET) ** EXPONENT

    @property
    def regrets(self) -> Array:
        """100 times what each network's mean reward falls short of the best."""
        rewards = self.curves[:, :, -1].mean(axis=1) * self.factors
        return 100 * (rewards.max() - rewards)


@dataclass
class Search:
    """One search: the trials so far, as the product's parts see them, and the epochs spent."""

    table: Table
    study: optuna.Study
    seed: int
    spent: int = 0
    networks: list[int] = field(default_factory=list)  # of the trials, in order

    def nearest(self, params: dict[str, Any]) -> int:
        """The nearest network of the table."""
        return int(self.table.order(params)[0])

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
                trial.set_user_attr("thrown_back", True)
                self.study.tell(trial, state=TrialState.FAIL)
            else:
                order = self.table.order(trial.params)
                network = int(next(n for n in order if int(n) not in self.networks))
        self.networks.append(network)
        trial.set_user_attr("network", network)
        return trial, network


Stops = Callable[[Search, optuna.Trial, int], bool]


def run(table: Table, searcher: str, seed: int) -> list[float]:
    """The regrets of what a search recommends at each of `BUDGETS`."""
    make, make_stops, by_model = SEARCHERS[searcher]
    search = Search(table, optuna.create_study(direction="maximize"), seed)
    search.study.sampler = make(search)
    stops = make_stops(search)
    epochs = table.curves.shape[2]
    regrets: list[float] = []
    while len(regrets) < len(BUDGETS) and len(search.networks) < len(table.params):
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
        while len(regrets) < len(BUDGETS) and search.spent >= BUDGETS[len(regrets)] * epochs:
            regrets.append(float(table.regrets[recommended(search, by_model=by_model)]))
    while len(regrets) < len(BUDGETS):
        regrets.append(float(table.regrets[recommended(search, by_model=by_model)]))
    return regrets


def recommended(search: Search, *, by_model: bool) -> int:
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


def known_cost(search: Search) -> Callable[[dict[str, Any]], float]:
    """The FLOPs of the network that the parameters stand for."""
    return lambda params: float(search.table.flops[search.nearest(params)])


def _ours(search: Search) -> BaseSampler:
    return make_sampler(
        "cost_aware",
        cost=known_cost(search),
        target=TARGET,
        exponent=EXPONENT,
        network=search.nearest,
        seed=search.seed,
    )


def _never(_: Search) -> Stops:
    return lambda _search, _trial, _epoch: False


def _rule(rule: EarlyStopping) -> Callable[[Search], Stops]:
    """Our early stopping, as the engine runs it."""

    def make(search: Search) -> Stops:
        cost = KnownCost(known_cost(search), target=TARGET, exponent=EXPONENT)
        learner = Learner(cost)

        def chances() -> dict[int, float]:
            trials = search.study.get_trials(deepcopy=False)
            begun = [t for t in trials if "thrown_back" not in t.user_attrs]
            return learner.chances(search.study, begun)

        stopper = EarlyStopper(
            rule,
            epochs=search.table.curves.shape[2],
            ended=[],
            opened=[],
            new=10_000,
            chances=chances,
        )

        def stops(search: Search, trial: optuna.Trial, epoch: int) -> bool:
            network = search.networks[-1]
            told = tuple(
                EpochResult(e, float(v)) for e, v in enumerate(search.curve(network)[:epoch], 1)
            )
            candidate = Candidate(_ANY, Cost(1, 1, 1), seed=0, suggestion=trial.number)
            return stopper.stops(Trial(candidate, told))

        return stops

    return make


_ANY = load_architecture("resnet18")  # no rule looks at it


def _pruner(make: Callable[[int], optuna.pruners.BasePruner]) -> Callable[[Search], Stops]:
    """A pruner of Optuna's."""

    def made(search: Search) -> Stops:
        search.study.pruner = make(search.table.curves.shape[2])
        return lambda _search, trial, _epoch: trial.should_prune()

    return made


def _tune_hyperband(search: Search) -> Stops:
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

    def stops(search: Search, trial: optuna.Trial, epoch: int) -> bool:
        if trial.number not in known:
            known[trial.number] = Named(trial.number)
            scheduler.on_trial_add(None, known[trial.number])
        value = float(search.curve(search.networks[-1])[epoch - 1])
        result = {"training_iteration": epoch, "value": value}
        decision = scheduler.on_trial_result(None, known[trial.number], result)
        return decision == scheduler.STOP

    return stops


def _tpe(search: Search) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=search.seed, multivariate=True)


def _random(search: Search) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=search.seed)


_ASHA = _rule(EarlyStopping(kind="asha"))
_HYPERBAND = _pruner(lambda epochs: optuna.pruners.HyperbandPruner(1, epochs, 3))
SEARCHERS: dict[str, tuple[Any, Callable[[Search], Stops], bool]] = {
    "ours": (_ours, _rule(EarlyStopping()), True),
    "ours, no stopping": (_ours, _never, True),
    "ours + asha": (_ours, _ASHA, True),
    "TPE + asha": (_tpe, _ASHA, False),
    "random + asha": (_random, _ASHA, False),
    "TPE + Optuna's hyperband": (_tpe, _HYPERBAND, False),
    "TPE + Tune's hyperband": (_tpe, _tune_hyperband, False),
    "TPE, no stopping": (_tpe, _never, False),
}


def members(name: str, count: int, **sizes: int) -> Iterator[tuple[dict[str, Any], Architecture]]:
    """The first `count` distinct random networks within the window, with their parameters."""
    chosen = SETS[name]
    space = load_space("mbconv_small").at(chosen["resolution"])
    low, high = chosen["window"]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen: set[str] = set()
    while len(seen) < count:
        trial = study.ask()
        architecture = space.suggest(trial)
        flops = measure_cost(architecture, **sizes).flops
        if architecture.key not in seen and low <= flops <= high:
            seen.add(architecture.key)
            yield dict(trial.params), architecture


def train(name: str, networks: int, file: Path, *, seeds: int = 2) -> None:
    """Train what `file` lacks; each finished training is appended at once."""
    from experiments.data.sources import load_data
    from experiments.training.training import Training

    chosen = SETS[name]
    config = DataConfig.parse(chosen["data"], source=name)
    data = load_data(config, seed=0)
    sizes = {"num_classes": data.num_classes, "in_channels": data.channels}
    lines = file.read_text().splitlines() if file.exists() else []
    done = {(row["key"], row["seed"]) for row in map(json.loads, lines) if row["set"] == name}
    for params, architecture in members(name, networks, **sizes):
        for seed in range(seeds):
            if (architecture.key, seed) in done:
                continue
            training = Training(
                architecture=architecture,
                data=data,
                data_config=config,
                config=TrainConfig.parse(chosen["train"], source=name),
                epochs=chosen["epochs"],
                seed=seed,
            )
            curve = [round(result.accuracy, 6) for result in training.run()]
            flops = measure_cost(architecture, **sizes).flops
            row = {"set": name, "key": architecture.key, "seed": seed, "params": params}
            with file.open("a") as appended:
                appended.write(json.dumps({**row, "flops": flops, "curve": curve}) + "\n")


def regret_rows(name: str, seeds: range, searchers: Iterable[str]) -> list[dict[str, Any]]:
    """A row a searcher: its regrets at each budget, and the paired difference to ours."""
    table = Table.load(name)
    found = {one: np.array([run(table, one, seed) for seed in seeds]) for one in searchers}
    rows = []
    for one, regrets in found.items():
        row: dict[str, Any] = {"set": name, "networks": len(table.params), "searcher": one}
        row["n"] = len(seeds)
        for place, budget in enumerate(BUDGETS):
            row[f"at {budget}"] = interval(regrets[:, place])
            row[f"ours - it, at {budget}"] = interval((found["ours"] - regrets)[:, place])
        rows.append(row)
    return rows


def main() -> None:
    """Search the kept curves, or make them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", default="0:100", help="first:end")
    parser.add_argument("--searchers", nargs="+", default=list(SEARCHERS), choices=SEARCHERS)
    parser.add_argument("--train", nargs=2, metavar=("SET", "NETWORKS"))
    parser.add_argument("--runs", type=Path, help="where --train appends its lines")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if args.train:
        train(args.train[0], int(args.train[1]), args.runs)
        return
    first, end = map(int, args.seeds.split(":"))
    rows = [row for name in SETS for row in regret_rows(name, range(first, end), args.searchers)]
    keep("curves", rows, folder=FOLDER, note=f"Regret x 100. Seeds {args.seeds}.")


if __name__ == "__main__":
    main()
