"""The family study: the baseline and its members, trained and looked at on the test part."""

from optuna.trial import FrozenTrial

from experiments.config.messages import WorkFailed, say
from experiments.engine.candidates import ListedCandidates
from experiments.engine.session import Session
from experiments.steps.noise import completed
from experiments.store.trial import Candidate, training_of
from scaler.compound import CompoundCoefficients
from scaler.cost import measure_cost
from scaler.family import scale_family
from scaler.scaled import Scaled
from search_spaces.architecture import Architecture


def run_family(
    session: Session, baseline: Architecture, coefficients: CompoundCoefficients
) -> list[Scaled]:
    """Scale the baseline to the config's family, write its files, train each member once."""
    section = session.config.family
    cost = measure_cost(baseline, **session.sizes)
    targets = None if section.ratios is None else [r * cost.flops for r in section.ratios]
    grown = scale_family(
        baseline,
        kind=section.kind,
        coefficients=coefficients,
        phis=section.phis,
        targets=targets,
        tolerance=section.tolerance,
        num_classes=session.num_classes,
        in_channels=session.in_channels,
    )
    members = [Scaled(baseline, baseline, 0.0, 1.0, 1.0, 1.0, cost), *grown]
    members = [_named(member, f"b{i}") for i, member in enumerate(members)]
    for member in members:
        if member.note:
            say(f"family: {member.note}")
    done = _trained(session, baseline)
    trained = {(t.user_attrs["member"], t.user_attrs["key"]) for t in done}
    listed = []
    for number, member in enumerate(members):
        session.folder.write_member(member.architecture, sizes=session.sizes)
        if (member.architecture.name, member.architecture.key) not in trained:
            listed.append(_candidate(session, member, number))
    session.train(
        "family",
        ListedCandidates(listed),
        trials=len(listed),
        epochs=section.epochs,
        done=len(done),
        final=True,
    )
    if not _trained(session, baseline):
        raise WorkFailed("no member of the family finished its training; see `scaler report`")
    return members


def _trained(session: Session, baseline: Architecture) -> list[FrozenTrial]:
    """The finished members of this baseline, trained as it was found.

    An earlier baseline's stand beside them in the store, and failed ones, which are tried again.
    """
    recipe = session.folder.recipe()
    return [
        trial
        for trial in completed(session, "family")
        if trial.user_attrs["baseline"] == baseline.key and training_of(trial) == recipe
    ]


def _named(member: Scaled, suffix: str) -> Scaled:
    stem = member.baseline.name.removesuffix("_baseline")
    architecture = member.architecture.replace(name=f"{stem}_{suffix}")
    return Scaled(**{**vars(member), "architecture": architecture})


def _candidate(session: Session, member: Scaled, number: int) -> Candidate:
    return Candidate(
        architecture=member.architecture,
        cost=member.cost,
        seed=session.config.seed,
        suggestion=number,
        attributes={
            "member": member.architecture.name,
            "label": member.architecture.name,
            "phi": member.phi,
            "target_flops": member.target_flops,
            "depth": member.depth,
            "width": member.width,
            "resolution": member.resolution,
            "baseline": member.baseline.key,
        },
        training=session.folder.recipe(),
    )
