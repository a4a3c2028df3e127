"""What is known before a search: read from where it is, checked, tried first or told."""

import shutil

import optuna
import pytest

from experiments import load_trials, search
from experiments.benchmarks.parts.told_epochs import told_epochs
from experiments.config.search_section import WarmStart
from experiments.config.sections import ConfirmationSection
from experiments.steps.search import check_search, run_search
from experiments.steps.warm_start import read_warm_start
from experiments.store.store import Store
from experiments.store.trial import Candidate, Trial
from scaler import Cost, measure_cost
from search_spaces import InputError, SearchSpace, load_space

SIZES = {"num_classes": 10, "in_channels": 1}
SPACE = load_space("mbconv_small").at(8)


@pytest.fixture
def tiny(small):
    """A space of two choices."""
    tree = small.model_dump(mode="json")
    tree["head"]["channels"] = {"choice": [16, 32]}
    tree["drop_connect"] = {"choice": [0, 0.2]}
    return SearchSpace("tiny", tree)


def read(path, text, space, **section):
    path.write_text(text)
    return read_warm_start(WarmStart(source=path, **section), space)


def test_a_csv_gives_the_spaces_own_values_and_may_leave_some_out(tmp_path, tiny):
    rows = "head.channels,drop_connect,accuracy\n32.0,0.2,0.75\n16,,\n"
    first, second = read(tmp_path / "known.csv", rows, tiny)
    assert first.params == {"head.channels": 32, "drop_connect": 0.2}
    assert (first.origin, first.accuracy) == ("known.csv:2", 0.75)
    assert type(first.params["head.channels"]) is int
    assert (second.params, second.accuracy) == ({"head.channels": 16}, None)


def test_optunas_own_table_is_read(tmp_path, tiny):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: tiny.suggest(trial).head.channels, n_trials=3)
    study.trials_dataframe().to_csv(tmp_path / "optuna.csv")
    known = read_warm_start(WarmStart(source=tmp_path / "optuna.csv"), tiny)
    assert [row.params for row in known] == [trial.params for trial in study.trials]


BAD = [
    ("head.chanels\n16\n", {}, "known.csv:2 has 'head.chanels', which is no parameter of space 't"),
    ("params_x\n16\n", {}, "has 'x', which is no parameter of space 'tiny'"),
    ("head.channels\n24\n", {}, r"head\.channels = 24, but space 'tiny' has 16, 32"),
    ("head.channels\n", {}, "holds no finished trial"),
    ("head.channels,accuracy\n16,good\n", {}, "accuracy must be a number, but got 'good'"),
    ("head.channels\n16\n", {"mode": "tell"}, "has accuracy None, but to tell it"),
    ("head.channels,accuracy\n16,1.2\n", {"mode": "tell"}, r"accuracy 1\.2, but to tell it"),
    ("head.channels,accuracy\n16,.5\n", {"mode": "tell"}, "'drop_connect' is not found.*give all"),
]


@pytest.mark.parametrize(("text", "section", "message"), BAD, ids=[bad[2][:30] for bad in BAD])
def test_a_wrong_row_is_one_clear_line(tmp_path, tiny, text, section, message):
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / "known.csv", text, tiny, **section)
    assert "\n" not in str(caught.value)


def test_a_wrong_source_is_refused_before_anything_is_made(config, tmp_path):
    section = config.search.replace(warm_start=WarmStart(source=tmp_path / "nowhere"))
    with pytest.raises(InputError, match="is not a run folder: there is no such folder"):
        search(config.replace(search=section), evaluate=lambda a, **rest: 0.5, **SIZES)  # noqa: ARG005
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def earlier(tmp_path):
    """A run of four trials of which the second was the best, made by hand."""
    folder = tmp_path / "earlier"
    folder.mkdir()
    (folder / "config.yaml").write_text("name: earlier\n")
    store = Store(folder / "study.db")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=9))
    for number, accuracy in enumerate((0.3, 0.99, 0.5, 0.4)):
        trial = study.ask()
        network = SPACE.suggest(trial)
        candidate = Candidate(
            network,
            Cost(1, 1, 1),
            seed=number,
            suggestion=number,
            params=trial.params,
            distributions=trial.distributions,
        )
        store.record("search", Trial(candidate).ended("complete", accuracy).frozen())
    return folder


@pytest.fixture
def started(config, by_hand):
    """A search by network width, from what is known: its baseline and its trials."""

    def run(source, *, trials, confirmation=None, limits=None, **section):
        warm = WarmStart(source=source, **section)
        changed = config.search.replace(warm_start=warm, trials=trials, **(limits or {}))

        def evaluate(architecture, **rest):  # noqa: ARG001
            return architecture.head.channels / 1000

        session = by_hand(config.replace(search=changed, confirmation=confirmation), evaluate)
        return run_search(session), load_trials(config.run, study="search")

    return run


def test_enqueued_trials_come_first_and_survive_the_loss_of_their_source(started, earlier):
    old = load_trials(earlier)
    _, first = started(earlier, trials=2, top=3)
    assert first.origin.tolist() == ["earlier#1", "earlier#2"]
    assert first.key.tolist() == old.key[1:3].tolist()
    shutil.rmtree(earlier)
    _, more = started(earlier, trials=5, top=3)
    assert more.origin.tolist() == ["earlier#1", "earlier#2", "earlier#3", "", ""]


@pytest.mark.parametrize("top", [None, 2])
@pytest.mark.parametrize("mode", ["enqueue", "tell"])
def test_what_is_outside_a_tight_limit_is_told_and_left_out_and_no_trial_is_lost(
    config, started, earlier, capsys, mode, top
):
    params = [trial.params for trial in Store(earlier / "study.db").trials("search")]
    networks = [SPACE.suggest(optuna.trial.FixedTrial(each)) for each in params]
    flops = sorted(measure_cost(network, **SIZES).flops for network in networks)
    limit = flops[0] + 1  # one of four is within
    confirmation = ConfirmationSection(top=3, seeds=1, rounds=1)
    baseline, trials = started(
        earlier,
        trials=6,
        limits={"max_flops": limit},
        confirmation=confirmation,
        mode=mode,
        top=top,
    )
    assert (
        f"3 of 4 networks are outside the limits (max_flops {limit:g})" in capsys.readouterr().err
    )
    assert len(trials) == 6
    assert trials.key.is_unique
    assert (load_trials(config.run).flops <= limit).all()
    assert measure_cost(baseline, **SIZES).flops <= limit
    every = load_trials(config.run)
    known = every[every.origin.fillna("") != ""]
    assert {"enqueue": "search", "tell": "warm_start"}[mode] in set(known.study)
    assert known.key.nunique() == 1


def test_our_own_table_gives_the_same_trials_as_its_run(tmp_path, earlier):
    table = tmp_path / "trials.csv"
    load_trials(earlier).to_csv(table, index=False)
    from_table = read_warm_start(WarmStart(source=table), SPACE)
    from_run = read_warm_start(WarmStart(source=earlier), SPACE)
    assert [row.params for row in from_table] == [row.params for row in from_run]
    assert [row.accuracy for row in from_table] == [row.accuracy for row in from_run]


def test_told_results_are_known_but_win_only_once_trained_here(config, started, earlier):
    section = ConfirmationSection(top=3, seeds=1, rounds=1)
    baseline, trials = started(earlier, trials=6, mode="tell", confirmation=section)
    assert len(trials) == 6
    told = load_trials(config.run, study="warm_start")
    assert told.origin.tolist() == [f"earlier#{i}" for i in range(4)]
    assert not set(told.key) & set(trials.key)  # not trained a second time
    again = load_trials(config.run, study="confirmation")
    assert {"earlier#1", "earlier#2"} < set(again.contender)
    assert baseline.key == again.loc[again.reward.idxmax()].key
    assert again.accuracy.max() < 0.3  # what they had elsewhere, 0.99, counts no more


def test_accuracies_of_scaled_networks_are_not_told_to_another_search(config, by_hand):
    section = config.search.replace(trials=2, target=3e5, at="budget")
    run_search(by_hand(config.replace(search=section), lambda *_, **__: 0.5))
    with pytest.raises(InputError, match="networks scaled to a budget, so its accuracies are of"):
        read_warm_start(WarmStart(source=config.run, mode="tell"), SPACE)
    assert len(read_warm_start(WarmStart(source=config.run), SPACE)) == 2


@pytest.mark.parametrize("kind", ["run", "table", "optuna"])
def test_results_of_another_length_are_not_told_but_may_be_tried(config, tmp_path, kind):
    run_of_length(tmp_path / "long", epochs=9)
    source = tmp_path / "long"
    if kind == "table":
        table = load_trials(source)
        study = Store(source / "study.db").trials("search")
        for name in SPACE.parameters():
            table[name] = [trial.params[name] for trial in study]
        table.to_csv(source := tmp_path / "trials.csv")
    elif kind == "optuna":
        study = optuna.create_study()
        study.add_trials(Store(source / "study.db").trials("search"))
        study.trials_dataframe().to_csv(source := tmp_path / "optuna.csv")
    warm = WarmStart(source=source, mode="tell")
    told = config.replace(search=config.search.replace(warm_start=warm))
    with pytest.raises(
        InputError, match=r"was trained for 9 epochs, but here a trial has 3.*or set"
    ):
        search(told, evaluate=lambda a, **rest: 0.5, **SIZES)  # noqa: ARG005
    assert not config.run.exists()
    for section in ({"warm_start": warm.replace(mode="enqueue")}, {"epochs": 9}):
        check_search(told.replace(search=told.search.replace(**section)), lambda a: 0.5)  # noqa: ARG005


def run_of_length(folder, *, epochs):
    folder.mkdir()
    (folder / "config.yaml").write_text("name: long\n")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=9))
    for number in range(2):
        trial = study.ask()
        network = SPACE.suggest(trial)
        made = {"params": trial.params, "distributions": trial.distributions}
        candidate = Candidate(network, Cost(1, 1, 1), seed=number, suggestion=number, **made)
        trained = Trial(candidate, epochs=told_epochs([0.1 * epoch for epoch in range(epochs)]))
        Store(folder / "study.db").record("search", trained.ended("complete", 0.9).frozen())
