"""A release of Ray that lacks a name of ours fails here, with one line that says which and why."""

import ast
import mmap
from importlib.metadata import files
from pathlib import Path

import pytest

from experiments.engine.machines import ray_internals
from experiments.engine.machines.ray_internals import NAMES, PENDING, RECONNECT, SETTINGS

ROOM = Path(ray_internals.__file__).parent
# Where the names stand that Ray documents for users.
PUBLIC = {
    "ray",
    "ray.exceptions",
    "ray.train",
    "ray.train.torch",
    "ray.tune",
    "ray.tune.schedulers",
    "ray.util.scheduling_strategies",
}


@pytest.mark.parametrize("name", NAMES)
def test_ray_has_the_name_and_its_members(name):
    found = getattr(ray_internals, name)
    module, members, why = NAMES[name]
    missing = [member for member in members.split() if not hasattr(found, member)]
    assert not missing, f"{module}.{name} has no {', '.join(missing)}; it {why}"


def test_a_trial_of_tune_has_the_attributes_that_ours_sets():
    trial = ray_internals.Trial("any", stub=True)
    assert hasattr(trial, "placement_group_factory")
    assert hasattr(trial, "custom_dirname")
    assert hasattr(trial.temporary_state, "ray_actor")
    assert hasattr(trial.run_metadata, "last_result")


@pytest.fixture(scope="module")
def sources() -> list[Path]:
    """Ray's own Python files, and its library in C++, which reads most of RAY_..."""
    parts = ("ray/_common/", "ray/_private/", "ray/air/", "ray/tune/")
    listed = [file for file in files("ray") or [] if str(file).startswith((*parts, "ray/_raylet"))]
    return [Path(str(file.locate())) for file in listed if file.suffix in {".py", ".so"}]


@pytest.mark.parametrize("variable", [*SETTINGS, PENDING, RECONNECT])
def test_ray_reads_the_variable(variable, sources):
    # Upper case is read by Python; the rest are names of C++ settings after the prefix RAY_.
    words = (variable if variable.isupper() else variable.removeprefix("RAY_")).encode()
    suffix = ".py" if variable.isupper() else ".so"
    assert any(holds(file, words) for file in sources if file.suffix == suffix), variable


def holds(file: Path, words: bytes) -> bool:
    if not file.stat().st_size:
        return False
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return text.find(words) >= 0


def test_a_name_that_ray_has_lost_is_told_in_one_line(monkeypatch):
    monkeypatch.setitem(NAMES, "Gone", ("ray.tune", "", "carries our job"))
    with pytest.raises(ImportError, match=r"^Ray \S+ has no ray\.tune\.Gone, which carries our jo"):
        ray_internals.Gone  # noqa: B018


def test_other_files_import_only_the_public_parts_of_ray():
    private = []
    for file in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            of_ray = {name for name in named if name.split(".")[0] == "ray"}
            private += [(file.name, name) for name in of_ray - PUBLIC]
    assert private == []
