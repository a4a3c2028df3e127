"""The recipes that come with the package, a YAML file each."""

from importlib import resources
from pathlib import Path
from typing import Any

from experiments.config.recipe import TrainConfig
from search_spaces.records import InputError, read_mapping, suggest


def list_recipes() -> list[str]:
    return sorted(_shipped())


def load_recipe(name_or_path: str | Path) -> TrainConfig:
    """A shipped recipe by name (`efficientnet`) or any by path. Raises InputError."""
    return TrainConfig.parse({"recipe": str(name_or_path)}, source=f"recipe '{name_or_path}'")


def read_recipe(name_or_path: str) -> dict[str, Any]:
    """The settings in a recipe's file. Raises InputError where there is none."""
    shipped = _shipped()
    path = shipped.get(name_or_path, Path(name_or_path))
    if not path.is_file():
        hint = suggest(name_or_path, shipped)
        raise InputError(f"no recipe '{name_or_path}', neither a file nor a name; {hint}")
    settings = read_mapping(path)
    if "recipe" in settings:
        raise InputError(f"recipe '{name_or_path}' builds on a recipe; write its settings out")
    return {"name": path.stem, **settings}


def _shipped() -> dict[str, Path]:
    folder = Path(str(resources.files("experiments"))) / "recipes"
    return {path.stem: path for path in folder.glob("*.yaml")}
