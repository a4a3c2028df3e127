"""What the studies of a run share: folder, store, data, and each one's trials on Ray Tune."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.config.messages import say
from experiments.config.run_folder import RunFolder
from experiments.config.schema import SearchConfig
from experiments.config.search_section import EarlyStopping
from experiments.config.sections import ClusterSection
from experiments.engine.begun import check_shared, look_at_store, note_shared, with_known_target
from experiments.engine.budgets import check_targets
from experiments.engine.candidates import Candidates
from experiments.engine.early_stopping import rungs
from experiments.engine.limits import searched_space
from experiments.engine.machines.cluster import ray_session, trials_at_a_time
from experiments.engine.machines.cluster_check import check_cluster
from experiments.engine.machines.ray_internals import PENDING
from experiments.engine.machines.shares import trial_bytes, with_share
from experiments.engine.pricing import latency_facts
from experiments.engine.progress import Progress
from experiments.engine.searcher import StudySearcher
from experiments.engine.tracking import Tracking, check_tracking
from experiments.engine.worker import Worker
from experiments.store.checkpoints import Checkpoints
from experiments.store.run_lock import RunLock
from experiments.store.store import Store
from scaler.conditions import find_device
from scaler.cost import Cost
from search_spaces.records import InputError

if TYPE_CHECKING:
    from experiments.data.images import ImageData
    from experiments.training.trial import Evaluate


@dataclass(frozen=True)
class Session:
    """One run, open for work. `evaluate` is the user's own evaluation, or None for training."""

    config: SearchConfig
    folder: RunFolder
    store: Store
    data: "ImageData | None"
    own_evaluate: "Evaluate | None"
    num_classes: int
    in_channels: int
    lock: RunLock
    metric: str = "accuracy"  # what people call what is measured

    @property
    def judged(self) -> str:
        """What people call what candidates are compared by, which may be the metric in int8."""
        return self.config.search.named(self.metric)

    @property
    def sizes(self) -> dict[str, int]:
        """Classes and channels of the data, as the functions of cost take them."""
        return {"num_classes": self.num_classes, "in_channels": self.in_channels}

    def train(
        self,
        study: str,
        candidates: Candidates,
        *,
        trials: int,
        epochs: int,
        done: int = 0,
        early_stopping: EarlyStopping | None = None,
        time_limit: float | None = None,
        final: bool = False,
        by_class: bool = False,
        start: bytes | None = None,
    ) -> None:
        """Run up to `trials` more trials of a study, beside the `done` that are in the store.

        `final`, `by_class` and `start` are those of `TrainingEvaluation`.
        """
        if trials <= 0:
            return
        cluster = self._shared(candidates)
        evaluate = self.own_evaluate or self._training(
            epochs, final=final, by_class=by_class, start=start, rule=early_stopping
        )
        searcher = StudySearcher(
            candidates,
            store=self.store,
            study=study,
            trials=trials,
            epochs=epochs,
            checkpoints=Checkpoints(self.folder.checkpoints.absolute()),
            progress=self._progress(
                Progress(
                    study,
                    total=done + trials,
                    done=done,
                    epochs=epochs,
                    metric=self.metric if final else self.judged,
                ),
                trials=trials,
            ),
            tracking=self._tracking(study),
            early_stopping=early_stopping,
            time_limit=time_limit,
            attributes={
                **self.sizes,
                **({"gpus": gpus} if (gpus := cluster.gpus_per_trial) else {}),
            },
            lock=self.lock,
        )
        run_study(searcher, evaluate=evaluate, cluster=cluster)

    def _shared(self, candidates: Candidates) -> ClusterSection:
        """The cluster with a trial's share of a GPU, by the largest network and the data's size."""
        train, cluster = self.config.train, self.config.cluster
        held = 0 if self.data is None else self.data.held_bytes

        def estimate() -> int:
            largest = candidates.largest() or Cost(0, 0, 0)
            return trial_bytes(largest, batch_size=train.batch_size)

        if train.device == "cpu" and self.data is not None and cluster.gpus_per_trial is None:
            cluster = cluster.replace(gpus_per_trial=0)
        cluster = with_share(cluster, trial=estimate, images=held)
        if train.device == "cuda" and self.data is not None and not cluster.gpus_per_trial:
            raise InputError(
                "train.device is 'cuda', but a trial has no share of a GPU: no node has one, or "
                "cluster.gpus_per_trial is 0; change one of the two"
            )
        return cluster

    def _progress(self, progress: Progress, *, trials: int) -> Progress:
        done = progress.done
        if done and trials > 0 and len(ended := self.store.trials(progress.study)) == done:
            progress.go_on(ended)
        return progress

    def _tracking(self, study: str) -> Tracking:
        config = self.config
        return Tracking.of(config.tracking, run=config.name, study=study, folder=self.folder.path)

    def _training(
        self,
        epochs: int,
        *,
        final: bool,
        by_class: bool,
        start: bytes | None,
        rule: EarlyStopping | None = None,
    ) -> "Evaluate":
        from experiments.training.trial import TrainingEvaluation

        assert self.data is not None
        rests = rule is not None and rule.type == "promotion"
        return TrainingEvaluation(
            data=self.data,
            data_config=self.config.data,
            train_config=self.config.train,
            epochs=epochs,
            threads=max(1, int(self.config.cluster.cpus_per_trial)),
            final=final,
            by_class=by_class,
            start=start,
            judged_in=self.config.search.precision,
            save_after=frozenset(rungs(rule, epochs) if rule and rests else ()),
        )


@contextmanager
def open_session(
    config: SearchConfig,
    *,
    evaluate: "Evaluate | None" = None,
    num_classes: int = 1000,
    in_channels: int = 3,
    searches: bool = False,
    check: Callable[[dict[str, int]], object] = lambda _: None,
) -> Iterator[Session]:
    """Check everything that can be wrong, then write the run folder, then start Ray.

    `num_classes` and `in_channels` are asked for only with an own `evaluate`; else the data say.
    A session that `searches` has networks within its limits, and a target. `check` gets the data's
    classes and channels (see `Session.sizes`) and raises InputError for what else is wrong.
    """
    data, metric = None, "accuracy"
    if evaluate is not None and config.search.precision == "int8":
        raise InputError(
            "search.precision int8 is for the built-in training, but this search has an own "
            "evaluation; leave it out, and let the evaluation tell the accuracy in int8"
        )
    if evaluate is None:
        data, metric = _loaded(config, searches=searches)
        num_classes, in_channels = data.num_classes, data.channels
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    check_cluster(config.cluster, on_cards=data is not None and config.train.device == "cuda")
    check_tracking(config.tracking)
    store, begun = look_at_store(config)
    config, told = with_known_target(config, store, begun, sizes if searches else None)
    if searches:
        check_targets(config.search, **sizes)
    check(sizes)
    folder = RunFolder.check(config, begun)
    facts = {
        "evaluation": "built-in training" if data else "own",
        "data": data.fingerprint if data else None,
        **sizes,
        **latency_facts(config.search),
    }
    if begun:
        folder.check_facts(facts)
    if store is not None:
        check_shared(store, config, facts, begun)
    with ExitStack() as stack:
        engine = None if store is None else store.engine
        lock = stack.enter_context(RunLock(folder.path, engine=engine, run=config.name))
        if store is not None:
            check_shared(store, config, facts, begun)  # again, as now nobody else writes
            note_shared(store, config, facts)
        if told:
            say(told)
        folder.write_config()  # before the study: a stop in between leaves a run that goes on
        store = store or Store(folder.study)
        folder.write_environment(**facts, metric=metric)
        stack.callback(store.finish)
        stack.enter_context(store.working())
        stack.enter_context(ray_session(config.cluster))
        yield Session(config, folder, store, data, evaluate, num_classes, in_channels, lock, metric)


def _loaded(config: SearchConfig, *, searches: bool) -> tuple["ImageData", str]:
    """The data that the built-in training needs, and its metric's label; checked against the rest.

    Raises InputError where there is no such device, or the space does not fit the data.
    """
    from experiments.data.sources import load_data
    from experiments.training.metrics import metric_of
    from experiments.training.training import check_judged_in, check_space

    data = load_data(config.data, seed=config.seed)
    check_judged_in(config.search.precision, data)
    metric = metric_of(config.train.metric, data.task, classes=data.num_classes).label
    if config.cluster.address is None:
        find_device(config.train.device, setting="train.device")
        if config.train.device == "cuda" and config.cluster.gpus_per_trial == 0:
            raise InputError(
                "train.device is 'cuda', but cluster.gpus_per_trial is 0, so that a trial sees "
                "no GPU; leave one of the two out"
            )
    if searches:
        check_space(
            searched_space(config.search),
            config.train,
            data,
            varied=config.data.varied(config.train.augmentation),
        )
    return data, metric


def run_study(searcher: StudySearcher, *, evaluate: "Evaluate", cluster: ClusterSection) -> None:
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
                    resources={"CPU": cluster.cpus_per_trial, "GPU": cluster.gpus_per_trial or 0},
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
