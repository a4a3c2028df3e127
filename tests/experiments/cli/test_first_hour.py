"""What a new user types first: no command, a plan, a setting, a run folder in a file's place."""

import subprocess
import sys

import pytest

from experiments.cli.configured import configured
from experiments.cli.launch import _by_data
from experiments.config.run_folder import RunFolder
from experiments.config.schema import DataConfig, SearchConfig
from experiments.config.search_section import SearchSection
from experiments.config.units import seconds_of
from experiments.steps.plan import FEWEST, SPARE, Plan, side_within, with_fewer_epochs, within
from search_spaces import load_architecture
from search_spaces.records import InputError


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_without_a_command_it_says_where_to_begin(scaler):
    status, out, err = scaler()
    assert (status, err) == (0, "")
    assert "scaler search --data photos/" in out


def test_help_prints_the_defaults_of_the_schema(scaler):
    _, out, _ = scaler("search", "--help")
    words = " ".join(out.split())
    assert (
        f"In all; a continued run trains what is missing. [default: {SearchSection().trials}]"
        in (words)
    )
    assert f"[default: {SearchSection().space}]" in words


def test_list_names_configs_recipes_and_boards(scaler):
    _, out, _ = scaler("list")
    for name in ("digits", "vgg", "stm32f4-discovery"):
        assert any(line.split()[:1] == [name] for line in out.splitlines())


def test_a_name_that_several_begin_with_lists_them(scaler):
    status, _, err = scaler("show", "resnext50")
    assert status == 2
    assert "these begin with it: resnext50_2x40d, resnext50_32x4d, " in err


def test_a_dry_run_tells_the_plan_and_writes_nothing(scaler, tmp_path):
    words = ("--set", "data.train_limit=64", "--set", "data.validation_limit=64")
    status, out, err = scaler(
        "search", "--data", "digits", "--resolution", 8, "--dry-run", "--trials", 20, *words
    )
    assert (status, out) == (0, "")
    assert "trials: 20 by cost_aware, 5 epochs each, early stopping: model" in err
    assert "time: at most about" in err
    assert "run folder: runs/digits" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "search.epoch=3"), "unknown key 'search.epoch'; did you mean 'epochs'?"),
        (("--set", "search.epochs"), "--set takes KEY=VALUE"),
        (("--set", "a=["), "'[' is no YAML value"),
        (("--recipe", "resnets"), "no recipe 'resnets'"),
        (("--time", "5x"), "not '5x'"),
        (("--time", "2h", "--trials", 9), "leave --trials out"),
    ],
)
def test_a_wrong_setting_is_one_line(scaler, tmp_path, words, message):
    status, _, err = scaler("search", *words)
    assert status == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("2h", 7200), ("1h30m", 5400), ("90 min", 5400), ("45s", 45), ("60", 60), ("0", None)),
        *(("", None), ("h", None), ("1h30", None), ("-5m", None), ("5m x", None)),
    ],
)
def test_a_time_is_read_as_people_write_it(text, seconds):
    assert seconds_of(text) == seconds


def test_a_time_gives_as_many_trials_as_fit_with_the_confirmation():
    plan = Plan(SearchConfig(name="x"), epoch=2.0, workers=2)
    fitted = within(plan, 3600)
    trials = fitted.config.search.trials
    assert sum(fitted.seconds.values()) <= SPARE * 3600
    more = Plan(plan.config.replace(search=SearchSection(trials=trials + 1)), 2.0, 2)
    assert sum(more.seconds.values()) > SPARE * 3600
    with pytest.raises(InputError, match=f"{FEWEST} trials of 5 epochs.*give more time"):
        within(plan, 60)


def test_a_short_time_is_better_used_on_smaller_images():
    search = SearchSection(resolution=64)
    plan = Plan(SearchConfig(name="x", search=search, confirmation=None), epoch=40.0, workers=2)
    whole = 20 * 5 * 40 / 2 / SPARE  # seconds of 20 trials at 64 px
    assert side_within(plan, whole + 1, (96, 64, 48, 32)) is None
    assert side_within(plan, whole / 1.5, (96, 64, 48, 32)) == 48
    assert side_within(plan, whole / 50, (96, 64, 48, 32)) == 32
    assert side_within(plan, 1, ()) is None


@pytest.mark.parametrize("space", [None, "residual"])
def test_a_short_time_leaves_a_named_space_its_resolution(tmp_path, space):
    options = {"config": None, "data": "digits", "run": tmp_path, "space": space}
    config, sides = _by_data(configured(**options), options)
    assert bool(sides) == (config.search.resolution is not None) == (space is None)


def test_a_very_short_time_is_used_on_fewer_epochs_and_that_is_said(capsys):
    plan = Plan(SearchConfig(name="x", confirmation=None), epoch=40.0, workers=2)
    whole = FEWEST * 5 * 40 / 2 / SPARE  # seconds of the fewest trials of five epochs
    assert with_fewer_epochs(plan, whole + 1) == plan
    assert with_fewer_epochs(plan, whole * 0.7).config.search.epochs == 3
    assert "a trial has 3 epochs" in capsys.readouterr().err
    assert with_fewer_epochs(plan, whole * 0.3) == plan


@pytest.fixture
def run(tmp_path, small):
    """The folder of a run that has found its baseline."""
    data = DataConfig(train_limit=64, validation_limit=64)
    config = SearchConfig(name="mine", run=tmp_path / "mine", data=data)
    folder = RunFolder(config.run_folder, config)
    folder.write_config()
    folder.write_baseline(small.replace(resolution=8), sizes={"num_classes": 10, "in_channels": 1})
    return folder


def test_a_run_folder_stands_for_its_baseline(scaler, run):
    status, out, err = scaler("show", run.path)
    assert status == 0
    assert f"its baseline, {run.path / 'baseline.yaml'}" in err
    assert "small at 8 px, 10 classes" in out
    status, out, _ = scaler("scale", run.path, "--phi", 1)
    assert status == 0


def test_a_run_without_a_baseline_says_how_to_go_on(scaler, run):
    (run.path / "baseline.yaml").unlink()
    status, _, err = scaler("show", run.path)
    assert status == 2
    assert "has no baseline yet" in err


def test_a_run_is_trained_on_its_own_data_and_taken_away(scaler, run, tmp_path):
    status, _, err = scaler("export", run.path, "-o", "out")
    assert status == 2
    assert f"`scaler train {run.path}` trains its baseline" in err
    status, out, err = scaler("train", run.path, "--epochs", 1)
    assert status == 0
    assert "data and recipe as in" in err
    assert "1/1" in err
    trained = out.splitlines()[0].removesuffix("/checkpoints/best.safetensors")
    assert scaler("export", trained, "-o", "first")[0] == 0
    status, _, err = scaler("export", run.path, "-o", "out")  # as the report's page says
    assert status == 0
    assert f"{run.path}: {trained}/checkpoints/best.safetensors" in err
    assert "on 64 images of `digits`" in err
    exported = load_architecture(tmp_path / "out" / "architecture.yaml")
    assert exported.key == run.baseline().key


def test_a_name_that_is_set_stays(scaler):
    words = ("--set", "data.train_limit=64", "--set", "data.validation_limit=64")
    given = ("--data", "digits", "--resolution", 8, "--dry-run", "--set", "name=mine", *words)
    status, _, err = scaler("search", *given)
    assert status == 0
    assert "run folder: runs/mine" in err


def test_a_scaled_network_is_trained_on_the_images_of_its_run_and_on_no_others_unasked(
    scaler, run, tmp_path, monkeypatch
):
    asked = []

    def ask(request, *_, **__):
        asked.append(request)
        raise InputError("asked")

    monkeypatch.setattr("experiments.training.members.run.train_member", ask)
    assert scaler("scale", run.path, "--phi", 0, "-o", tmp_path / "larger")[0] == 0
    (member,) = (tmp_path / "larger").glob("*.yaml")
    status, _, err = scaler("train", member, "--epochs", 1)
    assert status == 2
    assert "name them with --data, or the run with --config RUN" in err
    weights = tmp_path / "trained" / "checkpoints" / "best.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    words = ("--config", run.path, "--epochs", 1, "--init-from", "trained")
    assert "trained: trained/checkpoints/best.safetensors" in scaler("train", member, *words)[2]
    (request,) = asked
    assert request.data == run.config.data
    assert request.init_from == "trained/checkpoints/best.safetensors"


def test_help_needs_no_heavy_imports():
    """It answers in a fraction of a second because torch, ray, optuna, pandas stay unloaded."""

    code = (
        "import sys; from experiments.cli import cli\n"
        "for words in (['--help'], ['search', '--help'], ['scale', '--help']):\n"
        "    cli.main(words, standalone_mode=False)\n"
        "print(sorted({'torch', 'ray', 'optuna', 'pandas'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "[]"
