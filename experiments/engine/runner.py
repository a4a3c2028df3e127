"""Runs one study on Ray Tune."""

import os
import tempfile
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from experiments.config.messages import WorkFailed as WorkFailed
from experiments.config.schema import EarlyStopping
from experiments.config.sections import ClusterSection
from experiments.engine.candidates import Candidates
from experiments.engine.cluster import trials_at_a_time
from experiments.engine.progress import Progress
from experiments.engine.ray_internals import PENDING
from experiments.engine.searcher import StudySearcher
from experiments.engine.tracking import Tracking
from experiments.engine.worker import Worker
from experiments.store.checkpoints import Checkpoints
from experiments.store.run_lock import RunLock
from experiments.store.store import Store
from experiments.training.evaluate import Evaluate


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
    tracking: Tracking | None = None,
    early_stopping: EarlyStopping | None = None,
    time_limit: float | None = None,
    attributes: dict[str, Any] | None = None,
    lock: RunLock | None = None,
) -> None:
    """Train up to `trials` candidates, each recorded in the store as it ends.

    Trials that an earlier driver left open are among them, and go first. `time_limit` is in
    seconds a trial. `attributes` stand on every trial. Raises WorkFailed where a trial could not
    be recorded.
    """
    if trials <= 0:
        return
    from ray import tune

    from experiments.engine.hooks import StudyCallback, StudyScheduler, StudySearch

    searcher = StudySearcher(
        candidates,
        store=store,
        study=study,
        trials=trials,
        epochs=epochs,
        checkpoints=Checkpoints(checkpoints.absolute()),
        progress=progress,
        tracking=tracking,
        attributes=attributes or {},
        early_stopping=early_stopping,
        time_limit=time_limit,
        lock=lock,
    )
    resources = {"CPU": cluster.cpus_per_trial, "GPU": cluster.gpus_per_trial}
    trainable = tune.with_parameters(Worker, evaluate=evaluate)
    at_a_time = trials_at_a_time(cluster)
    search = StudySearch(searcher, at_a_time=at_a_time, trainable=trainable, resources=resources)
    os.environ[PENDING] = str(at_a_time)
    with tempfile.TemporaryDirectory(prefix="scaler-ray-") as scratch:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=search,
                scheduler=StudyScheduler(searcher),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=study,
                storage_path=scratch,
                verbose=0,
                callbacks=[StudyCallback(searcher)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        with progress, nullcontext() if tracking is None else tracking.open():
            tuner.fit()
    if searcher.error is not None:
        raise WorkFailed(f"cannot record a trial in '{store.shown}': {searcher.error}")
    before = Counter(store.notes(study).get("screened_out", {}))
    store.note(study, "screened_out", dict(before + candidates.screened_by))
    progress.summary()
