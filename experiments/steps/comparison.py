"""The comparison study: networks trained side by side with one recipe, without any search."""

from optuna.trial import TrialState

from experiments.config.messages import WorkFailed
from experiments.config.sections import ComparisonSection
from experiments.engine.candidates import ListedCandidates
from experiments.engine.session import Session
from experiments.store.trial import Candidate
from scaler.cost import measure_cost
from search_spaces.architecture import Architecture
from search_spaces.records import InputError
from search_spaces.reference import load_architecture
from search_spaces.resizing import resize


def compared_networks(section: ComparisonSection) -> dict[str, list[Architecture]]:
    """The networks of each panel. Raises InputError if there is none, or two have one name."""
    panels = {
        panel: [_network(network, section.resolution) for network in networks]
        for panel, networks in section.networks.items()
    }
    names = [network.name for networks in panels.values() for network in networks]
    if not names:
        raise InputError(
            "comparison.networks names no network; "
            "write `networks: {residual: [cifar_resnet20, cifar_resnet56]}`"
        )
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"comparison.networks has '{name}' twice; give one another `name:`")
    return panels


def run_comparison(session: Session) -> None:
    """Do the missing trainings of each network; each uses the test part once."""
    section = session.config.comparison
    done = [t for t in session.store.trials("comparison") if t.state == TrialState.COMPLETE]
    trained = {(trial.user_attrs["member"], trial.user_attrs["key"]) for trial in done}
    listed = [
        candidate
        for candidate in _candidates(session, section)
        if (candidate.attributes["member"], candidate.architecture.key) not in trained
    ]
    session.train(
        "comparison",
        ListedCandidates(listed),
        trials=len(listed),
        epochs=section.epochs,
        done=len(done),
        final=True,
    )
    ended = session.store.trials("comparison")
    if not any(trial.state == TrialState.COMPLETE for trial in ended):
        raise WorkFailed("no network of the comparison finished its training; see `scaler report`")


def _network(network: str | dict[str, object], resolution: int | None) -> Architecture:
    if isinstance(network, str):
        loaded = load_architecture(network)
    else:
        loaded = Architecture.parse(network, source="comparison.networks")
    return loaded if resolution is None else resize(loaded, resolution=resolution)


def _candidates(session: Session, section: ComparisonSection) -> list[Candidate]:
    """Every network's first seed before any second one, to compare all networks early."""
    panels = compared_networks(section)
    listed = [(panel, network) for panel, networks in panels.items() for network in networks]
    candidates: list[Candidate] = []
    for repeat in range(section.seeds):
        for place, (panel, network) in enumerate(listed):
            label = f"{network.name}_seed{repeat}" if repeat else network.name
            candidates.append(
                Candidate(
                    architecture=network,
                    cost=measure_cost(network, **session.sizes),
                    seed=session.config.seed + repeat,
                    suggestion=len(candidates),
                    attributes={
                        "member": label,
                        "label": label,
                        "network": network.name,
                        "panel": panel,
                        "place": place,
                    },
                )
            )
    return candidates
