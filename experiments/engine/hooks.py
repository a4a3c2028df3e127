"""Where Ray Tune's loop calls us: for the next trial, at each result, at each end.

Tune's own searcher interface reads a trial's settings through a parser, looks its class up in the
cluster and copies it several times; that took longer than the trial's way to the worker.
"""

import re
from pathlib import Path
from typing import Any

from ray.tune import Callback, PlacementGroupFactory
from ray.tune.schedulers import FIFOScheduler

from experiments.engine.evaluation import Job
from experiments.engine.machines import ray_internals
from experiments.engine.searcher import StudySearcher


class StudyTrial(ray_internals.Trial):  # type: ignore[misc]
    """A trial as Tune carries it. Our store keeps it, so Tune need not: its own record is empty."""

    def __init__(
        self, job: Job, trial_id: str, *, trainable: type, resources: Any, storage: Any
    ) -> None:
        # A stub is not looked up in the cluster: it brings its class along.
        super().__init__(trainable.__name__, trial_id=trial_id, storage=storage, stub=True)
        self.set_config({"job": job})
        self.custom_dirname = trial_id
        self._trainable = trainable
        self._resources_asked = resources

    def get_trainable_cls(self) -> type:
        """The worker's class, without a look into Tune's registry."""
        return self._trainable

    def create_placement_group_factory(self) -> None:
        """The resources were made once, for all trials."""
        self.placement_group_factory = self._resources_asked

    def set_ray_actor(self, ray_actor: Any) -> None:
        """Without a call that asks the worker where it is: its results tell."""
        self.temporary_state.ray_actor = ray_actor

    def update_last_result(self, result: dict[str, Any]) -> None:
        """Without statistics of every figure."""
        self.run_metadata.last_result = result

    def get_json_state(self) -> tuple[str, str]:
        """Nothing: the study is stored, so Tune need not store its trials."""
        return "{}", "{}"


class StudySearch(ray_internals.SearchAlgorithm):  # type: ignore[misc]
    """Asks the searcher for a trial whenever fewer than `at_a_time` run."""

    def __init__(
        self,
        searcher: StudySearcher,
        *,
        at_a_time: int,
        trainable: type,
        resources: dict[str, float],
    ) -> None:
        self._searcher = searcher
        self._at_a_time = at_a_time
        self._trainable = trainable
        self._resources = PlacementGroupFactory([resources])
        self._storage: Any = None

    def add_configurations(self, experiments: Any) -> None:
        """Tune calls it once, before the first trial."""
        (experiment,) = experiments if isinstance(experiments, list) else [experiments]
        self._storage = experiment.spec["storage"]

    def next_trial(self) -> StudyTrial | None:
        """The next trial, or None while enough run and when none is left."""
        if self._searcher.running >= self._at_a_time:
            return None
        trial_id = ray_internals.Trial.generate_id()
        job = self._searcher.suggest(trial_id)
        if job is None:
            return None
        return StudyTrial(
            job,
            trial_id,
            trainable=self._trainable,
            resources=self._resources,
            storage=self._storage,
        )

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,  # noqa: ARG002, the callback had it
        error: bool = False,
    ) -> None:
        """Tell the searcher that a trial has ended, or was lost by an error."""
        self._searcher.ended(trial_id, error=error)

    def is_finished(self) -> bool:
        """Whether no trial will follow."""
        return self._finished or self._searcher.finished


class StudyScheduler(FIFOScheduler):  # type: ignore[misc]
    """Stops what the study's rule stops. It has no memory of its own that could be lost."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def on_trial_result(self, _controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop the trial or let it go on."""
        stops = self._searcher.stops(trial.trial_id, result)
        return self.STOP if stops else self.CONTINUE

    def on_trial_error(self, _controller: Any, trial: Any) -> None:
        """Tell the searcher why the trial was lost."""
        self._searcher.lost(trial.trial_id, _last_words(trial.error_file))

    def choose_trial_to_run(self, _controller: Any) -> None:
        """Tune starts what is pending by itself; the stock search through all trials is O(n)."""


class StudyCallback(Callback):  # type: ignore[misc]
    """Hands every result to the study, whole, before Tune keeps it."""

    def __init__(self, searcher: StudySearcher) -> None:
        self._searcher = searcher

    def on_trial_start(self, *, trial: Any, **_: Any) -> None:
        """Tell the searcher that a worker has begun."""
        trial.config["job"].checkpoint = None  # the worker has it now
        self._searcher.started(trial.trial_id)

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Hand an epoch's result to the searcher."""
        self._searcher.told(trial.trial_id, result)

    def on_trial_complete(self, *, trial: Any, **_: Any) -> None:
        """Free what a trial holds."""
        trial.config, trial.evaluated_params = {}, {}  # Tune keeps every trial to the end


def _last_words(error_file: str | None) -> str:
    """What Tune wrote of a failure, in one line: the exception, or that memory ran out."""
    if error_file is None or not Path(error_file).is_file():
        return ""
    text = Path(error_file).read_text(errors="replace")
    if "OutOfMemory" in text or "running low on memory" in text:
        return "out of memory, Ray ended it"
    errors = re.findall(r"^[\w.]*(?:Error|Exception)\b.*", text, flags=re.MULTILINE)
    return errors[-1][:300] if errors else ""
