import pytest

from experiments.benchmarks.parts.told_epochs import told_epochs
from experiments.config.search_section import EarlyStopping
from experiments.engine.early_stopping import (
    EarlyStopper,
    bracket_of,
    hopeless,
    promotable,
    rungs,
    stops,
)
from experiments.store.trial import Candidate, Trial
from scaler import Cost
from search_spaces import load_architecture

THIRDS = EarlyStopping(kind="asha", first_epoch=1, factor=3)


def at_first_rung(*rewards):
    return {number: {1: reward} for number, reward in enumerate(rewards)}


def test_rungs_grow_by_the_factor_and_end_before_the_last_epoch():
    assert list(rungs(THIRDS, 27)) == [1, 3, 9]
    assert list(rungs(EarlyStopping(kind="asha", first_epoch=2, factor=1.5), 9)) == [2, 3, 5, 7]


@pytest.mark.parametrize(
    ("rewards", "stopped"),
    [
        ([0.5], False),  # the first one goes on
        ([0.5, 0.4], True),
        ([0.4, 0.5], False),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.45], False),  # second of six, two of which go on
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.39], True),  # third of six
        ([0.5, 0.5], False),  # as good as the best
    ],
)
def test_asha_lets_the_best_third_of_those_at_a_rung_go_on(rewards, stopped):
    last = len(rewards) - 1
    assert stops(THIRDS, last, curves=at_first_rung(*rewards), epochs=9) is stopped


def test_nothing_is_stopped_between_rungs_or_at_the_last_epoch():
    bad = {0: dict.fromkeys(range(1, 10), 0.9)}
    assert not stops(THIRDS, 1, curves={**bad, 1: {1: 0.1, 2: 0.1}}, epochs=9)
    assert stops(THIRDS, 1, curves={**bad, 1: {1: 0.1, 2: 0.1, 3: 0.1}}, epochs=9)
    assert not stops(THIRDS, 1, curves={**bad, 1: dict.fromkeys(range(1, 10), 0.1)}, epochs=9)


def test_an_evaluation_that_tells_every_other_epoch_meets_each_rung_once():
    curves = {0: {2: 0.9, 4: 0.9}, 1: {2: 0.1}, 2: {2: 0.1, 4: 0.1}, 3: {2: 0.1, 4: 0.1, 6: 0.1}}
    decided = [stops(THIRDS, number, curves=curves, epochs=9) for number in (1, 2, 3)]
    assert decided == [True, True, False]


def test_hyperband_compares_within_a_bracket_and_one_bracket_is_never_stopped():
    rule = EarlyStopping(kind="hyperband", factor=3)
    brackets = [bracket_of(rule, number, epochs=9) for number in range(100)]
    assert {brackets.count(b) for b in range(3)} <= set(range(15, 60))
    assert brackets.count(0) > brackets.count(1) > brackets.count(2)  # 9/3 : 3/2 : 1
    first = brackets.index(0)
    curves = {number: {1: 0.9} for number in range(100) if brackets[number] != 0}
    assert not stops(rule, first, curves={**curves, first: {1: 0.1}}, epochs=9)
    curves = {number: {1: 0.9} for number in range(100) if brackets[number] == 0}
    assert stops(rule, first, curves={**curves, first: {1: 0.1}}, epochs=9)
    last = brackets.index(2)
    long = {number: dict.fromkeys(range(1, 9), 0.9) for number in range(100)}
    ends = {last: dict.fromkeys(range(1, 9), 0.1)}
    assert not stops(rule, last, curves={**long, **ends}, epochs=9)


def test_median_stops_what_is_below_the_others_running_means():
    rule = EarlyStopping(kind="median", first_epoch=2)
    others = {number: {1: 0.0, 2: reward} for number, reward in enumerate((0.2, 0.4, 0.6, 0.8))}
    # means of the others: 0.1, 0.2, 0.3, 0.4; their median is 0.25
    assert stops(rule, 9, curves={**others, 9: {1: 0.24, 2: 0.2}}, epochs=5)
    assert not stops(rule, 9, curves={**others, 9: {1: 0.26, 2: 0.2}}, epochs=5)
    assert not stops(rule, 9, curves={**others, 9: {1: 0.0}}, epochs=5)  # before first_epoch
    few = {number: others[number] for number in range(3)}
    assert not stops(rule, 9, curves={**few, 9: {1: 0.0, 2: 0.0}}, epochs=5)


def test_the_best_third_at_a_rung_is_promoted_the_best_first():
    rule = EarlyStopping(kind="asha", type="promotion", factor=3)
    two = at_first_rung(0.5, 0.6)
    assert promotable(rule, two, curves=two, epochs=9) is None
    six = at_first_rung(0.0, 0.6, 0.1, 0.5, 0.2, 0.3)
    assert promotable(rule, six, curves=six, epochs=9) == 1
    assert promotable(rule, set(six) - {1}, curves=six, epochs=9) == 3
    assert promotable(rule, set(six) - {1, 3}, curves=six, epochs=9) is None


def test_the_highest_rung_is_promoted_first():
    rule = EarlyStopping(kind="asha", type="promotion", factor=2)
    curves = at_first_rung(0.8, 0.9) | {2: {1: 0.3, 2: 0.3}, 3: {1: 0.2, 2: 0.2}}
    assert promotable(rule, curves, curves=curves, epochs=9) == 2


def test_a_promoted_trial_does_not_rest_at_the_same_rung_again():
    rule = EarlyStopping(kind="asha", type="promotion", factor=2)
    curves = at_first_rung(0.8, 0.9, 0.1)
    assert stops(rule, 2, curves=curves, epochs=9)
    assert not stops(rule, 2, curves=curves, epochs=9, passed=1)


def test_hopeless_is_whom_enough_others_beat_for_good():
    rule = EarlyStopping(kind="asha", type="promotion", factor=3)
    curves = at_first_rung(0.1, 0.2, 0.3)
    assert hopeless(rule, curves, curves=curves, epochs=9, most=6) == [0]
    assert hopeless(rule, curves, curves=curves, epochs=9, most=9) == []


def test_only_rules_with_rungs_promote():
    with pytest.raises(ValueError, match="type 'promotion' is for 'model', 'asha' and 'hyperband'"):
        EarlyStopping(kind="median", type="promotion")


def test_none_stops_nothing():
    curves = at_first_rung(0.9, 0.9, 0.9, 0.0)
    assert not stops(EarlyStopping(kind="none"), 3, curves=curves, epochs=9)


MODEL = EarlyStopping()


def stopper_of(curves, chances, rule=MODEL):
    """A stopper that has seen these curves, with a model that gives these chances."""
    stopper = EarlyStopper(
        rule, epochs=9, ended=[], opened=[], new=9, chances=lambda: dict(enumerate(chances))
    )
    for number, curve in enumerate(curves):
        stopper.begins(trial_of(number, curve))
    return stopper


def trial_of(number, curve):
    architecture = load_architecture("resnet18")
    return Trial(Candidate(architecture, Cost(1, 1, 1), 0, number), epochs=told_epochs(curve))


@pytest.mark.parametrize(("chance", "stopped"), [(0.01, True), (0.5, False)])
def test_the_model_stops_what_is_improbable(chance, stopped):
    curves = [[0.5, 0.6]] * 5
    stopper = stopper_of(curves, [0.3, 0.3, 0.3, 0.3, chance])
    assert stopper.stops(trial_of(4, [0.5, 0.6])) is stopped


@pytest.mark.parametrize(
    ("others", "curve"),
    [(3, [0.1, 0.1]), (6, [0.1] * 3), (6, [0.1] * 9)],
    ids=["too few others", "nobody came so far", "the last epoch"],
)
def test_with_nothing_to_compare_with_the_model_stops_nobody(others, curve):
    stopper = stopper_of([[0.5, 0.6]] * others, [0.0] * 20)
    assert not stopper.stops(trial_of(others, curve))


def test_where_the_model_cannot_tell_nobody_stops():
    assert not stopper_of([[0.5]] * 6, []).stops(trial_of(6, [0.1]))


def test_what_rests_goes_on_once_it_is_probable():
    chances = [0.3, 0.3, 0.01, 0.02]
    rule = EarlyStopping(type="promotion")
    stopper = EarlyStopper(
        rule, epochs=9, ended=[], opened=[], new=9, chances=lambda: dict(enumerate(chances))
    )
    for number in (2, 3):
        stopper.rest(trial_of(number, [0.2, 0.3]))
    assert stopper.promoted() is None
    chances[3] = 0.4
    assert stopper.promoted().candidate.suggestion == 3
    assert stopper.hopeless() == []
    assert stopper.last().candidate.suggestion == 2
