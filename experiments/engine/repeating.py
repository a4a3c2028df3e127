"""Repeats a search's suggestions, so that a sampler with a memory goes on as if uninterrupted."""

from collections.abc import Callable, Sequence

from optuna.trial import FrozenTrial

from experiments.engine.candidates import SampledCandidates
from experiments.store.trial import Candidate, Trial, identity_of

MOST = 200  # trials: each suggestion takes as long as it took, a tenth of a second or so


def continued(
    make: Callable[[list[FrozenTrial]], SampledCandidates],
    *,
    finished: list[FrozenTrial],
    opened: Sequence[Trial],
) -> SampledCandidates:
    """The candidates that `make` makes of finished trials, their sampler with its memory.

    It is asked again for every suggestion so far, and told what came of it. Where it does not
    suggest the same (several workers told it in another order; another version or machine) it
    begins with the trials alone, as does one without a memory.
    """
    if 0 < len(finished) <= MOST and len(opened) <= 1:  # more are of several workers, or rest
        candidates = make([])
        if candidates.remembers and _repeats(candidates, finished, opened):
            return candidates
    return make(finished)


def _repeats(
    candidates: SampledCandidates, finished: list[FrozenTrial], opened: Sequence[Trial]
) -> bool:
    """Whether it suggests the same again."""
    ended = {trial.user_attrs.get("suggestion", trial.number): trial for trial in finished}
    running = {trial.candidate.suggestion: trial.candidate for trial in opened}
    for number in range(len(ended) + len(running)):
        candidate = candidates.next()
        if not isinstance(candidate, Candidate):
            return False
        if number in ended:
            if candidate.identity != identity_of(ended[number]):
                return False
            candidates.tell(candidate, ended[number])
        elif number not in running or candidate.identity != running[number].identity:
            return False
    candidates.screened_by.clear()  # counted when it was thrown back for the first time
    return True
