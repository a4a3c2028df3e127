"""Runs one study on Ray Tune."""

import os
import tempfile
from contextlib import nullcontext

from experiments.config.sections import ClusterSection
from experiments.engine.cluster import trials_at_a_time
from experiments.engine.ray_internals import PENDING
from experiments.engine.searcher import StudySearcher
from experiments.engine.worker import Worker
from experiments.training.evaluate import Evaluate


def run_study(searcher: StudySearcher, *, evaluate: Evaluate, cluster: ClusterSection) -> None:
    """Train the searcher's trials, each recorded in the store as it ends.

    Trials that an earlier driver left open are among them, and go first. Raises WorkFailed where a
    trial could not be recorded.
    """
    from ray import tune

    from experiments.engine.hooks import StudyCallback, StudyScheduler, StudySearch

    trainable = tune.with_parameters(Worker, evaluate=evaluate)
    at_a_time = trials_at_a_time(cluster)
    os.environ[PENDING] = str(at_a_time)
    with tempfile.TemporaryDirectory(prefix="scaler-ray-") as scratch:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=StudySearch(
                    searcher,
                    at_a_time=at_a_time,
                    trainable=trainable,
                    resources={"CPU": cluster.cpus_per_trial, "GPU": cluster.gpus_per_trial},
                ),
                scheduler=StudyScheduler(searcher),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=searcher.study,
                storage_path=scratch,  # Tune's own files: nothing in them is ever needed again
                verbose=0,
                callbacks=[StudyCallback(searcher)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        tracking = searcher.tracking
        with searcher.progress, nullcontext() if tracking is None else tracking.open():
            tuner.fit()
    searcher.close()
