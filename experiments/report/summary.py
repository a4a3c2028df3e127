"""What a run was asked and what it found, in a few sentences."""

import math

import pandas as pd

from experiments.config.run_folder import RunFolder
from experiments.config.schema import SearchConfig
from experiments.config.search_section import SearchSection
from experiments.config.units import NAMES, readable_cost, readable_count
from experiments.engine.progress import screened_text
from experiments.report.front import for_main_target, front_table, front_text
from experiments.report.repeats import NEAR, confirmation_standings, worth_text
from experiments.report.tables import data_sizes
from experiments.steps.noise import verdict
from experiments.store.store import reading
from scaler.arena import arena_text


def summary(folder: RunFolder, tables: dict[str, pd.DataFrame]) -> list[str]:
    """The question, the search, its confirmation if there was one, the family.

    True of a run of any state. What was found and what it was worth says `outcome`.

    Of a run that is a comparison only: what was compared, and which network came out best.
    """
    if only_compared(tables["trials"]):
        return _compared(folder.config, tables)
    section = folder.config.search
    return [
        _asked(folder.config, folder.judged),
        _searched(tables, folder),
        *_confirmed(for_main_target(tables["trials"], section), folder),
        _scaled(tables, folder),
    ]


def only_compared(trials: pd.DataFrame) -> bool:
    """Whether the run trained networks side by side and did nothing else."""
    return set(trials["study"]) == {"comparison"}


def _compared(config: SearchConfig, tables: dict[str, pd.DataFrame]) -> list[str]:
    section = config.comparison
    asked = f"Compared on {config.data.source}, epochs of each training: {section.epochs}."
    if "comparison" not in tables:
        return [asked, "No training has finished."]
    best = tables["comparison"].sort_values("error", kind="stable").iloc[0]
    return [
        asked,
        f"Of {len(tables['comparison'])} networks {best['network']} has the lowest validation "
        f"error, {best['error']:.2%}, with a test error of {best['test_error']:.2%} at "
        f"{readable_count(best['flops'])}FLOPs.",
    ]


def _asked(config: SearchConfig, metric: str) -> str:
    section = config.search
    budgets = [readable_cost(section.cost, target) for target in section.budgets]
    several = len(budgets) > 1
    within = f" for each of the budgets {', '.join(budgets)}" if several else ""
    target = readable_cost(section.cost, section.known_target)
    reward = f"ACC · ({NAMES[section.cost]} / T)^{section.known_exponent:g}"
    highest = f"reward {reward}" if section.known_exponent or not several else metric
    return (
        f"Asked for{within}: the network of space {section.space} with the highest {highest} "
        f"on {config.data.source}, {'main ' if several else ''}T = {target}, found in at most "
        f"{section.trials} trials of up to {section.epochs} epochs and then scaled to a family "
        f"({config.family.kind})."
    )


def _searched(tables: dict[str, pd.DataFrame], folder: RunFolder) -> str:
    trials = tables["trials"]
    searched = trials[trials["study"] == "search"]
    if searched.empty:
        return "No trial of the search has ended yet."
    counts = searched["state"].value_counts()
    ended = ", ".join(
        f"{counts[state]} {word}"
        for state, word in (
            ("complete", "finished"),
            ("pruned", "stopped early"),
            ("fail", "failed"),
        )
        if counts.get(state, 0)
    )
    screened = _screened(folder)
    if tables["search"].empty:
        return f"None of the search's trials has finished ({ended}).{screened}"
    best = tables["search"].iloc[0]
    return _started(trials) + (
        f"The search ({ended}): trial #{best['number']} had the highest reward of one training, "
        f"{best['reward']:.4f}: {best['accuracy']:.2%} validation {folder.judged} at "
        f"{readable_count(best['flops'])}FLOPs with {best['params']:,} parameters.{screened}"
    )


def _screened(folder: RunFolder) -> str:
    """Sentences of their own, or nothing: what was screened out, and why there were no more."""
    with reading(folder) as snapshot:
        notes = snapshot.notes("search")
    text, ended = screened_text(notes.get("screened_out", {})), notes.get("ended", "")
    told = [f"Candidates: {text}." if text else "", f"Fewer than asked: {ended}." if ended else ""]
    return "".join(f" {sentence}" for sentence in told if sentence)


def _started(trials: pd.DataFrame) -> str:
    """What was known before, if anything was."""
    if "origin" not in trials:
        return ""
    told = int((trials["study"] == "warm_start").sum())
    tried = int(((trials["study"] == "search") & (trials["origin"] != "")).sum())
    counts = ((told, "results from elsewhere told"), (tried, "settings tried first"))
    known = ", ".join(f"{number} {what}" for number, what in counts if number)
    return f"Warm start: {known}. " if known else ""


def _confirmed(trials: pd.DataFrame, folder: RunFolder) -> list[str]:
    ranked = confirmation_standings(trials)
    if not ranked:
        return []
    baseline = folder.baseline()
    named = f" So {ranked[0].contender} is {baseline.name}." if baseline else ""
    return [
        f"The highest of many trainings is high by luck too. Trained again with new seeds, "
        f"{verdict(ranked, of='reward')}{named}"
    ]


def outcome(trials: pd.DataFrame, section: SearchSection, *, metric: str = "accuracy") -> list[str]:
    """What was found for each target, and of the main one: against the budget and known networks.

    Nothing before a search. `metric` is what people call what was measured.
    """
    front = front_text(front_table(trials, section), section, metric=metric)
    trials = for_main_target(trials, section)
    searched = trials[(trials["study"] == "search") & (trials["state"] == "complete")]
    if searched.empty:
        return []
    ranked = confirmation_standings(trials)
    found = searched.sort_values("reward", ascending=False, kind="stable").iloc[0]["key"]
    if ranked:
        confirmed = trials[trials["study"] == "confirmation"]
        found = confirmed[confirmed["contender"] == ranked[0].contender].iloc[0]["key"]
    own = searched[searched["key"] == found]
    has = [float(own.iloc[0][section.cost])] if len(own) else []
    used = [_budget_used(searched, one, section, metric) for one in has]
    worth = worth_text(trials, section)
    return [*front, *used, *([f"{worth[0].upper()}{worth[1:]}."] if worth else [])]


def arena_told(folder: RunFolder) -> list[str]:
    """Where RAM was limited, a sentence with what ExecuTorch reserves for the baseline."""
    baseline, limit = folder.baseline(), folder.config.search.max_peak_ram
    if baseline is None or limit == math.inf:
        return []
    text = arena_text(baseline, limit=limit, **data_sizes(folder))
    return [f"{text}."] if text else []


def _budget_used(searched: pd.DataFrame, has: float, section: SearchSection, metric: str) -> str:
    """Which share of the target the found network has, and who is the best near the target."""
    price, target = section.cost, section.known_target
    budget = readable_cost(price, target)
    used = f"The found network uses {has / target:.0%} of the budget of {budget}"
    if abs(has / target - 1) <= NEAR:
        return f"{used}."
    near = searched[(searched[price] / target - 1).abs() <= NEAR]
    if near.empty:
        return f"{used}; no finished trial comes within {NEAR:.0%} of it."
    best = near.sort_values("reward", ascending=False, kind="stable").iloc[0]
    return (
        f"{used}; the best within {NEAR:.0%} of it is trial {best['number']}, with "
        f"{best['accuracy']:.2%} {metric} and a reward of {best['reward']:.4f}."
    )


def _scaled(tables: dict[str, pd.DataFrame], folder: RunFolder) -> str:
    coefficients, metric = folder.coefficients(), folder.metric
    if coefficients is None:
        return "It has not been scaled yet."
    values = ", ".join(f"{name} {value:g}" for name, value in coefficients)
    rule = f"The grid of {len(tables['coefficients'])} settings chose {values}"
    members = tables["family"][tables["family"]["state"] == "complete"]
    if members.empty:
        return f"{rule}; no member of the family has been trained yet."
    last = members.iloc[-1]
    test = last["test_accuracy"]
    tested = "" if pd.isna(test) else f" and {test:.2%} test {metric}"
    return (
        f"{rule}; with it the baseline grew to {last['member']}, which reaches "
        f"{last['accuracy']:.2%} validation {metric}{tested} at "
        f"{readable_count(last['flops'])}FLOPs."
    )
