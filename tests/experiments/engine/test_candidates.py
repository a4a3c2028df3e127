import statistics
from dataclasses import replace

import optuna
import pytest

from experiments.benchmarks.parts.told_epochs import told_epochs
from experiments.config.search_section import SearchSection
from experiments.engine.limits import check_limits, flops_at
from experiments.engine.sampled import SampledCandidates
from experiments.samplers.known_cost import reward
from experiments.store.trial import Trial
from scaler import measure_cost
from search_spaces import InputError, SearchSpace, load_space

SIZES = {"num_classes": 10, "in_channels": 1}


def sampled(section, *, finished=(), space=None, seed=0):
    space = space or load_space("mbconv_small").at(8)
    return SampledCandidates(space, section=section, seed=seed, finished=list(finished), **SIZES)


def test_nothing_outside_the_flops_window_is_handed_out():
    source = sampled(SearchSection(sampler="random", min_flops=2e5, max_flops=4e5))
    candidates = [source.next() for _ in range(20)]
    costs = [measure_cost(c.architecture, **SIZES) for c in candidates]
    assert [c.cost for c in candidates] == costs
    assert all(2e5 <= cost.flops <= 4e5 for cost in costs)
    assert source.screened_by.total() > 0


@pytest.mark.parametrize("sampler", ["cost_aware", "grid", "tpe", "random"])
def test_no_network_is_handed_out_twice(sampler):
    source = sampled(SearchSection(sampler=sampler))
    keys = []
    for i in range(40):
        candidate = source.next()
        keys.append(candidate.architecture.key)
        accuracy = 0.9 if candidate.params["head.channels"] == 64 else 0.1
        source.tell(
            candidate,
            Trial(candidate, epochs=told_epochs((0.1 * i,))).ended("complete", accuracy).frozen(),
        )
    assert len(set(keys)) == 40


def test_a_space_is_exhausted_when_all_its_networks_were_handed_out(small):
    tree = small.model_dump(mode="json")
    tree["head"]["channels"] = {"choice": [16, 32, 64]}
    source = sampled(SearchSection(sampler="random"), space=SearchSpace("three", tree))
    assert [source.next() is not None for _ in range(5)] == [True, True, True, False, False]


def test_same_seed_gives_the_same_candidates():
    one, two = (sampled(SearchSection(), seed=4) for _ in range(2))
    first = [one.next().architecture.key for _ in range(15)]
    assert first == [two.next().architecture.key for _ in range(15)]
    three = sampled(SearchSection(), seed=5)
    assert first != [three.next().architecture.key for _ in range(15)]


def test_a_continued_search_repeats_none_of_the_stored_networks():
    source = sampled(SearchSection(sampler="random"))
    done = []
    for _ in range(10):
        candidate = source.next()
        done.append(Trial(candidate, epochs=told_epochs((0.5,))).ended("complete", 0.5).frozen())
    more = sampled(SearchSection(sampler="random"), finished=done)
    new = {more.next().architecture.key for _ in range(10)}
    assert not new & {trial.user_attrs["key"] for trial in done}


def test_the_sampler_learns_from_rewards():
    """TPE, told that head.channels 64 is good, asks for it more often than a third of the time."""
    source = sampled(SearchSection(sampler="tpe"))
    picked = []
    for _ in range(60):
        candidate = source.next()
        picked.append(candidate.params["head.channels"])
        accuracy = 0.9 if picked[-1] == 64 else 0.2
        source.tell(
            candidate,
            Trial(candidate, epochs=told_epochs((accuracy,))).ended("complete", accuracy).frozen(),
        )
    assert picked[30:].count(64) > 20


def test_reward_is_the_papers_formula():
    assert reward(0.8, 4e8, target=4e8) == 0.8
    assert reward(0.8, 8e8, target=4e8) == pytest.approx(0.8 * 2**-0.07)
    assert reward(0.8, 8e8, target=4e8, exponent=0.0) == 0.8


@pytest.mark.parametrize(("cost", "target"), [(0, 1), (1, 0), (1, -1), (float("nan"), 1)])
def test_reward_refuses_what_is_not_positive(cost, target):
    with pytest.raises(InputError, match="must be a positive number"):
        reward(0.5, cost, target=target)


@pytest.mark.parametrize("sampler", ["cost_aware", "local_search", "regularized_evolution"])
def test_a_sampler_with_the_stored_trials_alone_suggests_what_the_uninterrupted_one_does(sampler):
    """Also past 200 trials, and where many draws are thrown back as they lie outside the limits."""
    section = SearchSection(sampler=sampler, min_flops=1e5, max_flops=6e5, max_params=20_000)
    first = sampled(SearchSection(sampler="random", max_params=20_000))
    finished = [ended(first, first.next()) for _ in range(210)]
    source = sampled(section, finished=finished)
    for _ in range(4):
        finished.append(ended(source, source.next()))
    again = sampled(section, finished=finished)
    assert again.next().params == source.next().params


def ended(source, candidate):
    """The trial that it becomes: more parameters are better, up to a point."""
    accuracy = min(0.9, 0.3 + candidate.cost.params / 40_000)
    trial = Trial(candidate, epochs=told_epochs((accuracy,))).ended("complete", accuracy).frozen()
    source.tell(candidate, trial)
    return trial


@pytest.mark.parametrize(
    "sampler",
    ["cost_aware", "grid", "local_search", "nsga2", "random", "regularized_evolution", "tpe"],
)
def test_a_tight_limit_costs_no_trial_and_the_same_seed_gives_the_same(sampler):
    """At 8 px the cheapest network has 50,176 FLOPs; hardly any random one has 90,000 or fewer."""
    section = SearchSection(sampler=sampler, max_flops=9e4)
    first, second = sampled(section), sampled(section)
    finished = [ended(first, first.next()) for _ in range(8)]
    assert len({trial.user_attrs["key"] for trial in finished}) == 8
    assert max(trial.user_attrs["flops"] for trial in finished) <= 9e4
    assert [ended(second, second.next()).params for _ in range(8)] == [t.params for t in finished]
    assert sampled(section, finished=finished[:7]).next().params == finished[7].params


@pytest.mark.parametrize("limits", [{}, {"max_flops": 5e5}, {"max_flops": 9e4}])
def test_the_median_is_of_the_networks_within_the_limits_whatever_the_seed(limits):
    """At 9e4 FLOPs hardly a random network lies within: walks find them."""
    section = SearchSection(space="mbconv_small", resolution=8, **limits)
    target = flops_at(section, 0.5, **SIZES)[0]
    assert target == flops_at(section.replace(sampler="tpe"), 0.5, **SIZES)[0]
    members = load_space("mbconv_small").at(8).members(2000, seed=7)
    flops = [measure_cost(member, **SIZES).flops for member in members]
    within = [f for f in flops if f <= section.max_flops]
    expected = statistics.median(within)
    assert target == pytest.approx(expected, rel=0.25)
    assert target == float(f"{target:.1e}")


def test_all_of_a_space_that_is_too_large_to_count_is_found_within_narrow_limits():
    """Only the cheapest network is within; 2 x 2 x 2 choices of its training cost nothing."""
    tree = load_space("mbconv_small").at(8)
    choices = {"learning_rate": {"choice": [0.1, 0.2]}, "weight_decay": {"choice": [0.0, 1e-4]}}
    space = SearchSpace("tight", tree.tree, {**choices, "momentum": {"choice": [0.8, 0.9]}})
    source = sampled(SearchSection(sampler="random", max_flops=50_176), space=space)
    assert [source.next() is not None for _ in range(9)] == [True] * 8 + [False]
    assert "no more networks were found in space 'tight' within its limits" in source.ended


def test_at_the_budget_every_candidate_is_its_shape_scaled_to_the_target():
    section = SearchSection(target=3e5, at="budget")
    source = sampled(section)
    candidates = [source.next() for _ in range(12)]
    assert all(abs(c.cost.flops / 3e5 - 1) <= 0.02 for c in candidates)
    assert len({c.architecture.key for c in candidates}) == 12
    space = load_space("mbconv_small").at(8)
    shapes = [space.suggest(optuna.trial.FixedTrial(c.params)) for c in candidates]
    assert [c.params["head.channels"] for c in candidates] == [s.head.channels for s in shapes]
    assert {shape.key for shape in shapes} != {c.architecture.key for c in candidates}


def test_shapes_that_cannot_reach_the_target_are_thrown_back_by_name():
    source = sampled(SearchSection(sampler="random", target=9e4, at="budget"))
    candidates = [source.next() for _ in range(5)]
    assert all(abs(c.cost.flops / 9e4 - 1) <= 0.02 for c in candidates)
    assert set(source.screened_by) == {"unreached"}


def test_limits_at_the_budget_are_of_the_scaled_network():
    section = SearchSection(sampler="random", target=3e5, at="budget", max_params=20_000)
    source = sampled(section)
    assert all(source.next().cost.params <= 20_000 for _ in range(5))
    assert source.screened_by["outside"] > 0


@pytest.mark.parametrize("limits", [{"target": 10}, {"target": 3e5, "max_params": 9}])
def test_a_budget_that_no_shape_reaches_is_refused_before_the_search(limits):
    section = SearchSection(resolution=8, at="budget", **limits)
    with pytest.raises(InputError, match=r"none of 30 random networks .* can be scaled to the"):
        check_limits(section, **SIZES)


def test_shapes_that_become_one_network_are_tried_once(small):
    """Of three widths that are scaled to one budget, and of which two become equal."""
    tree = small.model_dump(mode="json")
    tree["stages"][0]["channels"] = {"choice": [8, 16, 24]}
    space = SearchSpace("three", tree)
    target = measure_cost(space.members(1, seed=0)[0], **SIZES).flops
    section = SearchSection(sampler="random", target=target, at="budget")
    source = sampled(section, space=space)
    keys = [c.architecture.key for c in iter(source.next, None)]
    assert 1 <= len(keys) == len(set(keys)) <= 3
    assert source.next() is None
    assert source.ended == "there are no more networks in space 'three'"


def test_a_continued_search_at_the_budget_proposes_what_the_uninterrupted_one_would_have():
    section, done = SearchSection(target=3e5, at="budget"), []
    source = sampled(section)
    for number in range(8):
        candidate = source.next()
        done.append(Trial(candidate).ended("complete", 0.3 + number % 3 / 10).frozen())
        source.tell(candidate, done[-1])
    assert sampled(section, finished=done).next().params == source.next().params


def stopped(trial):
    """A resting trial as the searcher shows it to the sampler."""
    return trial.ended("pruned", trial.epochs[-1].accuracy).frozen()


def test_with_resting_and_promoted_trials_a_continued_search_proposes_the_same():
    section = SearchSection(min_flops=1e5, max_flops=6e5)
    source, finished, resting = sampled(section), [], []
    for number in range(12):
        candidate = source.next()
        trial = Trial(candidate, epochs=told_epochs((0.3 + 0.02 * number, 0.4 + 0.02 * number)))
        source.report(trial)
        if number % 3 == 0:
            finished.append(trial.ended("complete", trial.epochs[-1].accuracy).frozen())
            source.tell(candidate, finished[-1])
        else:
            source.rest(candidate, stopped(trial))
            resting.append(trial)
    promoted = replace(resting.pop(), epochs=told_epochs((0.5, 0.6, 0.7)))
    source.report(promoted)
    again = sampled(section, finished=finished)
    again.reopen([*resting, promoted])
    for trial in resting:
        again.rest(trial.candidate, stopped(trial))
    assert again.chances() == source.chances()
    assert again.next().params == source.next().params
