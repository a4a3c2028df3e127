"""The bridge from Ray Tune to the study: hands out candidates, writes down what came of them."""

from typing import Any

from ray.tune.search import Searcher

from experiments.studies.candidates import Candidates
from experiments.studies.progress import Progress
from experiments.studies.store import Store
from experiments.studies.trial import Candidate, Outcome, freeze


class StudySearcher(Searcher):  # type: ignore[misc]
    """Every trial that ends goes into the store at once, whole, with how it really ended."""

    def __init__(
        self,
        candidates: Candidates,
        *,
        store: Store,
        study: str,
        epochs: int,
        checkpoints: str,
        progress: Progress,
        attributes: dict[str, Any],
    ) -> None:
        super().__init__(metric="reward", mode="max")
        self._candidates = candidates
        self._store = store
        self._study = study
        self._epochs = epochs
        self._checkpoints = checkpoints
        self._progress = progress
        self._running: dict[str, Candidate] = {}
        self._attributes = attributes
        self.error: Exception | None = None  # Tune would swallow it; the runner raises it

    def suggest(self, trial_id: str) -> Any:
        candidate = None if self.error else self._candidates.next()
        self._progress.screened = self._candidates.screened
        if candidate is None:
            return Searcher.FINISHED
        self._running[trial_id] = candidate
        key = candidate.architecture.key
        return {
            "architecture": candidate.architecture.model_dump_json(exclude_defaults=True),
            "seed": candidate.seed,
            "training": candidate.training,
            "reward_factor": candidate.reward_factor,
            "checkpoint_dir": f"{self._checkpoints}/{candidate.attributes.get('member', key)}",
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        candidate = self._running.pop(trial_id, None)
        if candidate is None:  # told twice
            return
        outcome = self._outcome(result or {}, error=error)
        try:
            trial = freeze(candidate, outcome, attributes=self._attributes)
            self._store.record(self._study, trial)
        except Exception as error:
            self.error = error
            return
        self._candidates.tell(candidate, trial)
        self._progress.ended(candidate, outcome)

    def _outcome(self, result: dict[str, Any], *, error: bool) -> Outcome:
        curve = tuple(result.get("curve", ()))
        reason = result.get("failure", "")
        if error or "accuracy" not in result:
            reason = reason or "the worker process was lost"
        measured = {
            "curve": curve,
            "curves": _part(result, "curves/"),
            "seconds": result.get("seconds", 0.0),
            "host": result.get("host", ""),
            "device": result.get("device", ""),
        }
        if reason:
            last = curve[-1] if curve else None
            return Outcome("fail", last, reason=reason, **measured)
        if result.get("finished") or len(curve) >= self._epochs:
            extra = _part(result, "extra/")
            return Outcome("complete", result["accuracy"], extra=extra, **measured)
        stopped = f"stopped after epoch {len(curve)} of {self._epochs}"
        return Outcome("pruned", result["accuracy"], reason=stopped, **measured)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: Ray's own state can be thrown away at any time."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


def _part(result: dict[str, Any], prefix: str) -> dict[str, Any]:
    """A mapping within the result, which Tune hands over flat."""
    return {k.removeprefix(prefix): v for k, v in result.items() if k.startswith(prefix)}
