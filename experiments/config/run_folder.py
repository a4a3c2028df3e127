"""A run's folder: the config as used, the store, what was found, tables and figures."""

import json
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from textwrap import shorten
from typing import Any

from experiments.config.files import sweep, unbegun, write_json, write_text
from experiments.config.schema import DELIVERY, SearchConfig
from experiments.config.storage_url import without_passwords
from scaler.compound import FILE_VERSION, CompoundCoefficients
from search_spaces.architecture import Architecture
from search_spaces.records import InputError, dump_yaml, read_mapping
from search_spaces.reference import load_architecture

_PACKAGES = ("scaler-nas", "torch", "ray", "optuna", "fvcore", "numpy", "pandas")
_LONGEST = 80  # characters of a value in an error
_MAY_CHANGE = ("cluster", "run", "tracking")  # where it runs and is shown is not what it is
_MAY_GROW = (
    "search.trials",
    "search.time_limit",
    "confirmation.top",
    "confirmation.seeds",
    "confirmation.known",
    "coefficients.leaders",
    "coefficients.seeds",
    "comparison.seeds",
    "proxy.networks",
    "proxy.correlation",
)


@dataclass(frozen=True)
class RunFolder:
    """Paths and contents of one run; every file in it is written whole or not at all."""

    path: Path
    config: SearchConfig

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """An existing run. Raises InputError where the folder is not one."""
        folder = Path(path)
        config = folder / "config.yaml"
        if not config.is_file():
            reason = "it has no config.yaml" if folder.is_dir() else "there is no such folder"
            raise InputError(
                f"'{path}' is not a run folder: {reason}; "
                f"name one that `scaler run` or `scaler search` made"
            )
        return cls(folder, SearchConfig.parse(read_mapping(config), source=str(config)))

    @classmethod
    def check(cls, config: SearchConfig, begun: set[str]) -> "RunFolder":
        """The config's run folder, made or not yet; nothing is written.

        `begun` names the studies that hold trials. Raises InputError where the folder
        holds something else, or a run of another config: more trials may be asked for, other
        machines, and whatever no trial has been trained with yet.
        """
        path = config.run_folder
        if (path / "config.yaml").is_file():
            check_same(cls.open(path).config, config, path, begun)
        elif path.exists() and not path.is_dir():
            raise InputError(f"'{path}' is a file; name a folder with `run:` or --run")
        elif not unbegun(path):
            raise InputError(
                f"'{path}' is not empty and not a run folder; name a new one with `run:` or --run"
            )
        return cls(path, config)

    def write_config(self) -> None:
        """The first file of a run, which makes its folder one; needs the run's lock.

        In full, so that a later version's defaults do not change the run. A search's target that is
        there stays, where the config of another step names none.
        """
        sweep(self.path)
        path, config = self.path / "config.yaml", self.config
        if config.search.target is None and path.is_file():
            kept = self.open(self.path).config.search
            if kept.target_flops is not None:
                targets = {"target": kept.target, "targets": kept.targets}
                config = config.replace(search=config.search.replace(**targets))
        write_text(path, dump_yaml(config.model_dump(mode="json")))

    def check_facts(self, facts: dict[str, Any]) -> None:
        """Raise InputError where a run was begun on other data or with another evaluation."""
        check_facts(self.environment(), facts, self.path)

    @property
    def study(self) -> Path:
        """The SQLite file of the studies; it is not there where they are in a database."""
        return self.path / "study.db"

    @property
    def checkpoints(self) -> Path:
        """The folder of the networks' weights."""
        return self.path / "checkpoints"

    @property
    def tables(self) -> Path:
        """The folder of the tables, as CSV and Markdown."""
        return self.path / "tables"

    @property
    def figures(self) -> Path:
        """The folder of the figures, as PNG and SVG."""
        return self.path / "figures"

    @property
    def report(self) -> Path:
        """The one page of the run."""
        return self.path / "report.html"

    def write_environment(self, **facts: Any) -> None:
        """What it takes to repeat the run: versions, the machine, the data's fingerprint."""
        write_json(self.path / "environment.json", environment_facts(**facts))

    def environment(self) -> dict[str, Any]:
        """What `write_environment` wrote. Raises InputError where the file was cut or changed."""
        path = self.path / "environment.json"
        if not path.is_file():
            return {}
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read '{path}': {error.strerror}") from None
        except (ValueError, RecursionError):
            kept = None
        if not isinstance(kept, dict):
            raise InputError(
                f"'{path}' was cut or changed: it is no JSON object; remove it, and the same "
                f"`scaler search` or `run` writes it anew"
            )
        return kept

    @property
    def metric(self) -> str:
        """What people call what was measured: `accuracy`, `Dice`, ...; older runs had accuracy."""
        return str(self.environment().get("metric", "accuracy"))

    @property
    def judged(self) -> str:
        """What people call what candidates were compared by: the metric, perhaps in int8."""
        return self.config.search.named(self.metric)

    def write_baseline(
        self,
        architecture: Architecture,
        *,
        recipe: dict[str, Any] | None = None,
        sizes: dict[str, int] | None = None,
        suffix: str = "",
    ) -> None:
        """`recipe` is what the search chose for its training, if its space has such choices.

        `sizes` are the run's `num_classes` and `in_channels`: the file carries them. `suffix` tells
        the files of a further target apart: `_5M`.
        """
        path = self.path / f"recipe{suffix}.yaml"
        if recipe:
            write_text(path, dump_yaml(recipe))
        else:
            path.unlink(missing_ok=True)
        write_text(self.path / f"baseline{suffix}.yaml", _with_sizes(architecture, sizes))

    def baseline(self) -> Architecture | None:
        """What the search found or the user gave; None before that. Raises InputError."""
        path = self.path / "baseline.yaml"
        if not path.is_file():
            return None
        return load_architecture(path)

    def recipe(self) -> dict[str, Any]:
        """The training settings that the baseline was found with, over those of the config."""
        path = self.path / "recipe.yaml"
        return read_mapping(path) if path.is_file() else {}

    def write_coefficients(self, coefficients: CompoundCoefficients) -> None:
        """Write coefficients.yaml, which `scaler scale --coefficients` reads."""
        lines = {"version": FILE_VERSION, **dict(coefficients)}
        text = "".join(f"{name}: {value}\n" for name, value in lines.items())
        write_text(self.path / "coefficients.yaml", text)

    def coefficients(self) -> CompoundCoefficients | None:
        """What coefficients.yaml holds; None where there is no such file. Raises InputError."""
        path = self.path / "coefficients.yaml"
        return CompoundCoefficients.from_file(path) if path.is_file() else None

    def write_member(
        self, architecture: Architecture, *, sizes: dict[str, int] | None = None
    ) -> None:
        """Write a member to family/<its name>.yaml; `sizes` are those of `write_baseline`."""
        path = self.path / "family" / f"{architecture.name}.yaml"
        write_text(path, _with_sizes(architecture, sizes))


def _with_sizes(architecture: Architecture, sizes: dict[str, int] | None) -> str:
    return architecture.to_yaml() + (dump_yaml(sizes) if sizes else "")


def environment_facts(**facts: Any) -> dict[str, Any]:
    """Versions, the machine and the command, with `facts` after them."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": [without_passwords(part) for part in sys.argv],
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        **facts,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_same(before: SearchConfig, now: SearchConfig, path: Path | str, begun: set[str]) -> None:
    """Raise InputError where a run is continued with another config than it was begun with."""
    if not begun:
        return
    untouched = {"confirmation", "coefficients", "family", "comparison", "proxy"} - begun
    free = {*_MAY_GROW, *DELIVERY}
    if "search" not in begun:
        free |= {"search.target", "search.targets"}
        free |= {"search.exponent"} if now.search.exponent is None else set()  # follows from them
    old, new = _flat(before), _flat(now)
    for name in sorted(old.keys() | new.keys(), key=lambda name: (name == "search.exponent", name)):
        if name in free or name.split(".")[0] in (*_MAY_CHANGE, *untouched):
            continue
        if old.get(name) != new.get(name):
            raise InputError(
                f"'{path}' holds a run with {differing(name, old.get(name), new.get(name))}; "
                f"continue with the same config or name a new folder with --run"
            )


def differing(place: str, before: Any, now: Any) -> str:
    """`place = before, but now it is now`, of the first value that differs within these two.

    A network or a space is pages of values: it is told by its `name`, or by the one value that is
    another. What is long all the same is cut.
    """
    pairs: dict[Any, tuple[Any, Any]] = {}
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys(), key=lambda key: (key != "name", str(key)))
        pairs = {key: (before.get(key), now.get(key)) for key in keys}
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = dict(enumerate(zip(before, now, strict=True)))
    for key, (old, new) in pairs.items():
        if old != new:
            return differing(f"{place}.{key}", old, new)
    old, new = (shorten(str(value), width=_LONGEST, placeholder=" ...") for value in (before, now))
    return f"{place} = {old}, but now it is {new}"


def check_facts(before: dict[str, Any], now: dict[str, Any], path: Path | str) -> None:
    """Raise InputError where a fact that was kept differs from what it is now."""
    for name, value in now.items():
        if name in before and before[name] != value:
            raise InputError(
                f"'{path}' was begun with {name} {before[name]}, but now it is {value}; "
                f"put it back, or name a new folder with --run"
            )


def _flat(config: SearchConfig) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for section, values in config.model_dump(mode="json").items():
        if isinstance(values, dict):
            flat.update({f"{section}.{key}": value for key, value in values.items()})
        else:
            flat[section] = values
    if config.data.fit == "auto":  # `crop` in configs of before, of tasks that still crop
        flat["data.fit"] = config.data.fitted("classification")
    search = config.search
    return flat | {"search.target": search.known_target, "search.exponent": search.known_exponent}
