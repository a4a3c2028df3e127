"""The coefficients study: a small grid of alpha, beta, gamma, trained at phi = 1."""

from collections.abc import Iterator
from itertools import product

from optuna.trial import FrozenTrial, TrialState

from experiments.config import CoefficientsSection
from experiments.studies.candidates import ListedCandidates
from experiments.studies.runner import WorkFailed
from experiments.studies.session import Session
from experiments.studies.trial import Candidate, best_complete
from scaler.compound import CompoundCoefficients, scale
from scaler.cost import measure_cost
from search_spaces.architecture import Architecture
from search_spaces.records import InputError

GROWTH = 2.0  # alpha * beta^2 * gamma^2, arXiv:1905.11946, equation 3


def coefficient_grid(*, step: float, tolerance: float) -> list[CompoundCoefficients]:
    """All (alpha, beta, gamma) on a grid from 1 with alpha * beta^2 * gamma^2 near 2.

    Raises InputError where the grid has none within `tolerance`.
    """
    marks = [1 + i * step for i in range(int(1 / step + 1e-9) + 1)]
    grid = [
        CompoundCoefficients(alpha=round(a, 9), beta=round(b, 9), gamma=round(g, 9))
        for a, b, g in product(marks, repeat=3)
        if abs(a * b**2 * g**2 - GROWTH) <= tolerance + 1e-9
    ]
    if not grid:
        raise InputError(
            f"no alpha, beta, gamma on a grid of step {step:g} has alpha * beta^2 * gamma^2 within "
            f"{tolerance:g} of 2; take a finer step or a wider tolerance"
        )
    return grid


def run_coefficients(session: Session, baseline: Architecture) -> CompoundCoefficients:
    """Train each distinct member of the grid once; write and return the best by accuracy."""
    section = session.config.coefficients
    done = completed(session, "coefficients", baseline)
    trained = {trial.user_attrs["key"] for trial in done}
    listed = [
        candidate
        for candidate in _candidates(session, section, baseline)
        if candidate.architecture.key not in trained
    ]
    session.train(
        "coefficients",
        ListedCandidates(listed),
        trials=len(listed),
        epochs=section.epochs,
        done=len(done),
    )
    best = best_complete(completed(session, "coefficients", baseline))
    if best is None:
        raise WorkFailed("no trial of the coefficients grid finished; see `scaler report`")
    chosen = {name: best.user_attrs[name] for name in ("alpha", "beta", "gamma")}
    coefficients = CompoundCoefficients(**chosen)
    session.folder.write_coefficients(coefficients)
    return coefficients


def completed(session: Session, study: str, baseline: Architecture) -> list[FrozenTrial]:
    """The study's finished trials of this baseline.

    An earlier baseline's stand beside them in the store, and failed ones, which are tried again.
    """
    return [
        trial
        for trial in session.store.trials(study)
        if trial.state == TrialState.COMPLETE and trial.user_attrs["baseline"] == baseline.key
    ]


def _candidates(
    session: Session, section: CoefficientsSection, baseline: Architecture
) -> Iterator[Candidate]:
    """The grid's members; of those that round to one network, the first stands for all."""
    keys = set()
    grid = coefficient_grid(step=section.step, tolerance=section.tolerance)
    for number, coefficients in enumerate(grid):
        member = scale(baseline, phi=section.phi, coefficients=coefficients)
        if member.key in keys:
            continue
        keys.add(member.key)
        values = coefficients.model_dump()
        label = " ".join(f"{name} {value:g}" for name, value in values.items())
        yield Candidate(
            architecture=member,
            cost=measure_cost(member, **session.sizes),
            seed=session.config.seed,
            suggestion=number,
            attributes={
                **values,
                "phi": section.phi,
                "baseline": baseline.key,
                "label": label,
            },
        )
