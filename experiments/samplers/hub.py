"""The flagship sampler as a package for OptunaHub: `python -m experiments.samplers.hub FOLDER`.

The package needs only Optuna, numpy and scipy. Its modules are copies of those of this room, with
imports from within the package, so that the two cannot differ.
"""

import re
import sys
from importlib.metadata import version
from pathlib import Path

_WANTED = ("cost_aware", "known_cost", "recommend")
_IMPORTED = re.compile(r"^from experiments\.samplers\.(\w+) import", re.MULTILINE)
_INIT = '''"""Bayesian optimization of accuracy times a power of a cost that is known before."""

from typing import Any

from .cost_aware import CostAwareSampler as _CostAwareSampler
from .known_cost import CostOf, KnownCost, Limits, Network
from .recommend import recommend

__all__ = ["CostAwareSampler", "recommend"]


class CostAwareSampler(_CostAwareSampler):
    """For studies that maximize accuracy * (cost / target) ** exponent; without a cost, any value.

    `cost` is a function of the sampled parameters, or a table of them. `limits` is (low, high) on
    it, or a function of the parameters. `network` is a function of the parameters too: what they
    make, equal for equal networks; each is proposed once.
    """

    def __init__(
        self,
        cost: CostOf | None = None,
        *,
        target: float | None = None,
        exponent: float = -0.07,
        limits: Limits | None = None,
        network: Network | None = None,
        seed: int | None = None,
    ) -> None:
        known: dict[str, Any] = {"limits": limits, "network": network}
        super().__init__(KnownCost(cost, target=target, exponent=exponent, **known), seed=seed)
'''


def write_package(folder: Path) -> Path:
    """Write `samplers/cost_aware` in the layout of OptunaHub's registry into `folder`.

    Returns the package's path. FileExistsError if it exists already.
    """
    room, package = Path(__file__).parent, folder / "samplers" / "cost_aware"
    package.mkdir(parents=True)
    for name, text in _modules(room).items():
        text = _IMPORTED.sub(r"from .\1 import", text)
        text = text.replace("from search_spaces.records import", "from .errors import")
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    errors = (room.parents[1] / "search_spaces" / "errors.py").read_text(encoding="utf-8")
    (package / "errors.py").write_text(errors, encoding="utf-8")
    (package / "__init__.py").write_text(_INIT, encoding="utf-8")
    (package / "requirements.txt").write_text("optuna\nnumpy\nscipy\n", encoding="utf-8")
    for shipped in sorted((room / "optunahub").iterdir()):
        if shipped.suffix in (".md", ".py"):
            text = shipped.read_text(encoding="utf-8").replace("OPTUNA_VERSION", version("optuna"))
            (package / shipped.name).write_text(text, encoding="utf-8")
    licence = room.parents[1] / "LICENSE"
    if licence.is_file():
        (package / "LICENSE").write_text(licence.read_text(encoding="utf-8"), encoding="utf-8")
    return package


def _modules(room: Path) -> dict[str, str]:
    """The modules that the package needs, by name: the wanted ones and all that they import."""
    found: dict[str, str] = {}
    pending = list(_WANTED)
    while pending:
        name = pending.pop()
        if name not in found:
            found[name] = (room / f"{name}.py").read_text(encoding="utf-8")
            pending += _IMPORTED.findall(found[name])
    return dict(sorted(found.items()))


if __name__ == "__main__":
    print(write_package(Path(sys.argv[1])))
