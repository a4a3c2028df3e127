"""A space's `training:` choices, searched together with the architecture."""

import pytest

from experiments import load_trials, search
from experiments.config.run_folder import RunFolder
from experiments.config.schema import SearchConfig
from experiments.config.sections import ConfirmationSection
from experiments.engine.sampled import SampledCandidates
from experiments.report.report import write_report
from experiments.steps.search import check_training_choices
from search_spaces import InputError, SearchSpace, load_space
from search_spaces.records import dump_yaml

SIZES = {"num_classes": 10, "in_channels": 1}


@pytest.fixture
def one_network(small):
    """A space of one network and three trainings."""
    rates = {"learning_rate": {"choice": [0.05, 0.1, 0.2]}, "batch_size": 32}
    return SearchSpace("one", small.model_dump(mode="json"), rates)


def test_equal_networks_with_another_training_are_no_duplicates(config, one_network):
    source = SampledCandidates(one_network, section=config.search, seed=0, finished=[], **SIZES)
    found = [source.next() for _ in range(4)]
    assert found[3] is None
    assert {candidate.training["learning_rate"] for candidate in found[:3]} == {0.05, 0.1, 0.2}
    assert {candidate.training["batch_size"] for candidate in found[:3]} == {32}
    assert len({candidate.architecture.key for candidate in found[:3]}) == 1
    assert "training.batch_size" not in found[0].params


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (
            {"learning_rat": 0.1},
            "unknown training setting 'learning_rat'; these begin with it: learning_rate, .*"
            "`scaler schema` prints them",
        ),
        ({"device": "cpu"}, "unknown training setting 'device'"),
        ({"momentum": {"choice": [0.9, 1.5]}}, "momentum: .*less than 1, but got 1.5"),
        ({"batch_size": {"choice": [1, 2]}}, "batch_size: .*greater than or equal to 2"),
    ],
)
def test_a_setting_that_the_training_does_not_know_is_refused(small, training, message):
    space = SearchSpace("wrong", small.model_dump(mode="json"), training)
    with pytest.raises(InputError, match=message):
        check_training_choices(space, None)
    check_training_choices(space, lambda architecture, **rest: 0.5)  # noqa: ARG005  its own names


def test_an_evaluation_that_takes_no_training_is_refused_before_anything_is_made(config, tmp_path):
    def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        return 0.5

    section = config.search.replace(space="mbconv_small_training")
    with pytest.raises(InputError, match="`evaluate` has no keyword `training`; add it"):
        search(config.replace(search=section), evaluate=evaluate, **SIZES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without_ray")
def test_an_own_evaluation_gets_the_training_and_the_best_is_kept(config, one_network):
    path = config.run.parent / "one.yaml"
    tree = {**one_network.tree, "training": {"strength": {"choice": [1, 2, 3]}}}
    path.write_text(dump_yaml(tree))

    def evaluate(architecture, *, report, seed, checkpoint_dir, training):  # noqa: ARG001
        return training["strength"] / 10

    config = config.replace(
        search=config.search.replace(space=str(path), resolution=None, trials=3),
        confirmation=ConfirmationSection(top=2, seeds=1, rounds=1, share=None),
    )
    result = search(config, evaluate=evaluate, **SIZES)
    assert sorted(result.trials["training.strength"]) == [1, 2, 3]
    assert result.training == RunFolder.open(config.run).recipe() == {"strength": 3}
    again = load_trials(config.run, study="confirmation")
    assert sorted(again["training.strength"]) == [2, 3]


@pytest.mark.slow
def test_the_shipped_space_is_searched_and_its_recipe_trains_the_family(ray, tmp_path):  # noqa: ARG001
    """On digits, end to end; a stored curve is what the same settings give without any search."""
    from experiments.line import run_line

    settings = {
        "name": "recipe",
        "run": tmp_path / "run",
        "data": {"source": "digits", "flip": False, "train_limit": 200, "validation_limit": 100},
        "search": {"space": "mbconv_small_training", "resolution": 8, "trials": 3, "epochs": 1},
        "confirmation": {"top": 2, "seeds": 1, "rounds": 1, "share": None},
        "coefficients": {"step": 0.5, "tolerance": 0.6, "rule": "phi", "epochs": 1, "leaders": 1},
        "family": {"ratios": [2], "tolerance": 0.3, "epochs": 1},
    }
    config = SearchConfig.parse(settings, source="test")
    folder = run_line(config)
    trials = load_trials(folder.path)
    recipe = folder.recipe()
    assert set(recipe) == set(load_space("mbconv_small_training").training)
    for study in ("coefficients", "family"):
        own = trials[trials.study == study]
        assert all((own[f"training.{name}"] == value).all() for name, value in recipe.items())
    stored = trials[trials.study == "family"].iloc[0]
    assert trained_alone(config, folder.baseline(), recipe, seed=stored.seed) == stored.accuracy
    write_report(folder)


def trained_alone(config, network, recipe, *, seed):
    from experiments.data.sources import load_data
    from experiments.training.trial import TrainingEvaluation

    data = load_data(config.data, seed=config.seed)
    train = config.train.replace(**recipe)
    evaluation = TrainingEvaluation(data, config.data, train, epochs=1)
    told = evaluation(
        network, report=lambda *_: None, seed=int(seed), checkpoint_dir=config.run / "unused"
    )
    return told["accuracy"]
