"""The private names of Optuna: a release without one of them fails here, with its name."""

import optuna
import pytest
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.storages import InMemoryStorage
from optuna.trial import create_trial

from experiments.samplers.optuna_names import holds, replace_trial, reseed, stop


def test_every_private_name_exists():
    study = optuna.create_study()
    assert hasattr(LazyRandomState(0), "rng")
    assert study._thread_local.in_optimize_loop is False
    assert callable(BaseDistribution._contains)
    assert callable(InMemoryStorage._set_trial)
    assert callable(InMemoryStorage._update_cache)


def test_an_ended_trial_is_replaced_where_it_stands():
    study = optuna.create_study(direction="maximize")
    study.add_trials([create_trial(value=v) for v in (0.1, 0.2, 0.3)])
    replace_trial(study, 1, create_trial(value=0.9))
    assert [(t.number, t.value) for t in study.trials] == [(0, 0.1), (1, 0.9), (2, 0.3)]
    assert study.best_trial.number == 1
    assert study.ask().number == 3


def test_stop_outside_a_loop_does_nothing_and_inside_ends_it():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    stop(study)

    def once(trial):
        stop(trial.study)
        return 0.0

    study.optimize(once, n_trials=5)
    assert len(study.trials) == 1


@pytest.mark.parametrize(("value", "held"), [(3, True), (4, False), (9, False), ("x", False)])
def test_a_value_off_the_steps_or_of_another_type_does_not_fit(value, held):
    assert holds(IntDistribution(1, 5, step=2), value) is held


@pytest.mark.parametrize("name", ["RandomSampler", "TPESampler", "GPSampler", "NSGAIISampler"])
def test_a_reseeded_sampler_of_optuna_draws_as_a_fresh_one(name):
    """Its generators are found, wherever Optuna keeps them."""
    draws = []
    for seed in (1, 2):
        sampler = getattr(optuna.samplers, name)(seed=seed)
        study = optuna.create_study(sampler=sampler)
        reseed(sampler, (7, 0))
        draws.append([study.ask().suggest_float("x", 0, 1) for _ in range(3)])
    assert draws[0] == draws[1]
