"""What the three studies of one run share: folder, store, data, Ray, and how a trial is trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.config import EarlyStopping, SearchConfig
from experiments.run_folder import RunFolder
from experiments.studies.candidates import Candidates
from experiments.studies.cluster import check_cluster, ray_session
from experiments.studies.progress import Progress
from experiments.studies.runner import run_study
from experiments.studies.store import Store

if TYPE_CHECKING:
    from experiments.data.images import ImageData
    from experiments.studies.worker import Evaluate


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

    @property
    def sizes(self) -> dict[str, int]:
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
        final: bool = False,
    ) -> None:
        """Run up to `trials` more trials of a study, beside the `done` that are in the store."""
        run_study(
            candidates,
            evaluate=self.own_evaluate or self._training(epochs, final=final),
            store=self.store,
            study=study,
            trials=trials,
            epochs=epochs,
            checkpoints=self.folder.checkpoints,
            progress=Progress(study, total=done + trials, done=done),
            cluster=self.config.cluster,
            early_stopping=early_stopping,
            attributes=self.sizes,
        )

    def _training(self, epochs: int, *, final: bool) -> "Evaluate":
        from experiments.training.trial import TrainingEvaluation

        assert self.data is not None
        return TrainingEvaluation(
            data=self.data,
            data_config=self.config.data,
            train_config=self.config.train,
            epochs=epochs,
            threads=max(1, int(self.config.cluster.cpus_per_trial)),
            final=final,
        )


@contextmanager
def open_session(
    config: SearchConfig,
    *,
    evaluate: "Evaluate | None" = None,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> Iterator[Session]:
    """Check everything that can be wrong, then write the run folder, then start Ray.

    `num_classes` and `in_channels` are asked for only with an own `evaluate`; else the data say.
    """
    data = None
    if evaluate is None:
        from experiments.data.sources import load_data

        data = load_data(config.data, seed=config.seed)
        num_classes, in_channels = data.num_classes, data.channels
        if config.cluster.address is None:
            from experiments.training.device import choose_device

            choose_device(config.train.device)
    check_cluster(config.cluster)
    study = config.run_folder / "study.db"
    begun = Store(study).begun() if study.exists() else set()
    folder = RunFolder.check(config, begun)
    facts = {
        "evaluation": "built-in training" if data else "own",
        "data": data.fingerprint if data else None,
        "num_classes": num_classes,
        "in_channels": in_channels,
    }
    if begun:
        folder.check_facts(facts)
    with folder.locked():
        store = Store(folder.study)
        folder.write_config()
        folder.write_environment(**facts)
        with ray_session(config.cluster):
            yield Session(config, folder, store, data, evaluate, num_classes, in_channels)
