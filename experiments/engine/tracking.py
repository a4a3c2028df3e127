"""Trials shown elsewhere as well: TensorBoard, MLflow, Weights & Biases, by Ray's own callbacks.

They are told what the store is told, as plain numbers. A tracker that fails is left out from then
on, with a warning: the run's store is what counts.
"""

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from experiments.config.messages import warn
from experiments.config.sections import TrackingSection
from experiments.engine.machines import ray_internals
from experiments.store.trial import Candidate, EpochResult, Trial
from search_spaces.records import InputError

# tracker -> (the module it needs, what to install)
_NEEDS = {
    "tensorboard": ("tensorboardX", "tensorboardX"),
    "mlflow": ("mlflow", "mlflow"),
    "wandb": ("wandb", "wandb"),
}


def check_tracking(section: TrackingSection) -> None:
    """Raise InputError for a tracker whose package is missing."""
    for name in section.to:
        module, package = _NEEDS[name]
        if find_spec(module) is None:
            raise InputError(
                f"tracking.to names '{name}', but {module} is not installed; "
                f"pip install {package}, or leave it out"
            )


@dataclass(eq=False)
class _Trial:
    """What Ray's callbacks ask of a Tune trial."""

    name: str
    trial_id: str
    config: dict[str, Any]
    local_path: str
    experiment_dir_name: str

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """Ray's loggers ask for it: the same as the config."""
        return self.config

    def init_local_path(self) -> None:
        """Make the folder of this trial's logs."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return self.name


@dataclass
class Tracking:
    """One study's trials, told to the trackers of the config, each a callback of Ray's by name."""

    study: str
    folder: Path
    callbacks: dict[str, Any] = field(default_factory=dict)
    _trials: dict[int, _Trial] = field(default_factory=dict)

    @classmethod
    def of(cls, section: TrackingSection, *, run: str, study: str, folder: Path) -> "Tracking":
        """The trackers that the section names, for one study of a run."""
        makers = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}
        made: dict[str, Any] = {n: makers[n](section, run, study, folder) for n in section.to}
        return cls(study, folder / "tensorboard", made)

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Raises InputError where a tracker cannot begin, as without a key or a server."""
        for name, callback in self.callbacks.items():
            try:
                callback.setup()
            except Exception as error:
                raise InputError(f"tracking.to: {name} cannot begin: {_first(error)}") from None
        try:
            yield
        finally:
            for trial in list(self._trials.values()):  # still running: they go on another time
                self._end(trial, failed=True)
            self._each(lambda callback: callback.on_experiment_end(trials=[]))

    def started(self, candidate: Candidate) -> None:
        """Open a candidate's run, unless it goes on on another worker."""
        if candidate.suggestion in self._trials:  # it goes on on another worker
            return
        name = f"{self.study}-{candidate.suggestion}"
        trial = _Trial(
            name=str(candidate.attributes.get("label", name)),
            trial_id=f"{name}-{uuid.uuid4().hex[:8]}",
            config=_settings(candidate),
            local_path=str((self.folder / name).absolute()),
            experiment_dir_name=self.study,
        )
        if self.callbacks:
            self._trials[candidate.suggestion] = trial
        self._each(lambda callback: callback.log_trial_start(trial))

    def told(self, candidate: Candidate, epoch: EpochResult) -> None:
        """Log an epoch."""
        reward = epoch.accuracy * candidate.reward_factor
        figures = {"accuracy": epoch.accuracy, "reward": reward, "seconds": epoch.seconds}
        self._log(candidate, epoch.epoch, {**epoch.figures, **figures})

    def lost(self, candidate: Candidate) -> None:
        """Its run stays open."""

    def rested(self, candidate: Candidate) -> None:
        """Its run stays open."""

    def ended(self, trial: Trial) -> None:
        """Its run is closed, with the figures of its end."""
        candidate = trial.candidate
        figures: dict[str, float] = {
            **trial.extra,
            "seconds": trial.seconds,
            "flops": candidate.cost.flops,
            "stopped_early": float(trial.state == "pruned"),
        }
        if trial.accuracy is not None:
            figures["final_accuracy"] = trial.accuracy
            figures["final_reward"] = trial.accuracy * candidate.reward_factor
        self._log(candidate, trial.epoch or 1, figures)
        shown = self._trials.pop(candidate.suggestion, None)
        if shown is not None:
            self._end(shown, failed=trial.state == "fail")

    def _log(self, candidate: Candidate, step: int, figures: dict[str, float]) -> None:
        trial = self._trials.get(candidate.suggestion)
        if trial is not None:
            result = {**figures, "training_iteration": step}
            self._each(lambda callback: callback.log_trial_result(step, trial, result))

    def _end(self, trial: _Trial, *, failed: bool) -> None:
        self._each(lambda callback: callback.log_trial_end(trial, failed=failed))

    def _each(self, call: Callable[[Any], None]) -> None:
        for name, callback in list(self.callbacks.items()):
            try:
                call(callback)
            except Exception as error:
                del self.callbacks[name]
                warn(f"{name} is left out from here on: {_first(error)}")


def _settings(candidate: Candidate) -> dict[str, Any]:
    """A trial's choices and what is known before it, as single values."""
    cost = candidate.cost
    known = {"flops": cost.flops, "params": cost.params, "activations": cost.activations}
    own = {**candidate.attributes, **known, **candidate.params, **candidate.training}
    own |= {"seed": candidate.seed, "key": candidate.architecture.key}
    return {k: v for k, v in own.items() if isinstance(v, str | int | float | bool)}


def _tensorboard(_section: TrackingSection, _run: str, _study: str, _folder: Path) -> Any:
    return ray_internals.TBXLoggerCallback()


def _mlflow(section: TrackingSection, run: str, study: str, folder: Path) -> Any:
    """Without an address: the one in MLFLOW_TRACKING_URI, or a file of the run's own."""
    own = f"sqlite:///{(folder / 'mlflow.db').absolute()}"
    uri = section.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI") or own
    tags = {"study": study, "run": str(folder)}
    return ray_internals.MLflowLoggerCallback(tracking_uri=uri, experiment_name=run, tags=tags)


def _wandb(section: TrackingSection, run: str, study: str, _folder: Path) -> Any:
    return ray_internals.WandbLoggerCallback(project=section.wandb_project or run, group=study)


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
