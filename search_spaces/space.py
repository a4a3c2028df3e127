"""A search space: an architecture in which any value may be a choice.

A choice is always `{choice: [...]}`. Its parameter is named by its place: `stages.2.channels`;
inside an option of another choice the option's label follows: `stages.2.block.mbconv.kernel_size`,
so that conditional parameters never share a name.

A space may have a part `training:` with settings of the training, choices too; those are named
`training.learning_rate` and so on. Whether a training knows them is for it to say.
"""

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.architecture import Architecture
from search_spaces.heads import AnyHead, Task
from search_spaces.records import InputError, choose, kind_of, other_kind, read_mapping
from search_spaces.reference import list_architectures

if TYPE_CHECKING:
    import optuna

Pick = Callable[[str, list[str | int | float | bool | None]], Any]


@dataclass(frozen=True)
class SearchSpace:
    """`tree` is the data of an architecture file with choices in it, `training` a flat mapping."""

    name: str
    tree: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises InputError unless every option of every choice gives a valid architecture."""
        for name, options in self.training_options().items():
            if not all(isinstance(option, int | float | str) for option in options):
                raise InputError(
                    f"training.{name}: must be a value or {{choice: [a, b]}} of numbers or words, "
                    f"but got {self.training[name]!r}"
                )
        for choices in self._each_option_once():
            self._resolve(_recording(choices, {}))

    def suggest(self, trial: "optuna.trial.BaseTrial") -> Architecture:
        """The architecture that `trial` picks. InputError if its parts do not fit together."""
        return self._resolve(trial.suggest_categorical)

    def suggest_training(self, trial: "optuna.trial.BaseTrial") -> dict[str, Any]:
        """The training settings that `trial` picks; empty where the space has none."""
        return self._training(trial.suggest_categorical)

    def training_options(self) -> dict[str, list[Any]]:
        """What each training setting may be; a setting without a choice is one option."""
        return {
            name: list(_labels(node["choice"], f"training.{name}").values())
            if _is_choice(node)
            else [node]
            for name, node in self.training.items()
        }

    def at(self, resolution: int) -> "SearchSpace":
        """The same space for inputs of `resolution` pixels."""
        return replace(self, tree={**self.tree, "resolution": resolution})

    def members(self, count: int, *, seed: int) -> list[Architecture]:
        """Random members, no network twice, named by their number; fewer where the space ends."""
        draw = random.Random(seed)
        found: dict[str, Architecture] = {}
        for _ in range(100 * count):
            try:
                member = self._resolve(lambda _, labels: draw.choice(labels))
            except InputError:  # parts that do not fit together, as a stride too many
                continue
            found.setdefault(member.key, member.replace(name=f"{self.name}_{len(found)}"))
            if len(found) == count:
                break
        return list(found.values())

    def largest(self, size: Callable[[Architecture], float]) -> Architecture:
        """The member of the greatest `size`, found choice by choice: each in turn takes its largest
        option, the others as they stand. Exact where the options do not hang on each other."""
        choices: dict[str, Any] = {}
        best = self._resolve(_recording(choices, {}))
        greatest = size(best)
        for name, labels in self.parameters().items():
            for label in labels:
                try:
                    member = self._resolve(_recording({**choices, name: label}, {}))
                except InputError:  # parts that do not fit together
                    continue
                if member.key != best.key and (own := size(member)) > greatest:
                    choices, best, greatest = {**choices, name: label}, member, own
        return best

    def tasks(self) -> set[Task]:
        """What its networks are for, by the heads that they may have."""
        return {head.task for head in self.heads()}

    def heads(self) -> list[AnyHead]:
        """Heads that its networks may have: together they have each option once."""
        each = self._each_option_once()
        return [self._resolve(_recording(choices, {})).head for choices in each]

    def size(self) -> int:
        """How many parameter settings the space has (networks may be fewer)."""
        return _size(self.tree) * self.training_size()

    def training_size(self) -> int:
        """How many settings of the training it has; 1 where it chooses none."""
        return _size(self.training)

    def parameters(self) -> dict[str, list[str | int | float | bool | None]]:
        """Every parameter that can be asked for, conditional ones too, with its options."""
        found: dict[str, list[str | int | float | bool | None]] = {}
        for choices in self._each_option_once():
            self._resolve(_recording(choices, found))
        self._training(_recording({}, found))
        return found

    def _training(self, pick: Pick) -> dict[str, Any]:
        return dict(_walk(self.training, "training", pick)) if self.training else {}

    def _resolve(self, pick: Pick) -> Architecture:
        data = {"name": self.name, **_walk(self.tree, "", pick)}
        return Architecture.parse(data, source=f"space '{self.name}'")

    def _each_option_once(self) -> Iterator[dict[str, Any]]:
        """Settings that together visit each option: the others stay at their first."""
        pending: list[dict[str, Any]] = [{}]
        visited: set[tuple[str, Any]] = set()
        while pending:
            choices = pending.pop()
            yield choices
            found: dict[str, list[Any]] = {}
            _walk(self.tree, "", _recording(choices, found))
            for name, labels in found.items():
                for label in labels:
                    if (name, repr(label)) not in visited:
                        visited.add((name, repr(label)))
                        pending.append({**choices, name: label})


def _recording(choices: dict[str, Any], found: dict[str, list[Any]]) -> Pick:
    def pick(name: str, labels: list[Any]) -> Any:
        """The option that `choices` has for the name, else the first."""
        found.setdefault(name, labels)
        return choices.get(name, labels[0])

    return pick


def _is_choice(node: Any) -> bool:
    return isinstance(node, dict) and set(node) == {"choice"}


def _walk(node: Any, place: str, pick: Pick) -> Any:
    """`node` with every choice replaced by what `pick(name, labels)` picks."""
    if _is_choice(node):
        labels = _labels(node["choice"], place)
        label = pick(place, list(labels))
        chosen = labels[label]
        return _walk(chosen, f"{place}.{label}", pick)
    if isinstance(node, dict):
        return {key: _walk(value, f"{place}.{key}".strip("."), pick) for key, value in node.items()}
    if isinstance(node, list):
        return [_walk(value, f"{place}.{i}".strip("."), pick) for i, value in enumerate(node)]
    return node


def _labels(options: Any, place: str) -> dict[Any, Any]:
    """What names each option to the sampler: a plain value itself, a mapping by its `kind`."""
    if not isinstance(options, list) or not options:
        raise InputError(
            f"{place}: a choice needs a list of at least one option, but got {options!r}; "
            f"write {{choice: [a, b]}}"
        )
    labels: dict[Any, Any] = {}
    for option in options:
        label = option
        if isinstance(option, dict):
            label = option.get("kind", json.dumps(option, sort_keys=True))
            label = str(label) if isinstance(label, str) else json.dumps(label, sort_keys=True)
        elif isinstance(option, list):
            label = json.dumps(option)
        if isinstance(option, dict) and label in labels:  # two options of one kind
            label = f"{label}#{sum(str(known).split('#')[0] == label for known in labels) + 1}"
        if any(_as_number(label) == _as_number(known) for known in labels):
            raise InputError(f"{place}: the option {option!r} stands twice in one choice")
        labels[label] = option
    return labels


def _as_number(label: Any) -> Any:
    """The number that a text stands for: a field takes "0.25" and 0.25 alike."""
    try:
        return float(label)
    except (TypeError, ValueError):  # None, or a word
        return label


def _size(node: Any) -> int:
    if _is_choice(node):
        return sum(_size(option) for option in node["choice"])
    if isinstance(node, dict):
        return math.prod(_size(value) for value in node.values())
    if isinstance(node, list):
        return math.prod(_size(value) for value in node)
    return 1


def _shipped() -> dict[str, Path]:
    folder = Path(str(resources.files("search_spaces"))) / "spaces"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def list_spaces() -> list[str]:
    """The names that `load_space` knows."""
    return list(_shipped())


def is_space(name_or_path: str | Path) -> bool:
    """Whether it is the name of a space, or a file that holds one. InputError if it is unreadable.

    A file that does not exist is none.
    """
    path = Path(name_or_path)
    if str(name_or_path) in _shipped():
        return True
    return path.is_file() and kind_of(read_mapping(path)) == "a search space"


def load_space(name_or_path: str | Path) -> SearchSpace:
    """A space by its name (`mbconv`) or from a YAML or JSON file.

    Raises InputError for an unknown name, an unreadable file, an empty choice, or an option that
    breaks an architecture's rule.
    """
    text = str(name_or_path)
    path = Path(text)
    if text in _shipped() or not (path.suffix in (".yaml", ".yml", ".json") or path.exists()):
        if text in list_architectures():
            raise other_kind(text, "an architecture", wanted="a search space")
        path = choose(_shipped(), text, what="search space")
    tree = read_mapping(path, wanted="a search space")
    name = tree.pop("name", path.stem)
    training = tree.pop("training", None) or {}
    if not isinstance(training, dict):
        raise InputError(
            f"'{path}': training must be a mapping of settings to values or choices, "
            f"but is {training!r:.40}"
        )
    return SearchSpace(str(name), tree, training)
