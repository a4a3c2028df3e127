"""The public names of the packages, which are imported when first used."""

import subprocess
import sys
from importlib import import_module

import pytest


@pytest.mark.parametrize("package", ["search_spaces", "scaler", "experiments"])
def test_every_public_name_is_there(package):
    module = import_module(package)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name).__name__ == name


def test_the_function_search_is_not_hidden_by_the_room_of_its_name():
    import experiments.steps.noise  # noqa: F401, binds the room to the package
    from experiments import search

    assert search.__module__ == "experiments.steps.search"


def test_the_packages_load_no_slow_library_until_a_name_is_used():
    program = (
        "import sys, search_spaces, scaler, experiments\n"
        "print({'torch', 'ray', 'optuna', 'pandas'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert told.stdout.strip() == b"set()"
