"""The best is really the best: the search's first few are trained again with new seeds."""

import optuna
import pytest

from experiments import load_trials, search
from experiments.config.messages import WorkFailed
from experiments.config.sections import ConfirmationSection
from experiments.report.repeats import confirmation_table, worth_text
from experiments.samplers import recommend
from experiments.steps.confirmation import Round, finalists, rounds
from experiments.steps.known import DETECTORS, SEGMENTERS, known_at
from experiments.steps.search import check_search, run_search
from experiments.store.store import Store
from experiments.store.trial import Candidate, Trial
from scaler import Cost, measure_cost
from search_spaces import InputError, load_space
from search_spaces.heads import Points
from tests.objectives import TARGET, Drawn
from tests.objectives import search as search_of

SIZES = {"num_classes": 10, "in_channels": 1}
SECTION = ConfirmationSection(top=3, seeds=2, rounds=2, share=None, known=())


@pytest.fixture
def lucky():
    """In a search the narrowest networks look best; trained again, the widest are."""

    def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        width = architecture.head.channels / 1000
        return 0.5 - width if seed < 1000 else 0.5 + width + seed % 10 / 1e4

    return evaluate


@pytest.fixture
def confirmed(config, by_hand, lucky):
    """Search and confirm without Ray: the baseline and the confirmation's trials."""

    def run(**section):
        session = by_hand(config.replace(confirmation=SECTION.replace(**section)), lucky)
        best = run_search(session)
        return best, load_trials(config.run, study="confirmation")

    return run


@pytest.mark.usefixtures("without_ray")
def test_the_winner_by_mean_is_the_baseline_not_the_luckiest(config, lucky, capsys):
    config = config.replace(
        search=config.search.replace(trials=4), confirmation=SECTION.replace(top=4, rounds=1)
    )
    result = search(config, evaluate=lucky, **SIZES)
    means = load_trials(config.run, study="confirmation").groupby("key").reward.mean()
    assert len(means) == 4
    assert result.best.key == means.idxmax()
    assert result.best.key != result.trials.loc[result.trials.reward.idxmax()].key
    assert "confirmation: #" in capsys.readouterr().err


def test_rounds_have_fewer_networks_and_new_seeds(config, confirmed):
    _, trials = confirmed(top=5)
    rounds = trials.groupby("round")
    assert rounds["contender"].nunique().to_dict() == {1: 5, 2: 3}
    assert rounds["seed"].nunique().to_dict() == {1: 2, 2: 2}
    searched = load_trials(config.run, study="search")
    assert not set(trials.seed) & set(searched.seed)
    assert not set(trials[trials["round"] == 1].seed) & set(trials[trials["round"] == 2].seed)
    top = searched.nlargest(5, "reward")
    assert set(trials.contender) == {f"#{number}" for number in top.number}


def test_the_plan_is_told_before_the_search_and_kept(config, confirmed, capsys):
    _, trials = confirmed(top=5, seeds=3)
    before, after = capsys.readouterr().err.split("after the search a confirmation: ")
    plan = "5 networks x 3 seeds of 3 epochs, then 3 networks x 3 seeds of 6 epochs"
    assert not before.strip()
    assert after.startswith(f"{plan}: 24 trainings, 99 epochs in all\n")
    assert f"confirmation: {plan}: 24 trainings, 99 epochs in all" in after
    assert len(trials) == 24
    assert config.search.epochs == 3


def test_each_round_is_twice_as_long(config, by_hand, lucky):
    session = by_hand(config.replace(confirmation=SECTION.replace(epochs=4, rounds=3)), lucky)
    run_search(session)
    rounds = [("confirmation", 4), ("confirmation", 8), ("confirmation", 16)]
    assert session.lengths == [("search", 3), *rounds]


def test_a_continued_confirmation_trains_only_what_is_missing(confirmed):
    best, before = confirmed(seeds=1)
    again, same = confirmed(seeds=1)
    assert (again, len(same)) == (best, len(before))
    _, after = confirmed(seeds=2)
    assert list(after.key[: len(before)]) == list(before.key)
    assert not after.duplicated(["key", "round", "seed"]).any()
    assert len(after) == 2 * len(before)


@pytest.mark.parametrize("section", [None, ConfirmationSection(top=1)])
def test_it_can_be_switched_off(config, by_hand, lucky, section):
    baseline = run_search(by_hand(config.replace(confirmation=section), lucky))
    trials = load_trials(config.run, study="search")
    assert baseline.key == trials.loc[trials.reward.idxmax()].key
    assert load_trials(config.run, study="confirmation").empty


def test_trainings_that_all_fail_name_no_baseline(config, by_hand):
    def failing(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        if seed > 1000:
            raise MemoryError("no room")
        return 0.5

    with pytest.raises(WorkFailed, match="no training of the confirmation finished"):
        run_search(by_hand(config.replace(confirmation=SECTION), failing))
    assert not (config.run / "baseline.yaml").exists()


def record(store, study, network, accuracy, **attributes):
    candidate = Candidate(network, Cost(1, 1, 1), seed=0, suggestion=0, attributes=attributes)
    store.record(study, Trial(candidate).ended("complete", accuracy).frozen())


def test_finalists_are_distinct_and_the_searchs_own_best_is_among_them(tmp_path, small):
    store = Store(tmp_path / "study.db")
    for channels, accuracy in ((16, 0.5), (24, 0.7), (32, 0.6)):
        record(store, "search", small.replace(head={"channels": channels}), accuracy)
    assert list(finalists(store, top=2)) == ["#1", "#2"]
    for channels in (40, 48):
        told = small.replace(head={"channels": channels})
        record(store, "warm_start", told, 0.9, origin=f"old#{channels}")
    assert list(finalists(store, top=2)) == ["old#40", "#1"]
    assert list(finalists(store, top=9)) == ["old#40", "old#48", "#1", "#2", "#0"]


def test_the_first_finalist_is_what_the_model_believes_best_not_the_luckiest(tmp_path, small):
    objective, store = Drawn(seed=1, names=("layer0", "layer1", "layer2")), Store(tmp_path / "s.db")
    random = optuna.samplers.RandomSampler(seed=4)
    found = search_of(objective, random, seed=4, trials=100, noise=0.1)
    for number, trial in enumerate(found.trials):
        factor = (objective.cost(trial.params) / TARGET) ** -0.07
        candidate = Candidate(
            small.replace(head={"channels": 8 + number}),
            Cost(1, 1, 1),
            seed=0,
            suggestion=number,
            reward_factor=factor,
            params=trial.params,
            distributions=trial.distributions,
        )
        store.record("search", Trial(candidate).ended("complete", trial.value / factor).frozen())
    believed = recommend(found.trials, cost=objective.cost, target=TARGET)
    assert believed[0].params != found.best_params
    assert next(iter(finalists(store, top=3))) == f"#{believed[0].number}"


KNOWN = SECTION.replace(known=("cifar_resnet20", "mobilenet_v2"))


def known_is(better):
    """An evaluation in which ResNet-20 is `better` than whatever was found, give or take a seed."""

    def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        return 0.5 + seed % 3 / 1000 + better * (architecture.name == "cifar_resnet20")

    return evaluate


@pytest.fixture
def compared(config, by_hand):
    """Search, confirm and compare with known networks at 3e5 FLOPs; the baseline and the store."""

    def run(better, section=KNOWN):
        search = config.search.replace(target=3e5)
        session = by_hand(config.replace(search=search, confirmation=section), known_is(better))
        return run_search(session), load_trials(config.run), search

    return run


@pytest.mark.parametrize(("better", "where"), [(0.1, "behind"), (-0.1, "ahead of")])
def test_a_known_network_never_is_the_baseline_and_the_difference_is_told(compared, better, where):
    best, trials, search = compared(better)
    known, confirmed = (trials[trials.study == name] for name in ("known", "confirmation"))
    assert best.key in set(confirmed.key)
    assert best.key not in set(known.key)
    last = confirmed[confirmed["round"] == 2]
    assert (set(known.seed), set(known["round"])) == (set(last.seed), {2})
    assert set(known.contender) == {"cifar_resnet20"}
    assert (known.flops / 3e5 - 1).abs().max() <= 0.05
    text = worth_text(trials, search)
    assert f"10.0 points {where} cifar_resnet20 scaled to" in text
    assert "beyond noise (p = " in text
    table = confirmation_table(trials)
    assert (table["rank"].isna() == (table.contender == "cifar_resnet20")).all()
    assert table.behind.dropna().tolist() == [pytest.approx(-better)]


def test_a_known_network_that_cannot_be_scaled_is_left_out_with_the_reason(compared, capsys):
    compared(0)
    left_out = "known networks: mobilenet_v2 is left out: resolution 8 is too small for the strides"
    assert left_out in capsys.readouterr().err


def test_known_networks_in_the_store_are_not_trained_again(compared):
    _, before, _ = compared(0)
    _, same, _ = compared(0)
    assert len(before) == len(same)
    _, more, _ = compared(0, KNOWN.replace(known=("cifar_resnet20", "cifar_densenet40_k12")))
    assert len(more) == len(before) + 2


@pytest.mark.parametrize("section", [SECTION, KNOWN.replace(top=1)])
def test_no_known_network_is_trained_where_none_is_asked_for_or_nothing_confirmed(
    compared, section
):
    _, trials, search = compared(0, section)
    assert "known" not in set(trials.study)
    assert worth_text(trials, search) == ""


def test_an_unknown_known_network_is_refused_before_the_search(config):
    section = SECTION.replace(known=("resnet_20",))
    with pytest.raises(InputError, match="unknown architecture 'resnet_20'; did you mean"):
        check_search(config.replace(confirmation=section))


@pytest.mark.parametrize("spent", [0, 10, 24, 60, 100, 200, 1000])
def test_a_confirmation_costs_at_most_its_share_of_the_search(spent):
    plan = rounds(ConfirmationSection(), networks=4, epochs=5, spent=spent)
    assert sum(one.cost for one in plan) <= spent / 2
    assert all(one.networks >= 2 and one.seeds >= 2 for one in plan)


def test_rounds_are_given_up_before_networks_and_networks_before_seeds():
    def plan(spent):
        return rounds(ConfirmationSection(), networks=4, epochs=5, spent=spent)

    assert plan(240) == [Round(4, 3, 5), Round(2, 3, 10)]
    assert plan(239) == [Round(4, 3, 5)]
    assert plan(119) == [Round(3, 3, 5)]
    assert plan(60) == [Round(2, 3, 5)]
    assert plan(59) == [Round(2, 2, 5)]
    assert plan(39) == []


def test_without_a_share_a_confirmation_may_cost_what_it_wants():
    plan = rounds(ConfirmationSection(share=None), networks=4, epochs=5, spent=1)
    assert plan == [Round(4, 3, 5), Round(2, 3, 10)]


def test_a_search_too_short_to_confirm_says_so_and_names_its_best(config, by_hand, lucky, capsys):
    section = ConfirmationSection(share=0.1)
    run_search(by_hand(config.replace(confirmation=section), lucky))
    assert "no confirmation: " in capsys.readouterr().err
    assert load_trials(config.run, study="confirmation").empty


def test_a_plan_tells_no_confirmation_where_none_fits_and_the_known_as_often_as_the_last_round(
    config, by_hand, lucky, capsys
):
    def told(share):
        section = ConfirmationSection(share=share, known=("cifar_resnet20",))
        run_search(by_hand(config.replace(confirmation=section, run=f"{config.run}{share}"), lucky))
        return capsys.readouterr().err

    assert "after the search a confirmation" not in told(0.01)
    whole = config.search.trials * config.search.epochs
    enough = 4 * config.search.epochs / whole  # two networks of two seeds
    plan = told(enough)
    assert (
        "after the search a confirmation, at most 33% of the search: 2 networks x 2 seeds" in plan
    )
    assert "then 1 known networks x 2 seeds" in plan


@pytest.mark.parametrize("name", SEGMENTERS)
def test_beside_a_found_segmenter_stand_known_ones_at_its_budget(name):
    like = load_space("mbconv_dense").at(32).members(1, seed=0)[0]
    sizes = {"num_classes": 5, "in_channels": 3}
    known = known_at(name, target=7e6, cost="flops", like=like, **sizes)
    assert (known.task, known.resolution) == ("segmentation", 32)
    assert measure_cost(known, **sizes).flops == pytest.approx(7e6, rel=0.1)
    detector = load_space("mbconv_detect").members(1, seed=0)[0]
    known = known_at(DETECTORS[0], target=1e8, cost="flops", like=detector, **sizes)
    assert (known.task, known.resolution) == ("detection", 160)
    least = known.head.predictor.score_threshold
    assert least == detector.head.predictor.score_threshold < Points(kind="points").score_threshold
    with pytest.raises(InputError, match="it is for classification, but"):
        known_at("cifar_resnet20", target=7e6, cost="flops", like=like, **sizes)
