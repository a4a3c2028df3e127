"""The search study: candidates from a space, the best of them the baseline."""

import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial

from experiments.config.messages import WorkFailed, say, warn
from experiments.config.recipe import SETTINGS_OF_THE_MACHINE, TrainConfig
from experiments.config.run_folder import RunFolder
from experiments.config.schema import SearchConfig
from experiments.config.units import NAMES, readable_cost
from experiments.engine.budgets import file_suffix, main_target
from experiments.engine.limits import limits_text, searched_space
from experiments.engine.pricing import latency_facts
from experiments.engine.sampled import SampledCandidates
from experiments.engine.session import Session, open_session
from experiments.samplers import make_sampler
from experiments.steps.confirmation import best_finished, plan_text, rounds, run_confirmation
from experiments.steps.known import check_known, known_plan, train_known
from experiments.steps.warm_start import check_lengths, load_warm_start, read_warm_start
from experiments.store.trial import architecture_of, best_complete, training_of
from search_spaces.architecture import Architecture
from search_spaces.records import InputError, suggest
from search_spaces.space import SearchSpace

if TYPE_CHECKING:
    import pandas

    from experiments.training.trial import Evaluate


@dataclass(frozen=True)
class SearchResult:
    """The result of a search: its folder, the baseline, a row for each trial, the training.

    `training` holds the baseline's choices from the space's `training:` part; empty without one.
    With several targets `best` is that of the main one, and `load_front` gives the others.
    """

    run: RunFolder
    best: Architecture
    trials: "pandas.DataFrame"
    training: dict[str, Any]


def search(
    config: SearchConfig,
    *,
    evaluate: "Evaluate | None" = None,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> SearchResult:
    """Search a space for ACC * (FLOPS/T)^w; begin a run folder or continue an existing one.

    `evaluate(architecture, *, report, seed, checkpoint_dir) -> accuracy` replaces the built-in
    training; then the cost is counted for `num_classes` and `in_channels`. If the space has
    `training:` choices, it is also given `training`. Raises InputError for a wrong config,
    WorkFailed when no trial finished.
    """
    from experiments.store.trials import load_trials

    check_search(config, evaluate)
    with open_session(
        config,
        evaluate=evaluate,
        num_classes=num_classes,
        in_channels=in_channels,
        searches=True,
    ) as session:
        best = run_search(session)
    trials = load_trials(session.folder.path, study="search")
    return SearchResult(session.folder, best, trials, session.folder.recipe())


def check_search(config: SearchConfig, evaluate: "Evaluate | None" = None) -> None:
    """Raise InputError for input with which the search would fail, before anything is made."""
    space = searched_space(config.search)
    make_sampler(config.search.sampler)
    latency_facts(config.search)
    check_known(config.confirmation)
    check_training_choices(space, evaluate)
    warm_start = config.search.warm_start
    if warm_start is not None and not (config.run_folder / "study.db").exists():
        check_lengths(read_warm_start(warm_start, space), config.search)


def run_search(session: Session) -> Architecture:
    """Train the missing trials of the search; write and return the baseline."""
    section = session.config.search
    space = searched_space(section)
    enqueued, told = load_warm_start(session, space)
    finished = session.store.trials("search")

    candidates = SampledCandidates(
        space,
        section=section,
        seed=session.config.seed,
        finished=finished,
        enqueued=enqueued,
        told=told,
        **session.sizes,
    )
    confirmation = session.config.confirmation
    confirms = confirmation is not None and confirmation.top > 1
    if len(finished) < section.trials:
        _tell_plan(session)
    session.train(
        "search",
        candidates,
        trials=section.trials - len(finished),
        epochs=section.epochs,
        done=len(finished),
        early_stopping=section.early_stopping,
        time_limit=section.time_limit,
    )
    trials = session.store.trials("search")
    session.store.note("search", "ended", candidates.ended)
    by = Counter(trial.user_attrs.get("proposed_by", "") for trial in trials)
    proposers = [f"{count} by {name}" for name, count in by.most_common() if name]
    if proposers:
        say(f"proposed: {', '.join(proposers)}")
    best = best_complete(trials)
    if best is None:
        raise WorkFailed(_why_nothing(trials, session, candidates.ended))
    if candidates.ended:
        warn(f"the search has {len(trials)} of {section.trials} trials: {candidates.ended}")
    if confirmation is not None and confirms:
        winners = run_confirmation(session, confirmation)
        if section.known_target in winners:
            train_known(session, confirmation, winners[section.known_target])
    else:
        winners = best_finished(session)
    return _write_baselines(session, winners)


def _tell_plan(session: Session) -> None:
    """Says at which cost networks are compared, and what comes after the search."""
    section, confirmation = session.config.search, session.config.confirmation
    budgets = [readable_cost(section.cost, target) for target in section.budgets]
    if confirmation is not None and confirmation.top > 1:
        plan = rounds(
            confirmation,
            networks=confirmation.top,
            epochs=section.epochs,
            spent=section.trials * section.epochs,
            budgets=len(budgets),
        )
        at_most = f", at most {confirmation.share:.0%} of the search" if confirmation.share else ""
        if plan:
            known = known_plan(confirmation, seeds=plan[-1].seeds)
            say(f"after the search a confirmation{at_most}: {plan_text(plan, spent=0)}{known}")
    target = readable_cost(section.cost, section.known_target)
    if len(budgets) > 1:
        say(
            f"search: one network for each of {', '.join(budgets)}, which trials take in turn; "
            f"coefficients, family and known networks are those of {target}"
        )
    elif section.at == "formula":
        say(
            f"search: the reward weighs {NAMES[section.cost]} against {target}, so the best may "
            f"have more or fewer; `search.at: budget` compares all at {target}"
        )


def _write_baselines(session: Session, winners: dict[float, FrozenTrial]) -> Architecture:
    """Writes a file for each target that has a network; that of the main target, else of the
    largest, is baseline.yaml and is returned."""
    section, name = session.config.search, f"{session.config.name}_baseline"
    for target in section.budgets:
        if target not in winners:
            told = readable_cost(section.cost, target)
            warn(f"no trial for {told} finished: it has no network")
    main = main_target(section, winners)
    for target, winner in winners.items():
        suffix = file_suffix(section, target, main=main)
        session.folder.write_baseline(
            architecture_of(winner).replace(name=f"{name}{suffix}"),
            recipe=training_of(winner),
            sizes=session.sizes,
            suffix=suffix,
        )
    return architecture_of(winners[main]).replace(name=name)


def _why_nothing(trials: list[FrozenTrial], session: Session, ended: str) -> str:
    section = session.config.search
    if not trials:
        return (
            f"no network of space '{section.space}' lies within its limits"
            f"{limits_text(section)}: {ended}; widen them, or change the space"
        )
    reasons = [trial.user_attrs["reason"] for trial in trials if trial.user_attrs["reason"]]
    return f"none of {len(trials)} trials finished; the last says: {reasons[-1]}"


_NOT_CHOSEN = {*SETTINGS_OF_THE_MACHINE, "epochs"}  # where it runs and its length, not how


def check_training_choices(space: SearchSpace, evaluate: Callable[..., Any] | None) -> None:
    """Raise InputError if the training would not know or not accept a setting.

    The user's `evaluate` may have settings of any name, but must take them.
    """
    if not space.training:
        return
    if evaluate is not None:
        if not _takes_training(evaluate):
            raise InputError(
                f"space '{space.name}' chooses the training's {', '.join(space.training)}, but "
                f"`evaluate` has no keyword `training`; add it, or take the part out of the space"
            )
        return
    fields = TrainConfig.model_fields.keys() - _NOT_CHOSEN
    for name, options in space.training_options().items():
        if name not in fields:
            raise InputError(
                f"space '{space.name}': unknown training setting '{name}'; "
                f"{suggest(name, fields, printed_by='scaler schema')}"
            )
        for option in options:
            TrainConfig.parse({name: option}, source=f"space '{space.name}': training")


def _takes_training(evaluate: Callable[..., Any]) -> bool:
    parameters = inspect.signature(evaluate).parameters
    return "training" in parameters or any(
        parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()
    )
