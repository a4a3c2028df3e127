"""The bridge from Ray Tune to the study: hands out trials, writes down what comes of them.

A trial is in the store from its start, as an open one, and is taken up again from its checkpoint
when its worker or the driver was lost. When it ends it goes into the study at once, whole. One that
rests at a rung of early stopping stays open until it is promoted, or can no longer be.
"""

import errno
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from experiments.config.messages import WorkFailed
from experiments.config.search_section import EarlyStopping
from experiments.engine.candidates import Candidates
from experiments.engine.early_stopping import EarlyStopper
from experiments.engine.evaluation import Job, reason
from experiments.engine.progress import Progress
from experiments.engine.tracking import Tracking
from experiments.store.checkpoints import Checkpoint, Checkpoints
from experiments.store.run_lock import RunLock
from experiments.store.store import Store
from experiments.store.trial import EpochResult, Trial
from search_spaces.records import InputError

_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM}
MOST_LOSSES = 2  # of workers under one trial; the next one is its failure


@dataclass
class _OnWorker:
    """A trial on a worker; `result` is what it ended with, `stopped` that a rule ended it."""

    trial: Trial
    before: float  # seconds of its earlier workers
    patience: float | None  # seconds of this worker until its time limit
    began: float = field(default_factory=time.monotonic)
    result: dict[str, Any] | None = None
    stopped: bool = False
    last_words: str = ""  # of a worker that was lost

    def overdue(self) -> bool:
        """Past its limit, in a hang so deep that its process had to end itself."""
        return self.patience is not None and time.monotonic() - self.began > self.patience


@contextmanager
def _sampling() -> Iterator[None]:
    """What a sampler raises is told as its own: it has nothing to do with the store."""
    try:
        yield
    except (InputError, WorkFailed):
        raise
    except Exception as error:
        raise WorkFailed(f"the sampler failed with {reason(error)}") from error


class StudySearcher:
    """Gives Tune the trials of one study, and hears of them; see hooks.py for who calls.

    At most `trials` of them begin or are taken up. `epochs` is the length of a whole training,
    `time_limit` is in seconds a trial, `attributes` stand on every trial. Without a `lock` nobody
    looks whether another command has taken the run over.
    """

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
        self.study = study
        self._epochs = epochs
        self._checkpoints = checkpoints
        self.progress = progress
        self.tracking = tracking
        self._watchers = (progress,) if tracking is None else (progress, tracking)
        self._attributes = attributes
        self._limit = time_limit
        self._lock = lock
        taken_up = self._taken_up()
        self._waiting = deque(trial for trial in taken_up if trial.state != "resting")
        self._new = trials - len(taken_up)  # candidates that may still be asked for
        self._on_workers: dict[str, _OnWorker] = {}
        self._stopper = EarlyStopper(
            early_stopping,
            epochs=epochs,
            ended=[] if early_stopping is None else store.trials(study),
            opened=taken_up,
            new=self._new,
            chances=candidates.chances,
        )
        for trial in self._stopper.resting.values():
            self._learn_of_rest(trial)
        progress.resting.update(self._stopper.resting)
        self.finished = False  # there will be no more trials
        self.error: Exception | None = None  # Tune would swallow it; `close` raises it

    @property
    def running(self) -> int:
        """How many trials are on workers."""
        return len(self._on_workers)

    def suggest(self, trial_id: str) -> Job | None:
        """The next trial; None where there is none, or none as long as others run."""
        try:
            trial = self._next()
            if trial is not None:
                return self._start(trial_id, trial)
            self.finished = not self._on_workers or self.error is not None
        except Exception as error:
            self.error = error
            self.finished = True
        return None

    def started(self, trial_id: str) -> None:
        """A worker has taken the trial: from now on its time counts."""
        on_worker = self._on_workers[trial_id]
        on_worker.began = time.monotonic()
        for watcher in self._watchers:
            watcher.started(on_worker.trial.candidate)

    def stops(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether a trial is to end after the epoch that `result` tells of."""
        if self.error is not None:
            return True
        if "epoch" not in result:
            return False
        on_worker = self._on_workers[trial_id]
        trial = on_worker.trial.told(EpochResult(result["epoch"], result["accuracy"]))
        try:
            with _sampling():
                self._candidates.report(trial)
                on_worker.stopped = self._stopper.stops(trial)
        except WorkFailed as error:  # Tune would end with a traceback of its own
            self.error = error
            return True
        return on_worker.stopped

    def told(self, trial_id: str, result: dict[str, Any]) -> None:
        """An epoch or an end, as the worker tells it; what is large in it is taken out."""
        on_worker = self._on_workers[trial_id]
        trial = replace(on_worker.trial, host=result["host"], device=result["device"])
        seconds = on_worker.before + result["seconds"]
        checkpoint = result.pop("checkpoint", None)
        if "epoch" not in result:  # an end, not Tune's own `done` of a trial that a rule stopped
            on_worker.trial = trial
            on_worker.result = {**result, "seconds": seconds}
            result.pop("files", None)
            return
        epoch = EpochResult(result["epoch"], result["accuracy"], result.pop("figures"), seconds)
        rests = on_worker.stopped and self._stopper.promotes
        on_worker.trial = replace(trial.told(epoch), state="resting" if rests else "running")
        for watcher in self._watchers:
            watcher.told(trial.candidate, epoch)
        try:
            self._store.open(self.study, on_worker.trial)
        except Exception as error:
            self.error = error
            return
        if checkpoint is not None and (rests or not on_worker.stopped):
            self._keep(trial.name, Checkpoint(epoch.epoch, checkpoint))

    def lost(self, trial_id: str, last_words: str) -> None:
        """What a worker said when it was lost; `ended` follows."""
        on_worker = self._on_workers.get(trial_id)
        if on_worker is not None and last_words:
            on_worker.last_words = f": {last_words}"

    def ended(self, trial_id: str, *, error: bool = False) -> None:
        """A trial is over; `error`: its worker is gone."""
        on_worker = self._on_workers.pop(trial_id, None)
        if on_worker is None or self.error is not None:  # told twice; or left open, to go on
            return
        try:
            lost = error and on_worker.result is None
            if lost and on_worker.overdue():
                on_worker.result = {"hangs": True, "seconds": self._limit}
            if on_worker.trial.state == "resting":
                self._rest(on_worker.trial)
            elif lost and on_worker.result is None and on_worker.trial.losses < MOST_LOSSES:
                self._take_up(on_worker.trial)
            else:
                self._end(self._at_its_end(on_worker), (on_worker.result or {}).get("files"))
        except Exception as problem:
            self.error = problem

    def close(self) -> None:
        """Note what was screened out. Raises WorkFailed where a trial could not be recorded."""
        if self.error is not None:
            told = isinstance(self.error, InputError | WorkFailed)  # it says what it is
            raise self.error if told else WorkFailed(self._store.trouble(self.error))
        before = Counter(self._store.notes(self.study).get("screened_out", {}))
        screened = dict(before + self._candidates.screened_by)
        self._store.note(self.study, "screened_out", screened)
        self.progress.summary()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # for Tune's copy of everything, which no database's password need be in

    def _taken_up(self) -> list[Trial]:
        """Trials that an earlier driver left open; those that nobody wants any more are closed."""
        opened = self._store.opened(self.study)
        wanted = self._candidates.reopen(opened)
        for trial in opened:
            if trial not in wanted:
                self._store.close(self.study, trial)
                self._checkpoints.drop(trial.name)
        return wanted

    def _next(self) -> Trial | None:
        """What is trained next: what was interrupted, then what is promoted, then what is new."""
        if self.error is not None:
            return None
        if self._waiting:
            return self._waiting.popleft()
        if (promoted := self._stopper.promoted()) is not None:
            self._candidates.report(promoted)  # it runs again, also for the next suggestion
            return promoted
        if self._new > 0 and self._lock is not None:
            self._lock.check()
        with _sampling():
            candidate = self._candidates.next() if self._new > 0 else None
        self.progress.screened_by = self._candidates.screened_by
        self._new = self._new - 1 if candidate else 0
        if candidate is not None:
            return Trial(candidate)
        if self._on_workers:
            return None
        if (last := self._stopper.last()) is not None:
            self._candidates.report(last)
            return last
        for trial in self._stopper.rest_of_them():
            self._end(self._stopped(trial))
        return None

    def _start(self, trial_id: str, trial: Trial) -> Job:
        checkpoint = self._checkpoints.newest(trial.name)
        trial = trial.until(checkpoint.epoch if checkpoint else 0)
        self._stopper.begins(trial)
        self._store.open(self.study, trial)
        left = None if self._limit is None else max(1.0, self._limit - trial.seconds)
        self._on_workers[trial_id] = _OnWorker(trial, trial.seconds, left)
        candidate = trial.candidate
        return Job(
            name=f"{self.study} {candidate.suggestion}",
            architecture=candidate.architecture.model_dump_json(exclude_defaults=True),
            seed=candidate.seed,
            training=candidate.training,
            checkpoint=checkpoint.content if checkpoint else None,
            seconds_left=left,
        )

    def _keep(self, name: str, checkpoint: Checkpoint) -> None:
        """A checkpoint that cannot be kept costs time after a kill, but no result."""
        try:
            self._checkpoints.save(name, checkpoint)
        except OSError as error:
            self.progress.warn(
                f"cannot keep the checkpoint of {name} after epoch {checkpoint.epoch}: "
                f"{error.strerror}; the older one stays"
            )

    def _take_up(self, trial: Trial) -> None:
        """Its worker was lost: another goes on from the checkpoint."""
        again = replace(trial, losses=trial.losses + 1)
        self._store.open(self.study, again)
        self._waiting.append(again)
        for watcher in self._watchers:
            watcher.lost(trial.candidate)

    def _rest(self, trial: Trial) -> None:
        """It waits at a rung; others may have become hopeless by it."""
        self._stopper.rest(trial)
        self._learn_of_rest(trial)
        for watcher in self._watchers:
            watcher.rested(trial.candidate)
        for hopeless in self._stopper.hopeless():
            self._end(self._stopped(hopeless))

    def _learn_of_rest(self, trial: Trial) -> None:
        """The sampler learns how far it came, as if it had been stopped."""
        stopped = self._stopped(trial).frozen(**self._attributes)
        with _sampling():
            self._candidates.rest(trial.candidate, stopped)

    def _end(self, trial: Trial, files: bytes | None = None) -> None:
        """Keep a trial that has ended, with what its evaluation left in its checkpoint folder."""
        if files is not None and trial.state == "complete":
            trial = self._placed(trial, files)
        frozen = trial.frozen(**self._attributes)
        self._store.record(self.study, frozen, suggestion=trial.candidate.suggestion)
        self._checkpoints.drop(trial.name)  # only now: a kill before the record needs it
        self._stopper.ended(trial)
        with _sampling():
            self._candidates.tell(trial.candidate, frozen)
        for watcher in self._watchers:
            watcher.ended(trial)

    def _placed(self, trial: Trial, files: bytes) -> Trial:
        """The trial with its files in the run folder, or failed where they cannot be put there.

        Raises OSError where the disk is at fault: the trial stays open, and goes on another time.
        """
        try:
            self._checkpoints.place(trial.name, files)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) in _OF_THE_DISK:
                raise
            why = f"the files that it left cannot be kept: {reason(error)}"
            return trial.ended("fail", trial.accuracy, reason=why, seconds=trial.took)
        return trial

    def _stopped(self, trial: Trial) -> Trial:
        """Ended by early stopping after its last epoch."""
        reason = f"stopped after epoch {trial.epoch} of {self._epochs}"
        return trial.ended("pruned", trial.epochs[-1].accuracy, reason=reason)

    def _at_its_end(self, on_worker: _OnWorker) -> Trial:
        trial, result = on_worker.trial, on_worker.result
        if result is None and on_worker.stopped:
            return self._stopped(trial)
        last = trial.epochs[-1].accuracy if trial.epochs else None
        if result is None:
            times = trial.losses + 1
            why = f"the worker process was lost {times} times{on_worker.last_words}"
            return trial.ended("fail", last, reason=why)
        seconds = result["seconds"]
        if "accuracy" in result:
            extra = result["extra"]
            return trial.ended("complete", result["accuracy"], extra=extra, seconds=seconds)
        hangs = f"stopped by its time limit of {self._limit:g} s" if result.get("hangs") else ""
        return trial.ended("fail", last, reason=hangs or result["failure"], seconds=seconds)
