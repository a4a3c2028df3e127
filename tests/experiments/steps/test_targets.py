"""One network a budget: several targets of one search."""

import optuna
import pytest

from experiments import load_front, load_trials
from experiments.config.search_section import EarlyStopping, SearchSection
from experiments.config.sections import ConfirmationSection
from experiments.engine.sampled import SampledCandidates
from experiments.report.report import outcome_of, write_report
from experiments.samplers.accuracy_model import Learner
from experiments.samplers.known_cost import KnownCost
from experiments.steps.confirmation import rounds
from experiments.steps.search import run_search
from experiments.store.trial import Known
from scaler import measure_cost
from search_spaces import load_architecture, load_space

SIZES = {"num_classes": 10, "in_channels": 1}

TARGETS = (6e4, 1.2e5, 2e5)
CONFIRMATION = ConfirmationSection(top=2, seeds=2, rounds=1, share=None, known=())


def costly(architecture, *, seed, **rest):  # noqa: ARG001
    """Wide heads are better by more than they cost; a seed adds a little."""
    layers = sum(stage.layers for stage in architecture.stages)
    return 0.4 + architecture.head.channels / 2000 + layers / 100 + seed % 7 / 1e4


@pytest.fixture
def several(config, by_hand):
    """A search with three targets, done by hand: its session, after it has ended."""

    def run(evaluate=costly, confirmation=CONFIRMATION, folder=config.run, **section):
        changed = config.search.replace(targets=TARGETS, **section)
        begun = config.replace(search=changed, confirmation=confirmation, run=folder)
        session = by_hand(begun, evaluate)
        run_search(session)
        return session

    return run


@pytest.mark.parametrize("at", ["formula", "budget"])
@pytest.mark.parametrize("sampler", ["random", "cost_aware", "tpe"])
def test_trials_take_the_targets_in_turn(several, config, sampler, at):
    several(sampler=sampler, at=at)
    trials = load_trials(config.run, study="search").sort_values("number")
    assert trials["target"].tolist() == [*TARGETS] * 4
    share = trials["flops"] / trials["target"]
    assert (share <= 1.02).all()
    assert not trials.duplicated("key").any()
    if at == "budget":
        assert (share >= 0.98).all()


@pytest.mark.parametrize("at", ["formula", "budget"])
def test_a_stopped_search_goes_on_as_if_it_had_not_been(several, config, tmp_path, at):
    def keys(folder):
        return load_trials(folder, study="search")["key"].tolist()

    several(sampler="cost_aware", at=at, trials=7, confirmation=None)
    several(sampler="cost_aware", at=at, trials=10, confirmation=None)
    several(sampler="cost_aware", at=at, trials=10, confirmation=None, folder=tmp_path / "whole")
    assert keys(config.run) == keys(tmp_path / "whole")


def named(folder, name):
    return load_architecture(str(folder / name)).key


@pytest.mark.parametrize("at", ["formula", "budget"])
def test_each_target_has_its_network_confirmed_from_the_same_trials(several, config, at):
    several(at=at, trials=18)
    trials = load_trials(config.run)
    again = trials[trials["study"] == "confirmation"]
    means = again.groupby(["key", "target", "flops"])["reward"].mean().reset_index()
    files = ("baseline_60k.yaml", "baseline_120k.yaml", "baseline.yaml")
    for target, file in zip(TARGETS, files, strict=True):
        counts = means["target"] == target if at == "budget" else means["flops"] <= 1.01 * target
        own = means[counts].set_index("key")["reward"]
        assert own[named(config.run, file)] == pytest.approx(own.max())
    assert not again.duplicated(["key", "seed"]).any()  # one training serves all targets
    front = load_front(config.run)
    assert front["target"].dropna().tolist() == [*TARGETS]
    assert front["baseline"].dropna().tolist() == [*files]
    assert (front["seeds"] == 2).all()
    assert (front["accuracy_low"] < front["accuracy"]).all()
    on_it = front[front["pareto"]].sort_values("cost")
    assert on_it["accuracy"].is_monotonic_increasing


def test_the_front_is_of_those_that_no_other_beats(several, config):
    several(trials=18)
    front = load_front(config.run).drop_duplicates("contender")
    for _, row in front.iterrows():
        cheaper, better = front["cost"] < row["cost"], front["accuracy"] > row["accuracy"]
        no_dearer, no_worse = front["cost"] <= row["cost"], front["accuracy"] >= row["accuracy"]
        beats = (cheaper & no_worse) | (better & no_dearer)
        assert row["pareto"] == (not beats.any())


def test_the_result_tells_each_target_and_the_page_draws_them(several, config):
    session = several(trials=9)
    told = outcome_of(session.folder)
    for text, start, file in zip(
        told, ("60 k", "120 k", "200 k"), ("_60k", "_120k", ""), strict=False
    ):
        assert text.startswith(f"For {start}FLOPs: #")
        assert f"in baseline{file}.yaml" in text
        assert "standard error of 2 seeds" in text
    page = write_report(session.folder).read_text()
    assert 'id="front"' in page
    assert "named for a target" in page
    assert (config.run / "tables" / "front.csv").exists()


def test_a_stated_main_target_is_the_baseline(several, config):
    several(target=TARGETS[0])
    assert named(config.run, "baseline.yaml") != named(config.run, "baseline_200k.yaml")
    assert load_front(config.run)["baseline"][0] == "baseline.yaml"


def test_without_a_confirmation_the_best_finished_is_named(several, config):
    several(confirmation=None)
    trials = load_trials(config.run)
    for target, file in zip(TARGETS, ("_60k", "_120k", ""), strict=True):
        best = trials[trials["flops"] <= 1.01 * target].sort_values("reward").iloc[-1]
        assert named(config.run, f"baseline{file}.yaml") == best["key"]
    assert (load_front(config.run)["seeds"] == 1).all()


def test_one_listed_target_is_the_target():
    assert SearchSection.model_validate({"targets": [5e6]}) == SearchSection(target=5e6)


def test_one_budget_of_units_is_read_as_numbers_are():
    read = SearchSection.model_validate
    assert read({"targets": ["5M", "15M"]}) == SearchSection(targets=(5e6, 15e6), target=15e6)
    assert read({"target_flops": "5M", "min_flops": "1M"}) == SearchSection(
        target=5e6, min_flops=1e6
    )


def test_quartiles_that_are_one_are_a_front_of_one():
    section = SearchSection(front=True).replace(targets=(5e6,), target=5e6)
    assert section.budgets == (5e6,)


def test_a_rule_that_compares_all_trials_is_refused_beside_several_targets():
    with pytest.raises(ValueError, match="kind 'asha' compares all trials"):
        SearchSection(targets=(5e6, 1e7), early_stopping=EarlyStopping(kind="asha"))


def test_known_networks_are_trained_for_whichever_target_lets_them_in(config):
    space, rows = load_space("mbconv_small").at(8), []
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    while len(rows) < 6:
        trial = study.ask()
        if measure_cost(space.suggest(trial), **SIZES).flops <= TARGETS[-1]:
            rows.append(Known(f"k#{len(rows)}", trial.params, None))
    section = config.search.replace(targets=TARGETS, target=TARGETS[-1], early_stopping=None)
    drawn = SampledCandidates(space, section=section, seed=0, finished=[], enqueued=rows, **SIZES)
    found = [drawn.next() for _ in rows]
    assert [one.attributes.get("origin") for one in found] == [row.origin for row in rows]
    for one in found:
        assert one.cost.flops <= 1.01 * one.attributes["target"]


@pytest.mark.parametrize("share", [0.5, 1.0, None])
def test_the_confirmation_of_all_targets_keeps_to_its_share(share):
    section = ConfirmationSection(share=share)
    plan = rounds(
        section, networks=4, epochs=5, spent=100, budgets=3, distinct=(0, 3, 5, 7, 9).__getitem__
    )
    cost = sum(one.cost for one in plan)
    assert plan
    if share is None:
        assert cost > 100  # nothing is given up
    else:
        assert cost <= share * 100
    assert plan[0].networks == (0, 3, 5, 7, 9)[plan[0].each]


def test_what_is_best_of_a_small_budget_is_not_stopped_beside_a_larger_one():
    known = KnownCost(lambda params: params["size"], target=12.0, exponent=0.0)
    study = optuna.create_study(direction="maximize")
    size = optuna.distributions.IntDistribution(1, 12)
    for number in range(1, 13):
        made = {"params": {"size": number}, "distributions": {"size": size}}
        study.add_trial(optuna.create_trial(value=0.5 + 0.03 * number, **made))
    trials = study.get_trials()
    alone = Learner(known).chances(study, trials)
    several = Learner(known).chances(study, trials, windows=[(0, 5), (0, 12)])
    assert alone[4] < 0.05 < several[4]  # of size 5
    assert several[3] < several[4]
    assert several[11] == pytest.approx(alone[11])
