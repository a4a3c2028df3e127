"""What a stopped trial would have reached, and what follows: suggestions and early stopping."""

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from experiments.samplers import encoding, known_cost, make_sampler, recommend
from experiments.samplers.accuracy_model import Learner
from experiments.samplers.known_cost import KnownCost
from experiments.samplers.learning_curves import LearningCurves, compared, marks_of, row_of
from experiments.samplers.optuna_names import replace_trial

EPOCHS = 6


def made_up(count, *, seed=0):
    """Curves (count, 6) that rise to a level of their own, with noise at each epoch."""
    rng = np.random.default_rng(seed)
    levels = rng.normal(1.0, 0.5, size=(count, 1))
    rise = 2.0 * (1 - np.exp(-np.arange(1, EPOCHS + 1) / 2))
    return levels + rise + rng.normal(0, 0.1, size=(count, EPOCHS))


def halved(curves):
    """The better half goes on after the first epoch, and of that half after the third."""
    table = curves.copy()
    for epoch in (1, 3):
        on = np.flatnonzero(np.isfinite(table[:, epoch - 1]))
        weak = on[np.argsort(table[on, epoch - 1])[: len(on) // 2]]
        table[weak, epoch:] = np.nan
    return table


@pytest.mark.parametrize("epoch", [1, 3, 5])
def test_curves_are_foretold_without_bias_and_as_surely_as_told(epoch):
    squares, errors = [], []
    for seed in range(20):
        model = LearningCurves.fit(halved(made_up(40, seed=seed)), range(1, EPOCHS + 1))
        asked = made_up(200, seed=100 + seed)
        ends = asked[:, -1].copy()
        asked[:, epoch:] = np.nan
        mean, variance, _ = model.foretell(asked)
        errors.append((mean - ends).mean())
        squares.append(np.mean((mean - ends) ** 2 / variance))
    assert abs(np.mean(errors)) < 0.2  # of levels that spread by 0.5
    assert 0.3 < np.mean(squares) < 1.5


def test_a_curve_at_its_end_is_known():
    curves = made_up(10)
    model = LearningCurves.fit(curves, range(1, EPOCHS + 1))
    mean, variance, _ = model.foretell(curves)
    assert mean == pytest.approx(curves[:, -1])
    assert (variance == 0).all()


def test_what_a_curve_tells_and_the_usual_network_make_its_forecast():
    model = LearningCurves.fit(halved(made_up(40)), range(1, EPOCHS + 1))
    asked = made_up(20, seed=1)
    asked[:, 2:] = np.nan
    mean, variance, _ = model.foretell(asked)
    (usual,), (spread,), _ = model.foretell(np.full((1, EPOCHS), np.nan))
    told, noise = model.evidence(asked)
    precision = 1 / noise + 1 / spread
    assert 1 / precision == pytest.approx(variance)
    assert (told / noise + usual / spread) / precision == pytest.approx(mean)


def test_a_curve_that_tells_nothing_has_no_weight():
    rng = np.random.default_rng(0)
    ends = rng.normal(1.0, 0.5, size=(400, 1))  # nothing of them is seen before
    model = LearningCurves.fit(np.hstack([rng.normal(0, 0.5, size=(400, 1)), ends]), [1, 100])
    asked = np.array([[0.5, np.nan], [-0.5, np.nan]])
    assert (model.foretell(asked)[1] < 0.3).all()
    assert (model.evidence(asked)[1] > 25 * 0.5**2).all()


@pytest.mark.parametrize("count", [3, 9])
def test_curves_that_are_all_equal_foretell_the_same_again(count):
    table = np.full((count, EPOCHS), np.nan)
    table[:, :3] = 0.0
    model = LearningCurves.fit(table, range(1, EPOCHS + 1))
    mean, variance = model.evidence(table)
    assert mean == pytest.approx(np.zeros(count), abs=1e-6)
    assert np.isfinite(variance).all()


def tabled(curves):
    steps = compared(set().union(*curves))
    return np.array([row_of(curve, steps) for curve in curves]), marks_of(steps)


def test_curves_of_other_steps_and_lengths_stand_in_one_table():
    table, marks = tabled([{1: 0.1, 2: 0.2, 4: 0.4}, {2: 0.5}, {3: 0.6, 4: 0.7}])
    assert marks == [1, 2, 3, 4]
    assert table == pytest.approx(
        np.array([[0.1, 0.2, 0.2, 0.4], [0.5, 0.5, np.nan, np.nan], [0.6, 0.6, 0.6, 0.7]]),
        nan_ok=True,
    )


def test_long_curves_have_few_marks_and_keep_their_last_value():
    table, marks = tabled([{step: step / 1000 for step in range(1, 1001)}, {400: 0.9}])
    assert len(marks) <= 16
    assert (marks[0], marks[-1]) == (1, 1000)
    assert table[0, -1] == 1.0
    assert table[1][np.isfinite(table[1])][-1] == 0.9


def study_of(curves, **sampler):
    """A study whose trials have these curves; those shorter than EPOCHS were stopped."""
    study = optuna.create_study(
        direction="maximize", sampler=make_sampler("cost_aware", seed=0, **sampler)
    )
    for curve in curves:
        trial = study.ask()
        trial.suggest_int("width", 1, 40)
        trial.suggest_categorical("kind", ["a", "b", "c"])
        for epoch, value in enumerate(curve, 1):
            trial.report(value, epoch)
        if len(curve) == EPOCHS:
            study.tell(trial, curve[-1])
        elif len(curve) > 0:
            study.tell(trial, state=TrialState.PRUNED)
    return study


@pytest.mark.parametrize("state", ["stopped", "finished", "running"])
def test_from_the_fifth_trial_on_of_any_state_the_model_proposes(state):
    length = EPOCHS if state == "finished" else 1
    study = study_of([], cost=None)
    proposers = []
    for number in range(8):
        trial = study.ask()
        trial.suggest_int("width", 1, 40)
        proposers.append(study.sampler.proposed_by)
        for epoch in range(1, length + 1):
            trial.report(0.5 + 0.01 * number, epoch)
        if state == "finished":
            study.tell(trial, 0.5 + 0.01 * number)
        elif state == "stopped":
            study.tell(trial, state=TrialState.PRUNED)
    assert proposers == ["random"] * 5 + ["model"] * 3


def test_a_stopped_trial_may_be_recommended_before_a_finished_one():
    rise = np.array([0.2, 0.3, 0.35, 0.38, 0.39, 0.4])
    finished = [0.3 + 0.02 * i + rise for i in range(6)]
    study = study_of([*finished, (0.55 + rise)[:3]])
    best = recommend(study.trials, stopped=True)[0]
    assert best.state == TrialState.PRUNED
    assert recommend(study.trials)[0].state == TrialState.COMPLETE


def test_a_weak_start_is_an_improbable_winner_and_a_strong_one_is_not():
    rise = np.array([0.2, 0.3, 0.35, 0.38, 0.39, 0.4])
    finished = [0.3 + 0.02 * i + rise for i in range(6)]
    study = study_of([*finished, (0.05 + rise)[:2], (0.42 + rise)[:2]])
    chances = Learner(KnownCost()).chances(study, study.trials)
    assert chances[6] < 0.05
    assert chances[7] > max(0.2, 4 * chances[6])


def test_with_too_few_trials_there_are_no_chances():
    study = study_of([[0.5], [0.4], [0.3], [0.6]])
    assert Learner(KnownCost()).chances(study, study.trials) == {}


def whole(study):
    """The trials as a search looks at them: the same object at each look."""
    return study.get_trials(deepcopy=False)


def fresh(study):
    """The chances by one that has kept nothing."""
    return Learner(KnownCost()).chances(study, study.trials)


def test_what_is_kept_of_ended_trials_changes_no_chance():
    kept, study = Learner(KnownCost()), study_of([])
    for number in range(12):
        trial = study.ask()
        trial.suggest_int("width", 1, 40)
        for epoch in (1, 2, 3):
            trial.report(0.4 + 0.02 * (number % 5) + 0.05 * epoch, epoch)
            assert kept.chances(study, whole(study)) == fresh(study)
        if number % 2:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, 0.6)
    first = whole(study)[1]
    longer = create_trial(
        state=TrialState.PRUNED,
        params=first.params,
        distributions=first.distributions,
        intermediate_values={**first.intermediate_values, 4: 0.8},
    )
    before = kept.chances(study, whole(study))
    replace_trial(study, 1, longer)  # as one that rested and goes on
    after = kept.chances(study, whole(study))
    assert after == fresh(study)
    assert after[1] > before[1]


def test_settings_that_were_forgotten_are_looked_up_again(monkeypatch):
    proposed = []
    for most in (10_000, 30):
        monkeypatch.setattr(known_cost, "MOST_REMEMBERED", most)
        monkeypatch.setattr(encoding, "MOST_REMEMBERED", most)
        study = study_of([])
        for number in range(9):
            trial = study.ask()
            trial.suggest_int("width", 1, 40)
            study.tell(trial, 0.5 + 0.01 * (number % 3))
        proposed.append([trial.params for trial in study.trials])
    assert proposed[0] == proposed[1]
