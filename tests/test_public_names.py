"""The public names of the packages, which are imported when first used."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PACKAGES = ["search_spaces", "scaler", "experiments", "experiments.config"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there(package):
    module = import_module(package)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name).__name__ == name


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_is_hidden_by_a_room_of_its_name(package):
    folder = Path(import_module(package).__file__).parent
    rooms = {place.stem for place in folder.iterdir()}
    assert rooms.isdisjoint(import_module(package).__all__)


def test_the_packages_load_no_slow_library_until_a_name_is_used():
    program = (
        "import sys, search_spaces, scaler, experiments\n"
        "print({'torch', 'ray', 'optuna', 'pandas'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert told.stdout.strip() == b"set()"
