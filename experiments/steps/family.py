"""The family study: the baseline and its members, trained and tested on the test part."""

from optuna.trial import FrozenTrial

from experiments.config.messages import WorkFailed, say
from experiments.engine.candidates import ListedCandidates
from experiments.engine.session import Session
from experiments.steps.forecast import forecast
from experiments.steps.noise import completed
from experiments.store.trial import Candidate, training_of
from scaler.compound import CompoundCoefficients
from scaler.cost import measure_cost
from scaler.family import members_within, scale_family
from scaler.scaled import Scaled
from search_spaces.architecture import Architecture


def run_family(
    session: Session, baseline: Architecture, coefficients: CompoundCoefficients
) -> list[Scaled]:
    """Scale the baseline to the config's family, write its files, train each member once."""
    section = session.config.family
    cost = measure_cost(baseline, **session.sizes)
    targets = None if section.ratios is None else [r * cost.flops for r in section.ratios]
    family = scale_family(
        baseline,
        kind=section.kind,
        coefficients=coefficients,
        phis=section.phis,
        targets=targets,
        tolerance=section.tolerance,
        limits=section.limits,
        num_classes=session.num_classes,
        in_channels=session.in_channels,
    )
    grown, left_out = members_within(family, section.limits)
    if left_out:
        say(f"family: {left_out}")
    members = [Scaled(baseline, baseline, 0.0, 1.0, 1.0, 1.0, cost), *grown]
    members = [_named(member, f"b{i}") for i, member in enumerate(members)]
    for member in members:
        if member.note:
            say(f"family: {member.note}")
    for member in members:
        session.folder.write_member(member.architecture, sizes=session.sizes)
    first = _first(session, members)
    start = _start(session, baseline, members[:1])
    _train(session, baseline, members[:first], number=0, start=start)
    _train(session, baseline, members, number=first, start=start)
    if not _trained(session, baseline):
        raise WorkFailed("no member of the family finished its training; see `scaler report`")
    return members


def _start(session: Session, baseline: Architecture, first: list[Scaled]) -> bytes | None:
    """The trained weights of the baseline, if the members begin with them by the config."""
    if session.config.family.start == "scratch" or session.own_evaluate is not None:
        return None
    _train(session, baseline, first, number=0)
    name = first[0].architecture.name
    if name not in {t.user_attrs["member"] for t in _trained(session, baseline)}:
        raise WorkFailed(
            f"'{name}' did not finish its training, and the members begin with its weights "
            f"(family.start); see `scaler report`"
        )
    say(f"family: the members begin with the weights of {name}")
    return (session.folder.checkpoints / name / "weights.safetensors").read_bytes()


def _first(session: Session, members: list[Scaled]) -> int:
    """How many members are trained before the others are forecast: two, or three of many.

    0 if a larger one was begun already, as by an earlier version: it goes on at once.
    """
    first = min(3, max(2, len(members) // 2))
    names = {member.architecture.name for member in members[first:]}
    begun = {trial.candidate.attributes["member"] for trial in session.store.opened("family")}
    return 0 if begun & names else first


def _train(
    session: Session,
    baseline: Architecture,
    members: list[Scaled],
    *,
    number: int,
    start: bytes | None = None,
) -> None:
    """Train the missing `members` from `number` on; forecast each if smaller ones are known.

    Members before `number` that just failed are tried again by the next command, not by this one.
    """
    done = _trained(session, baseline)
    trained = {(t.user_attrs["member"], t.user_attrs["key"]) for t in done}
    listed = []
    for place, member in enumerate(members):
        if place < number or (member.architecture.name, member.architecture.key) in trained:
            continue
        # The forecast's prior is from families that all began from scratch.
        told = _forecast(session, member, done) if number > 0 and start is None else {}
        listed.append(_candidate(session, member, place, told))
    session.train(
        "family",
        ListedCandidates(listed),
        trials=len(listed),
        epochs=session.config.family.epochs,
        done=len(done),
        final=True,
        start=start,
    )


def _forecast(session: Session, member: Scaled, done: list[FrozenTrial]) -> dict[str, float]:
    """The forecast of this member from the trained smaller ones; empty if there are fewer than two.

    For the test part, or the validation part if the user's evaluation has no test accuracy.
    """
    smaller = [t.user_attrs for t in done if t.user_attrs["flops"] < member.cost.flops]
    tested = all("test_accuracy" in attributes for attributes in smaller)
    column = "test_accuracy" if tested else "accuracy"
    known = [(attributes["flops"], attributes[column]) for attributes in smaller]
    if len(known) < 2 or not all(0 <= accuracy <= 1 for _, accuracy in known):
        return {}
    images = len(session.data.test) if session.data is not None else None
    told = forecast(known, member.cost.flops, images=images)
    part = "test" if tested else "validation"
    say(f"family: {member.architecture.name}: {part} {session.metric} {told}")
    return {
        "forecast": told.accuracy,
        "forecast_low": told.low,
        "forecast_high": told.high,
    }


def _trained(session: Session, baseline: Architecture) -> list[FrozenTrial]:
    """The finished members of this baseline, with the training that was found for it.

    The store also has members of earlier baselines, and failed ones, which are tried again.
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


def _candidate(session: Session, member: Scaled, number: int, told: dict[str, float]) -> Candidate:
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
            **told,
        },
        training=session.folder.recipe(),
    )
