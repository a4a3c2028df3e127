import math

import optuna
import pytest

from search_spaces import InputError, SearchSpace, list_spaces, load_architecture, load_space
from search_spaces.records import read_mapping


def random_member(space: SearchSpace, seed: int):
    sampler = optuna.samplers.RandomSampler(seed=seed)
    return space.suggest(optuna.create_study(sampler=sampler).ask())


def fixed(space: SearchSpace, wanted: dict[str, object]):
    """The member with these values; every other choice at its first option."""
    params = {name: options[0] for name, options in space.parameters().items()}
    return space.suggest(optuna.trial.FixedTrial({**params, **wanted}))


def mnasnet_params(table: str) -> dict[str, object]:
    """Parameters from rows `expand kernel se channels layers skip`, one a stage."""
    params: dict[str, object] = {}
    for i, row in enumerate(table.strip().splitlines()):
        expand, kernel, se, channels, layers, skip = row.split()
        params |= {f"stages.{i}.channels": int(channels), f"stages.{i}.layers": int(layers)}
        params |= {f"stages.{i}.block.expand_ratio": int(expand)}
        params |= {f"stages.{i}.block.kernel_size": int(kernel)}
        params |= {f"stages.{i}.block.se_ratio": float(se) or 0}
        params |= {f"stages.{i}.block.skip": skip}
    return params


def test_efficientnet_b0_is_a_member_of_mbconv():
    table = """
        1 3 0.25 16 1 identity
        6 3 0.25 24 2 identity
        6 5 0.25 40 2 identity
        6 3 0.25 80 3 identity
        6 5 0.25 112 3 identity
        6 5 0.25 192 4 identity
        6 3 0.25 320 1 identity"""
    member = fixed(load_space("mbconv"), mnasnet_params(table))
    assert member.key == load_architecture("efficientnet_b0").key


@pytest.mark.parametrize("name", list_spaces())
def test_random_members_differ_and_keep_to_the_options(name):
    space = load_space(name)
    members = [random_member(space, seed) for seed in range(30)]
    assert len({member.key for member in members}) > 25
    options = space.parameters()["stages.1.channels"]
    assert {member.stages[1].channels for member in members} <= set(options)


@pytest.mark.parametrize("name", ["dense", "highway", "mbconv", "mbconv_small"])
def test_size_is_the_product_of_unconditional_choices(name):
    space = load_space(name)
    assert space.size() == math.prod(len(options) for options in space.parameters().values())


def test_same_seed_gives_the_same_member():
    space = load_space("mbconv")
    assert random_member(space, 3) == random_member(space, 3)


@pytest.mark.parametrize("resolution", [8, 16, 64])
def test_mbconv_small_fits_its_resolutions(resolution):
    space = load_space("mbconv_small").at(resolution)
    assert random_member(space, 0).sizes()[-1] == resolution // 4


def test_conditional_choices_have_names_of_their_own(small):
    block = {
        "choice": [
            {"kind": "mbconv", "expand_ratio": 1, "kernel_size": {"choice": [3, 5]}},
            {"kind": "conv", "kernel_size": {"choice": [1, 3, 5]}},
        ]
    }
    tree = small.model_dump(mode="json", exclude={"name"})
    tree["stages"][0]["block"] = block
    space = SearchSpace("two", tree)
    assert space.parameters() == {
        "stages.0.block": ["mbconv", "conv"],
        "stages.0.block.mbconv.kernel_size": [3, 5],
        "stages.0.block.conv.kernel_size": [1, 3, 5],
    }
    assert space.size() == 5
    chosen = {"stages.0.block": "conv", "stages.0.block.conv.kernel_size": 5}
    assert fixed(space, chosen).stages[0].block.kernel_size == 5


def test_training_choices_are_parameters_and_leave_the_architecture_alone(small):
    rates = {"learning_rate": {"choice": [0.1, 0.2]}, "momentum": 0.9}
    space = SearchSpace("trained", small.model_dump(mode="json"), rates)
    assert space.parameters() == {"training.learning_rate": [0.1, 0.2]}
    assert space.size() == 2
    trial = optuna.trial.FixedTrial({"training.learning_rate": 0.2})
    assert space.at(8).suggest_training(trial) == {"learning_rate": 0.2, "momentum": 0.9}
    assert space.suggest(trial).key == small.key


@pytest.mark.parametrize("value", [{"choice": []}, {"choice": [[1]]}, {"rate": 0.1}, None])
def test_a_training_setting_that_is_no_value_or_choice_is_refused(small, value):
    with pytest.raises(InputError, match=r"training\.learning_rate: "):
        SearchSpace("broken", small.model_dump(mode="json"), {"learning_rate": value})


def test_the_training_part_is_read_from_the_file(tmp_path, small):
    path = tmp_path / "mine.yaml"
    path.write_text(small.to_yaml() + "training: {learning_rate: {choice: [0.1, 0.2]}}\n")
    assert load_space(path).training_options() == {"learning_rate": [0.1, 0.2]}
    path.write_text(small.to_yaml() + "training: fast\n")
    with pytest.raises(InputError, match=r"training must be a mapping .* but is 'fast'"):
        load_space(path)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ([], r"stages\.0\.channels: a choice needs a list of at least one option, but got \[\]"),
        ("8", "a choice needs a list"),
        ([8, 8], "the option 8 stands twice"),
        ([8, 0], r"stages\.0\.channels: .*greater than or equal to 1, but got 0"),
        ([8, "wide"], r"stages\.0\.channels: .*valid integer"),
    ],
)
def test_a_wrong_choice_is_refused_when_the_space_is_made(small, choice, message):
    tree = small.model_dump(mode="json")
    tree["stages"][0]["channels"] = {"choice": choice}
    with pytest.raises(InputError, match=message):
        SearchSpace("broken", tree)


def test_a_wrong_option_behind_another_choice_is_found(small):
    tree = small.model_dump(mode="json")
    bad = {"kind": "mbconv", "expand_ratio": 1, "kernel_size": {"choice": [3, 4]}}
    tree["stages"][1]["block"] = {"choice": [{"kind": "conv", "kernel_size": 3}, bad]}
    with pytest.raises(InputError, match="kernel size must be odd"):
        SearchSpace("broken", tree)


def test_unknown_space_names_the_nearest():
    with pytest.raises(InputError, match="unknown search space 'mbconvv'; did you mean 'mbconv'"):
        load_space("mbconvv")


def test_a_space_is_read_from_a_path(tmp_path, small):
    path = tmp_path / "mine.yaml"
    path.write_text(small.to_yaml().replace("resolution: 16", "resolution: {choice: [16, 32]}"))
    assert read_mapping(path)["resolution"] == {"choice": [16, 32]}
    members = {random_member(load_space(path), seed).resolution for seed in range(20)}
    assert members == {16, 32}
