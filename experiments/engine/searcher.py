"""The bridge from Ray Tune to the study: hands out trials, writes down what comes of them.

A trial is in the store from its start, as an open one, and is taken up again from its checkpoint
when its worker or the driver was lost. When it ends it goes into the study at once, whole. One that
rests at a rung of early stopping stays open until it is promoted, or can no longer be.
"""

import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from experiments.config.schema import EarlyStopping
from experiments.engine.candidates import Candidates
from experiments.engine.early_stopping import hopeless, leader, promotable, stops
from experiments.engine.evaluation import Job
from experiments.engine.progress import Progress
from experiments.engine.tracking import Tracking
from experiments.store.checkpoints import Checkpoint, Checkpoints
from experiments.store.open_trial import Epoch, OpenTrial
from experiments.store.run_lock import RunLock
from experiments.store.store import Store
from experiments.store.trial import Outcome, freeze

MOST_LOSSES = 2  # of workers under one trial; the next one is its failure


@dataclass
class _Running:
    """A trial on a worker; `result` is what it ended with, `stopped` that a rule ended it."""

    trial: OpenTrial
    before: float  # seconds of its earlier workers
    patience: float | None  # seconds of this worker until its time limit
    began: float = field(default_factory=time.monotonic)
    result: dict[str, Any] | None = None
    stopped: bool = False
    last_words: str = ""  # of a worker that was lost

    def overdue(self) -> bool:
        """Past its limit, in a hang so deep that its process had to end itself."""
        return self.patience is not None and time.monotonic() - self.began > self.patience


class StudySearcher:
    """Gives Tune what is to be trained, and hears of it; see hooks.py for who calls."""

    def __init__(
        self,
        candidates: Candidates,
        *,
        store: Store,
        study: str,
        trials: int,
        epochs: int,
        checkpoints: Checkpoints,
        progress: Progress,
        attributes: dict[str, Any],
        early_stopping: EarlyStopping | None = None,
        time_limit: float | None = None,
        tracking: Tracking | None = None,
        lock: RunLock | None = None,
    ) -> None:
        self._candidates = candidates
        self._store = store
        self._study = study
        self._epochs = epochs
        self._checkpoints = checkpoints
        self._progress = progress
        self._watchers = (progress,) if tracking is None else (progress, tracking)
        self._attributes = attributes
        self._rule = early_stopping
        self._limit = time_limit
        self._lock = lock
        self._promotes = early_stopping is not None and early_stopping.type == "promotion"
        taken_up = self._taken_up()
        self._waiting = deque(trial for trial in taken_up if not trial.resting)
        self._resting = {t.candidate.suggestion: t for t in taken_up if t.resting}
        self._new = trials - len(taken_up)
        self._running: dict[str, _Running] = {}
        self._curves: dict[int, dict[int, float]] = {}
        self._completed = False
        if early_stopping is not None:
            ended = store.trials(study)
            self._curves = _curves(ended) | {t.candidate.suggestion: t.rewards for t in taken_up}
            self._completed = any(trial.state == TrialState.COMPLETE for trial in ended)
        self._most = trials + len(self._curves) - len(taken_up)  # that may reach a rung
        for trial in self._resting.values():
            self._rest(trial)
        progress.resting.update(self._resting)
        self.finished = False  # there will be no more trials
        self.error: Exception | None = None  # Tune would swallow it; the runner raises it

    @property
    def running(self) -> int:
        return len(self._running)

    def suggest(self, trial_id: str) -> Job | None:
        """The next trial; None where there is none, or none as long as others run."""
        try:
            trial = self._next()
            if trial is not None:
                return self._start(trial_id, trial)
            self.finished = not self._running or self.error is not None
        except Exception as error:
            self.error = error
            self.finished = True
        return None

    def started(self, trial_id: str) -> None:
        """A worker has taken the trial: from now on its time counts."""
        self._running[trial_id].began = time.monotonic()
        for watcher in self._watchers:
            watcher.started(self._running[trial_id].trial.candidate)

    def stops(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether a trial is to end after the epoch that `result` tells of."""
        if self.error is not None:
            return True
        if self._rule is None or "epoch" not in result:
            return False
        running = self._running[trial_id]
        trial = running.trial.told(Epoch(result["epoch"], result["accuracy"]))
        number = trial.candidate.suggestion
        self._curves[number] = self._promoted_for(trial) | trial.rewards
        running.stopped = stops(
            self._rule, number, curves=self._curves, epochs=self._epochs, passed=trial.passed
        )
        return running.stopped

    def told(self, trial_id: str, result: dict[str, Any]) -> None:
        """An epoch or an end, as the worker tells it; what is large in it is taken out."""
        running = self._running[trial_id]
        worker = {"host": result["host"], "device": result["device"]}
        running.trial = replace(running.trial, **worker)
        seconds = running.before + result["seconds"]
        checkpoint = result.pop("checkpoint", None)
        if "epoch" not in result:  # an end, not Tune's own `done` of a trial that a rule stopped
            running.result = {**result, "seconds": seconds}
            result.pop("files", None)
            return
        epoch = Epoch(result["epoch"], result["accuracy"], result.pop("figures"), seconds)
        rests = running.stopped and self._promotes
        running.trial = replace(running.trial.told(epoch), resting=rests)
        for watcher in self._watchers:
            watcher.told(running.trial.candidate, epoch)
        try:
            self._store.open(self._study, running.trial)
        except Exception as error:
            self.error = error
            return
        if checkpoint is not None and (rests or not running.stopped):
            self._keep(running.trial, Checkpoint(epoch.epoch, checkpoint))

    def lost(self, trial_id: str, last_words: str) -> None:
        """What a worker said when it was lost; `ended` follows."""
        running = self._running.get(trial_id)
        if running is not None and last_words:
            running.last_words = f": {last_words}"

    def ended(self, trial_id: str, *, error: bool = False) -> None:
        """A trial is over; `error`: its worker is gone."""
        running = self._running.pop(trial_id, None)
        if running is None or self.error is not None:  # told twice; or left open, to be continued
            return
        try:
            lost = error and running.result is None
            if lost and running.overdue():
                running.result = {"hangs": True, "seconds": self._limit}
            if running.trial.resting:
                self._resting[running.trial.candidate.suggestion] = running.trial
                self._rest(running.trial)
                for watcher in self._watchers:
                    watcher.rested(running.trial.candidate)
                self._end_hopeless()
            elif lost and running.result is None and running.trial.losses < MOST_LOSSES:
                self._take_up(running.trial)
            else:
                self._end(running)
        except Exception as problem:
            self.error = problem

    def __getstate__(self) -> dict[str, Any]:
        return {}  # for Tune's copy of everything, which no database's password need be in

    def _taken_up(self) -> list[OpenTrial]:
        """Trials that an earlier driver left open; those that nobody wants any more are closed."""
        opened = self._store.opened(self._study)
        wanted = self._candidates.reopen(opened)
        for trial in opened:
            if trial not in wanted:
                self._store.close(self._study, trial)
                self._checkpoints.drop(trial.name)
        return wanted

    def _next(self) -> OpenTrial | None:
        if self.error is not None:
            return None
        if self._waiting:
            return self._waiting.popleft()
        if (promoted := self._promoted()) is not None:
            return promoted
        if self._new > 0 and self._lock is not None:
            self._lock.check()
        candidate = self._candidates.next() if self._new > 0 else None
        self._progress.screened_by = self._candidates.screened_by
        self._new = self._new - 1 if candidate else 0
        if candidate is None and not self._running:
            return self._last_of_resting()
        return OpenTrial(candidate) if candidate else None

    def _promoted(self) -> OpenTrial | None:
        if self._rule is None or not self._resting:
            return None
        number = promotable(self._rule, self._resting, curves=self._curves, epochs=self._epochs)
        return None if number is None else self._goes_on(number)

    def _goes_on(self, number: int) -> OpenTrial:
        trial = self._resting.pop(number)
        return replace(trial, resting=False, passed=trial.epochs[-1].epoch)

    def _last_of_resting(self) -> OpenTrial | None:
        """When nothing else is left: they end, but a search finishes one trial at least."""
        if self._resting and not self._completed:
            assert self._rule is not None
            return self._goes_on(
                leader(self._rule, self._resting, curves=self._curves, epochs=self._epochs)
            )
        self._end_resting(list(self._resting))
        return None

    def _promoted_for(self, trial: OpenTrial) -> dict[int, float]:
        """What it had shown, which still counts where it begins again at an earlier epoch."""
        before = self._curves.get(trial.candidate.suggestion, {})
        return {epoch: value for epoch, value in before.items() if epoch <= trial.passed}

    def _rest(self, trial: OpenTrial) -> None:
        """The sampler learns how far it came."""
        outcome = self._outcome(_Running(trial, trial.seconds, None, stopped=True))
        frozen = freeze(trial.candidate, outcome, attributes=self._attributes)
        self._candidates.rest(trial.candidate, frozen)

    def _end_hopeless(self) -> None:
        assert self._rule is not None
        self._end_resting(
            hopeless(
                self._rule,
                self._resting,
                curves=self._curves,
                epochs=self._epochs,
                most=self._most,
            )
        )

    def _end_resting(self, numbers: list[int]) -> None:
        """They will not be promoted."""
        for number in sorted(numbers):  # as a continued search does
            trial = self._resting.pop(number)
            self._end(_Running(trial, trial.seconds, None, stopped=True))

    def _start(self, trial_id: str, trial: OpenTrial) -> Job:
        checkpoint = self._checkpoints.newest(trial.name)
        trial = trial.until(checkpoint.epoch if checkpoint else 0)
        if self._rule is not None:
            self._curves[trial.candidate.suggestion] = self._promoted_for(trial) | trial.rewards
        self._store.open(self._study, trial)
        left = None if self._limit is None else max(1.0, self._limit - trial.seconds)
        self._running[trial_id] = _Running(trial, trial.seconds, left)
        return Job(
            name=f"{self._study} {trial.candidate.suggestion}",
            architecture=trial.candidate.architecture.model_dump_json(exclude_defaults=True),
            seed=trial.candidate.seed,
            training=trial.candidate.training,
            checkpoint=checkpoint.content if checkpoint else None,
            seconds_left=left,
        )

    def _keep(self, trial: OpenTrial, checkpoint: Checkpoint) -> None:
        """A checkpoint that cannot be kept costs time after a kill, but no result."""
        try:
            self._checkpoints.save(trial.name, checkpoint)
        except OSError as error:
            self._progress.warn(
                f"cannot keep the checkpoint of {trial.name} after epoch {checkpoint.epoch}: "
                f"{error.strerror}; the older one stays"
            )

    def _take_up(self, trial: OpenTrial) -> None:
        """Its worker was lost: another goes on from the checkpoint."""
        again = replace(trial, losses=trial.losses + 1)
        self._store.open(self._study, again)
        self._waiting.append(again)
        for watcher in self._watchers:
            watcher.lost(trial.candidate)

    def _end(self, running: _Running) -> None:
        trial, outcome = running.trial, self._outcome(running)
        frozen = freeze(trial.candidate, outcome, attributes=self._attributes)
        files = (running.result or {}).get("files")
        if files is not None and outcome.state == "complete":
            self._checkpoints.place(trial.name, files)
        self._store.record(self._study, frozen, suggestion=trial.candidate.suggestion)
        self._completed |= outcome.state == "complete"
        self._checkpoints.drop(trial.name)
        if self._rule is not None:
            self._curves[trial.candidate.suggestion] = trial.rewards
        self._candidates.tell(trial.candidate, frozen)
        for watcher in self._watchers:
            watcher.ended(trial.candidate, outcome)

    def _outcome(self, running: _Running) -> Outcome:
        trial, result = running.trial, running.result
        measured: dict[str, Any] = {
            "curve": tuple(told.accuracy for told in trial.epochs),
            "at": tuple(told.epoch for told in trial.epochs),
            "curves": trial.curves(),
            "seconds": (result or {}).get("seconds", trial.seconds),
            "host": trial.host,
            "device": trial.device,
        }
        last = trial.epochs[-1].accuracy if trial.epochs else None
        if result is not None and "accuracy" in result:
            return Outcome("complete", result["accuracy"], extra=result["extra"], **measured)
        if result is not None and result.get("hangs"):
            reason = f"stopped by its time limit of {self._limit:g} s"
        elif result is not None:
            reason = result["failure"]
        elif running.stopped:
            epoch = trial.epochs[-1].epoch
            reason = f"stopped after epoch {epoch} of {self._epochs}"
            return Outcome("pruned", last, reason=reason, **measured)
        else:
            reason = f"the worker process was lost {trial.losses + 1} times{running.last_words}"
        return Outcome("fail", last, reason=reason, **measured)


def _curves(trials: list[FrozenTrial]) -> dict[int, dict[int, float]]:
    """Reward by epoch of each suggestion."""
    return {t.user_attrs.get("suggestion", t.number): t.intermediate_values for t in trials}
