"""Runs one study on Ray Tune: an embedded Ray, or the cluster at an address."""

import logging
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.config import ClusterSection, EarlyStopping
from experiments.studies.candidates import Candidates
from experiments.studies.checkpoints import Checkpoints
from experiments.studies.evaluation import Evaluate
from experiments.studies.processes import children, descendants, kill
from experiments.studies.progress import Progress
from experiments.studies.searcher import StudySearcher
from experiments.studies.store import Store
from experiments.studies.worker import Worker
from search_spaces.records import InputError


class WorkFailed(RuntimeError):  # noqa: N818, it reads as what it is
    """The input was right, but the work came to nothing."""


# Set before Ray is imported by anyone: no second screen, no logger files, no waiting.
_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_process_group_cleanup_enabled": "1",  # a worker's children go with it
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the run, and says so
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial has no reward
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # Tune's own state: nobody reads it
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


@contextmanager
def ray_session(cluster: ClusterSection) -> Iterator[None]:
    """Ray for as long as a run lasts; one that was there before stays."""
    os.environ.update({k: v for k, v in _SETTINGS.items() if k not in os.environ})
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
    import ray

    if ray.is_initialized():
        yield
        return
    before = set(children())
    local = {} if cluster.address else {"num_cpus": _slots(cluster), "include_dashboard": False}
    try:
        ray.init(
            address=cluster.address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
            **local,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot reach Ray at '{cluster.address or 'local'}': {first}") from None
    ours = set(children()) - before
    try:
        yield
    finally:
        left = [pid for child in ours for pid in (child, *descendants(child))]
        ray.shutdown()
        kill(left)  # what an evaluation started, and would outlive its worker


def check_cluster(cluster: ClusterSection) -> None:
    """Raise InputError where a trial wants more than this machine has: it would wait for ever."""
    if cluster.address is not None:
        return
    if cluster.cpus_per_trial > _slots(cluster):
        raise InputError(
            f"cluster.cpus_per_trial is {cluster.cpus_per_trial:g}, but this machine has "
            f"{_slots(cluster)} CPUs; lower it or name a cluster with --address"
        )
    if cluster.gpus_per_trial:
        import torch

        if cluster.gpus_per_trial > torch.cuda.device_count():
            raise InputError(
                f"cluster.gpus_per_trial is {cluster.gpus_per_trial:g}, but this machine has "
                f"{torch.cuda.device_count()} GPUs; lower it or name a cluster with --address"
            )


def _slots(cluster: ClusterSection) -> int:
    """CPUs of the embedded Ray: this machine's, or as many as the wished workers take."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wished = cluster.workers * cluster.cpus_per_trial if cluster.workers else 0
    return max(cpus or 1, round(wished))


def run_study(
    candidates: Candidates,
    *,
    evaluate: Evaluate,
    store: Store,
    study: str,
    trials: int,
    epochs: int,
    checkpoints: Path,
    progress: Progress,
    cluster: ClusterSection,
    early_stopping: EarlyStopping | None = None,
    time_limit: float | None = None,
    attributes: dict[str, Any] | None = None,
) -> None:
    """Train up to `trials` candidates, each recorded in the store as it ends.

    Trials that an earlier driver left open are among them, and go first. `time_limit` is in
    seconds a trial. `attributes` stand on every trial. Raises WorkFailed where a trial could not
    be recorded.
    """
    if trials <= 0:
        return
    from ray import tune

    from experiments.studies.hooks import StudyCallback, StudyScheduler

    searcher = StudySearcher(
        candidates,
        store=store,
        study=study,
        trials=trials,
        epochs=epochs,
        checkpoints=Checkpoints(checkpoints.absolute()),
        progress=progress,
        attributes=attributes or {},
        early_stopping=early_stopping,
        time_limit=time_limit,
    )
    resources = {"cpu": cluster.cpus_per_trial, "gpu": cluster.gpus_per_trial}
    trainable = tune.with_resources(tune.with_parameters(Worker, evaluate=evaluate), resources)
    with tempfile.TemporaryDirectory(prefix="scaler-ray-") as scratch:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                metric="reward",
                mode="max",
                search_alg=searcher,
                scheduler=StudyScheduler(searcher),
                num_samples=-1,  # until the searcher has no more
                max_concurrent_trials=cluster.workers,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=study,
                storage_path=scratch,
                verbose=0,
                callbacks=[StudyCallback(searcher)],
            ),
        )
        tuner.fit()
    if searcher.error is not None:
        raise WorkFailed(f"cannot record a trial in '{store.path}': {searcher.error}")
    before = Counter(store.notes(study).get("screened_out", {}))
    store.note(study, "screened_out", dict(before + candidates.screened_by))
    progress.summary()
