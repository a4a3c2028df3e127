"""The house's rooms: which package and which room may import which, and where Ray may stand."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ["search_spaces", "scaler", "experiments"]
# A room may import those above it in this list, and nothing below.
ROOMS = [
    "config",
    "data",
    "training",
    "samplers",
    "store",
    "engine",
    "steps",
    "report",
    "export",
    "line",
    "cli",
    "benchmarks",
]
NOT = {  # of the rooms above it, these are not for the room
    "samplers": {"config", "data", "training"},
    "store": {"data", "training"},
    "export": {"samplers", "store", "engine", "steps", "report"},
}
FRONT = {"__init__", "__main__"}  # the public names and `python -m experiments`


def imported(path: Path) -> set[str]:
    """The modules that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def room(path: Path) -> str:
    return path.relative_to(ROOT / "experiments").parts[0].removesuffix(".py")


def rooms(path: Path) -> set[str]:
    """The rooms that a file imports from."""
    names = (name.split(".") for name in imported(path))
    return {
        name[1] for name in names if name[0] == "experiments" and name[1:2] and name[1] in ROOMS
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_nothing_above_it(package):
    above = set(PACKAGES[PACKAGES.index(package) + 1 :])
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    climbing = [str(file.relative_to(ROOT)) for file in files if packages(file) & above]
    assert climbing == []


def test_every_file_of_experiments_stands_in_a_room():
    found = {room(file) for file in (ROOT / "experiments").rglob("*.py")}
    assert found == set(ROOMS) | FRONT


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_only_what_it_may(name):
    allowed = set(ROOMS[: ROOMS.index(name) + 1]) - NOT.get(name, set())
    files = [file for file in (ROOT / "experiments").rglob("*.py") if room(file) == name]
    climbing = {str(f.relative_to(ROOT)): rooms(f) - allowed for f in files if rooms(f) - allowed}
    assert climbing == {}


def test_samplers_know_nothing_of_ours_but_the_records():
    for file in (ROOT / "experiments" / "samplers").glob("*.py"):
        ours = {n for n in imported(file) if n.startswith(("search_spaces", "scaler"))}
        assert all(name.startswith("search_spaces.records") for name in ours), file


def test_ray_is_imported_in_the_engine_alone():
    outside = [
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if "ray" in packages(file) and "engine" not in file.parts and "benchmarks" not in file.parts
    ]
    assert outside == []


def test_torchvision_is_imported_when_it_is_used():
    """Its models take two seconds to import, and only detectors need them."""
    for file in (*(ROOT / "search_spaces").rglob("*.py"), *(ROOT / "scaler").rglob("*.py")):
        outside = [n for n in ast.parse(file.read_text()).body if isinstance(n, ast.ImportFrom)]
        assert not [n for n in outside if (n.module or "").startswith("torchvision")], file


def test_a_room_says_what_it_is_for():
    for name in ROOMS:
        front = ROOT / "experiments" / name / "__init__.py"
        if front.exists():
            told = ast.get_docstring(ast.parse(front.read_text())) or ""
            assert re.search(r"May import", told), f"{name}: what it may import"
            assert re.search(r"Read", told), f"{name}: in which order to read it"


def test_the_walk_sees_an_import_inside_a_function(tmp_path):
    file = tmp_path / "climber.py"
    file.write_text("def f():\n    from experiments.config.schema import SearchConfig\n")
    assert rooms(file) == {"config"}
    assert packages(file) == {"experiments"}


def test_no_room_or_file_has_the_name_of_a_public_function():
    """Python sets a package's attribute when a part of it is imported: the function would go."""
    import experiments
    import scaler
    import search_spaces

    for package in (experiments, scaler, search_spaces):
        parts = {path.stem for path in Path(package.__path__[0]).iterdir()}
        assert parts & set(package.__all__) == set(), package.__name__
