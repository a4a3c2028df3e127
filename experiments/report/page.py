"""The one page of a run: self-contained HTML."""

import base64
import shlex
import struct
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, StrictUndefined

from experiments.config import CoefficientsSection
from experiments.report.cells import alignments, readable_rows
from experiments.report.figures import FIGURES
from experiments.report.repeats_tables import coefficients_standings, confirmation_standings
from experiments.report.stages import stages_table
from experiments.report.summary import only_compared, summary
from experiments.report.tables import coefficient_trials
from experiments.run_folder import RunFolder
from experiments.studies.noise import verdict
from scaler.compound import CompoundCoefficients

_TABLES = (
    "search",
    "confirmation",
    "coefficients",
    "dropped",
    "family",
    "comparison",
    "gradient_norms",
    "failures",
)
_TEMPLATE = Path(__file__).with_name("page.html")

# figure -> what is on it, for those who do not see it; the caption for those who do
_TEXTS = {
    "flops_accuracy": (
        "Scatter plot of the search's trials: cost, logarithmic, against validation accuracy, "
        "with the Pareto front as a step line and the best trial as a star.",
        "Along a grey line the reward is equal, its value at the line's end; "
        "up and to the left is better.",
    ),
    "search_history": (
        "The reward of each trial of the search in order, and the best reward so far as a line.",
        "Trials in the order in which they ended.",
    ),
    "confirmation": (
        "Dot plot of the finalists by rank: the reward of each repeated training, with mean and "
        "standard deviation, and the reward in the search.",
        "The winner, the baseline, stands first. Across a dotted line the trainings differ in "
        "length, so that rewards are not to be compared.",
    ),
    "coefficients": (
        "Dot plot of the directions of growth by rank: the accuracy of each training, of the "
        "leaders with mean and standard deviation.",
        "Left of the dotted line the leaders, trained again with new seeds; right of it the others "
        "with their one training.",
    ),
    "family": (
        "Line plot of the family: FLOPs, logarithmic, against validation and test accuracy.",
        "The family's scaling curve; b0 is the baseline.",
    ),
    "comparison": (
        "Line plots of the compared networks: error by epoch in training and on the validation "
        "part.",
        "Dashed: error on the augmented training images; solid: on the validation part.",
    ),
    "gradient_norms": (
        "Line plots of the compared networks: norm of each layer's gradient, logarithmic, from "
        "the first layer to the last.",
        "Gradient norms at the first step of training, on the first batch.",
    ),
}


class Shown(NamedTuple):
    """A table as the page shows it."""

    heads: list[str]
    sides: list[str]
    rows: list[list[str]]


class Picture(NamedTuple):
    data: str  # PNG, base64
    width: int  # pixels
    height: int
    alt: str
    caption: str


def make_page(
    folder: RunFolder, *, tables: dict[str, pd.DataFrame], figures: dict[str, bytes]
) -> str:
    """HTML that loads nothing from anywhere; whatever a run's names and errors hold is escaped."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    baseline, coefficients = folder.baseline(), folder.coefficients()
    shown = {name: _shown(table) for name, table in tables.items() if name != "trials"}
    chosen = ", ".join(f"{name} {value:g}" for name, value in coefficients or ())
    return template.render(
        name=folder.config.name,
        summary=summary(folder, tables),
        tables={name: shown.get(name) for name in _TABLES},
        figures={name: _picture(name, figures.get(name)) for name in FIGURES},
        baseline=baseline.name if baseline else None,
        stages=_shown(stages_table(baseline)) if baseline else None,
        chosen=chosen,
        winner_first=_leads(tables["coefficients"], coefficients),
        verdicts=_verdicts(folder, tables["trials"]),
        grown=_grown(folder.config.coefficients),
        line=not only_compared(tables["trials"]),
        config=folder.config.replace(run=None).to_yaml(),  # to be repeated somewhere else
        facts=_facts(folder.environment()),
    )


def _verdicts(folder: RunFolder, trials: pd.DataFrame) -> dict[str, str | None]:
    """What can be said of first and second."""
    directions = coefficients_standings(coefficient_trials(folder, trials))
    finalists = confirmation_standings(trials)
    return {
        "confirmation": verdict(finalists, of="reward") if finalists else None,
        "coefficients": verdict(directions, of="accuracy") if directions else None,
    }


def _grown(section: CoefficientsSection) -> str:
    if section.rule == "phi":
        return f"to phi = {section.phi:g}, whatever it then cost"
    within = f"within {section.flops_tolerance:.2%}"
    return f"to {section.target_ratio:g} times its own measured FLOPs, {within}"


def _leads(grid: pd.DataFrame, chosen: CompoundCoefficients | None) -> bool:
    """Whether the first row is the chosen one; a coefficients file may have come from elsewhere."""
    if grid.empty or chosen is None:
        return False
    return all(grid.iloc[0][name] == value for name, value in chosen)


def _shown(table: pd.DataFrame) -> Shown:
    heads = [str(name).replace("_", " ") for name in table.columns]
    return Shown(heads, alignments(table), readable_rows(table))


def _picture(name: str, png: bytes | None) -> Picture | None:
    if png is None:
        return None
    width, height = struct.unpack(">II", png[16:24])  # of the header chunk
    return Picture(base64.b64encode(png).decode(), width, height, *_TEXTS[name])


def _facts(environment: dict[str, Any]) -> list[tuple[str, str]]:
    """(term, fact) of what the run's environment.json says."""
    facts = []
    if command := environment.get("command"):
        facts.append(("Command", _command(command)))
    if data := environment.get("data"):
        facts.append(("Data fingerprint", str(data)))
    versions = {"python": environment.get("python"), **environment.get("packages", {})}
    known = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    if known:
        facts.append(("Versions", known))
    if platform := environment.get("platform"):
        facts.append(("Platform", str(platform)))
    return facts


def _command(words: list[str]) -> str:
    """As it is typed: where the program lies on one machine is nobody's business."""
    program = PurePath(words[0]).name
    typed = ["python", "-m", "experiments"] if program == "__main__.py" else [program]
    return shlex.join([*typed, *words[1:]])
