"""The sampler's package for OptunaHub: alone, with plain Optuna, it proposes what ours does."""

import json
import os
import subprocess
import sys

import optuna
import pytest
import yaml

from experiments.samplers import make_sampler
from experiments.samplers.hub import write_package

STUDY = """
import json, optuna
optuna.logging.set_verbosity(optuna.logging.WARNING)

def cost(params):
    return params["depth"] * params["width"] ** 2

def objective(trial):
    width = trial.suggest_categorical("width", [8, 16, 24, 32])
    depth = trial.suggest_int("depth", 1, 8)
    kind = trial.suggest_categorical("kind", ["plain", "wide"])
    if kind == "wide":
        width *= trial.suggest_categorical("ratio", [1, 2, 3])
    for epoch in (1, 2, 3):
        value = (1 - 1 / (width * depth)) * (1 - 0.5**epoch)
        trial.report(value, epoch)
    return value * (cost(trial.params) / 2048) ** -0.07

def study_of(sampler):
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=12)
    return [trial.params for trial in study.trials]
"""
ALONE = """
import sys
ours = "experiments search_spaces scaler pydantic torch ray".split()
class Blocked:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ours:
            raise ImportError(f"{name} is not there")
sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("hub"))


def alone(package, code):
    """Run code in a process that has the package's folder and Optuna, and nothing of ours."""
    place = {"PYTHONPATH": str(package.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", ALONE + code],
        cwd=package.parent,
        env={**os.environ, **place},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_package_alone_proposes_what_ours_does(package):
    told = alone(
        package,
        STUDY
        + "import cost_aware\n"
        + "sampler = cost_aware.CostAwareSampler(cost, target=2048, seed=3)\n"
        + "print(json.dumps(study_of(sampler)))\n",
    )
    names: dict = {}
    exec(STUDY, names)
    ours = names["study_of"](make_sampler("cost_aware", cost=names["cost"], target=2048, seed=3))
    assert json.loads(told) == ours


def test_the_example_runs(package):
    out = alone(
        package,
        f"import runpy; runpy.run_path({str(package / 'example.py')!r}, run_name='__main__')",
    )
    assert "'width':" in out


def test_the_layout_is_the_registrys(package):
    names = {path.name for path in package.iterdir()}
    assert {"__init__.py", "README.md", "LICENSE", "example.py", "requirements.txt"} <= names
    _, front, _ = (package / "README.md").read_text().split("---\n", 2)
    head = yaml.safe_load(front)
    assert head.keys() == {"author", "title", "description", "tags", "optuna_versions", "license"}
    assert "sampler" in head["tags"]
    assert head["optuna_versions"] == [optuna.__version__]


def test_no_module_of_ours_is_left_in_it(package):
    for path in package.glob("*.py"):
        assert "experiments." not in path.read_text(), path
        assert "search_spaces" not in path.read_text(), path
