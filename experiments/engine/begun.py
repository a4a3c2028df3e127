"""What a run was begun with: its trials, its config and its target, in its folder or a database."""

from typing import Any

from experiments.config.run_folder import RunFolder, check_facts, check_same
from experiments.config.schema import SearchConfig
from experiments.config.storage_url import masked
from experiments.config.units import readable_cost
from experiments.engine.budgets import with_target
from experiments.store.sqlite_file import backup_of
from experiments.store.store import Store
from search_spaces.records import InputError


def look_at_store(config: SearchConfig) -> tuple[Store | None, set[str]]:
    """The database, if the store is one, and the studies that hold trials; no file is made.

    Raises InputError where the folder's run has its trials in another store.
    """
    path, now = config.run_folder / "study.db", _place(config)
    before: str | None = None
    if (config.run_folder / "config.yaml").is_file():
        before = _place(RunFolder.open(config.run_folder).config)
    in_file = Store(path).begun() if path.exists() or backup_of(path).exists() else set()
    if (before or in_file) and before != now:
        raise InputError(
            f"'{config.run_folder}' has its trials in {before or path}, but now they would go to "
            f"{now or path}; continue with the same, or name a new folder with --run"
        )
    if now is None:
        return None, in_file
    store = Store(path, database=config.cluster.storage, run=config.name)
    return store, store.begun()


def with_known_target(
    config: SearchConfig, store: Store | None, begun: set[str], sizes: dict[str, int] | None
) -> tuple[SearchConfig, str]:
    """The config with the target of its search, and what to tell of it.

    One that is not given is that of the run as it was begun. For a new search it follows from the
    space, counted for `sizes`; without them nothing is searched.
    """
    section = config.search
    if section.target is not None:
        return config, ""
    before = _begun_with(config, store) if begun else None
    if before is not None and (before.search.target is not None or "search" in begun):
        targets = {"targets": before.search.budgets} if section.front else {}
        kept = section.replace(target=before.search.known_target, **targets)
        return config.replace(search=kept), ""
    if sizes is None:
        return config, ""
    section = with_target(section, **sizes)
    within = "the space's networks" + (" within the limits" if section.limits else "")
    which, key = ("quartiles", "targets") if section.front else ("median", "target_flops")
    target = ", ".join(readable_cost("flops", target) for target in section.budgets)
    told = f"target: {target}, the {which} of {within}; set search.{key} to choose"
    return config.replace(search=section), told


def begun_with(config: SearchConfig) -> SearchConfig | None:
    """The config that the run was begun with, in its folder or in the database; None if it is new.

    Raises InputError as `look_at_store` does.
    """
    return _begun_with(config, look_at_store(config)[0])


def _begun_with(config: SearchConfig, store: Store | None) -> SearchConfig | None:
    """The config that the run was begun with: in its folder, or in the database."""
    if (config.run_folder / "config.yaml").is_file():
        return RunFolder.open(config.run_folder).config
    kept = {} if store is None else store.notes("run")
    return SearchConfig.parse(kept["config"], source=f"{_place(config)}") if kept else None


def _place(config: SearchConfig) -> str | None:
    """Where a config's trials are in a database."""
    storage = config.cluster.storage
    return None if storage is None else f"{masked(storage)} (run {config.name})"


def check_shared(
    store: Store, config: SearchConfig, facts: dict[str, Any], begun: set[str]
) -> None:
    """In a database a run's name is its own: raise InputError where another run has it."""
    where, kept = f"{_place(config)}", store.notes("run")
    if begun and kept:
        check_same(SearchConfig.parse(kept["config"], source=where), config, where, begun)
        check_facts(kept["facts"], facts, where)


def note_shared(store: Store, config: SearchConfig, facts: dict[str, Any]) -> None:
    """Keep the config and the facts of a run in its database."""
    store.note("run", "config", config.model_dump(mode="json", exclude={"run", "cluster"}))
    store.note("run", "facts", facts)
