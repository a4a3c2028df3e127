"""search_spaces <- scaler <- experiments: a lower floor never imports a higher one."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ["search_spaces", "scaler", "experiments"]


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_imports_nothing_above_it(floor):
    above = set(FLOORS[FLOORS.index(floor) + 1 :])
    files = sorted((ROOT / floor).rglob("*.py"))
    assert files
    climbing = [str(file.relative_to(ROOT)) for file in files if imported(file) & above]
    assert climbing == []


def test_the_walk_sees_an_import_inside_a_function(tmp_path):
    file = tmp_path / "climber.py"
    file.write_text("def f():\n    from experiments.config import SearchConfig\n")
    assert "experiments" in imported(file)
