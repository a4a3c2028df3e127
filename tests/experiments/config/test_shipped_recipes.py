import pytest

from experiments.config.recipe import TrainConfig, list_recipes, load_recipe
from experiments.config.schema import SearchConfig
from search_spaces.records import InputError


def test_every_shipped_recipe_can_be_read():
    assert list_recipes() == [
        *("efficientnet", "inception", "land_cover", "modern", "proxy", "resnet", "vgg")
    ]
    for name in list_recipes():
        assert load_recipe(name).name == name


def test_the_defaults_are_the_searchs_recipe():
    assert load_recipe("proxy") == TrainConfig(epochs=9)


def test_efficientnets_rate_at_a_batch_of_4096_is_the_papers():
    assert load_recipe("efficientnet").replace(batch_size=4096).peak_rate == pytest.approx(0.256)


def test_a_config_builds_on_a_recipe_and_keeps_all_of_it():
    config = SearchConfig.parse(
        {"name": "x", "train": {"recipe": "vgg", "batch_size": 32}}, source=""
    )
    assert (config.train.name, config.train.batch_size) == ("vgg", 32)
    assert config.train == load_recipe("vgg").replace(batch_size=32)
    again = SearchConfig.parse(config.model_dump(mode="json"), source="")
    assert again == config


def test_an_own_recipe_is_a_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("optimizer: adamw\nlearning_rate: 0.002\n")
    found = load_recipe(tmp_path / "mine.yaml")
    assert found == TrainConfig(name="mine", optimizer="adamw", learning_rate=0.002)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimiser: sgd", "unknown key 'optimiser'; did you mean 'optimizer'"),
        ("schedule: {kind: cosinus}", "cosinus"),
        ("recipe: vgg", "builds on a recipe"),
        ("ema_decay: 1", "less than 1, but got 1"),
    ],
)
def test_a_recipe_with_a_mistake_is_told_in_one_line(tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        load_recipe(tmp_path / "mine.yaml")
    assert "\n" not in str(error.value)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(InputError, match=r"no recipe 'resnets'.*did you mean 'resnet'"):
        load_recipe("resnets")
