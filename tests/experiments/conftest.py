"""What tests of several rooms share: a problem that is learnt fast, and one embedded Ray."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from experiments.config.run_folder import RunFolder
from experiments.config.schema import SearchConfig
from experiments.config.search_section import SearchSection
from experiments.config.sections import ClusterSection
from experiments.data.images import ImageData, Split
from experiments.engine.candidates import ListedCandidates
from experiments.engine.machines.cluster import ray_session
from experiments.engine.progress import Progress
from experiments.engine.searcher import StudySearcher
from experiments.engine.session import Session, run_study
from experiments.store.checkpoints import Checkpoints
from experiments.store.run_lock import RunLock
from experiments.store.store import Store
from experiments.store.trial import Candidate, Trial
from scaler import Cost
from search_spaces.architecture import Architecture

ONE_WORKER = ClusterSection(workers=1)


@pytest.fixture(scope="session")
def ray() -> Iterator[None]:
    with ray_session(ClusterSection(workers=2)):
        yield


@pytest.fixture
def config(tmp_path: Path) -> SearchConfig:
    """A search of 12 trials of 3 epochs on the small space, one at a time."""
    section = SearchSection(resolution=8, trials=12, epochs=3, sampler="random")
    return SearchConfig(
        name="test",
        run=tmp_path / "run",
        search=section,
        confirmation=None,  # has tests of its own
        cluster=ONE_WORKER,
    )


def train_at_once(session, study, candidates, *, trials, **_) -> None:
    """What `Session.train` does, without Ray: one training after the other, in this process."""
    for _ in range(trials):
        if (candidate := candidates.next()) is None:
            return
        training = {"training": candidate.training} if candidate.training else {}
        rest = {"report": lambda *_: None, "seed": candidate.seed, "checkpoint_dir": None}
        try:
            accuracy = session.own_evaluate(candidate.architecture, **rest, **training)
            trial = Trial(candidate).ended("complete", accuracy).frozen()
        except Exception as error:
            trial = Trial(candidate).ended("fail", None, reason=repr(error)).frozen()
        session.store.record(study, trial)
        candidates.tell(candidate, trial)


@dataclass(frozen=True)
class HandSession(Session):
    """A session whose trainings are done at once, one after the other, without Ray."""

    lengths: list[tuple[str, int]] = field(default_factory=list)  # (study, epochs) of each call

    def train(self, study, candidates, *, epochs, **rest):
        self.lengths.append((study, epochs))
        train_at_once(self, study, candidates, **rest)


@pytest.fixture
def without_ray(monkeypatch) -> None:
    """Searches with an own evaluation train at once: what the run folder keeps is the same."""
    monkeypatch.setattr(Session, "train", train_at_once)
    monkeypatch.setattr("experiments.engine.session.ray_session", lambda _: nullcontext())


@pytest.fixture
def by_hand():
    """A session on the config's run folder, for an evaluation of digits-like images."""

    def begin(config: SearchConfig, evaluate) -> HandSession:
        folder = RunFolder.check(config, set())
        folder.write_config()
        store, lock = Store(folder.study), RunLock(folder.path)
        return HandSession(config, folder, store, None, evaluate, 10, 1, lock)

    return begin


@pytest.fixture
def train_list(ray, tmp_path):  # noqa: ARG001
    """Run architectures one after the other in one reused actor; the stored trials by name."""

    def run(evaluate, *architectures, epochs=2, early_stopping=None, time_limit=None):
        store = Store(tmp_path / f"{len(list(tmp_path.iterdir()))}.db")
        candidates = [
            Candidate(
                architecture=architecture,
                cost=Cost(1, 1, 1),
                seed=5,
                suggestion=i,
                attributes={"member": architecture.name},
            )
            for i, architecture in enumerate(architectures)
        ]
        searcher = StudySearcher(
            ListedCandidates(candidates),
            store=store,
            study="family",
            trials=len(candidates),
            epochs=epochs,
            checkpoints=Checkpoints(tmp_path / "checkpoints"),
            progress=Progress("family", total=len(candidates)),
            attributes={},
            early_stopping=early_stopping,
            time_limit=time_limit,
        )
        run_study(searcher, evaluate=evaluate, cluster=ONE_WORKER)
        return {trial.user_attrs["member"]: trial for trial in store.trials("family")}

    return run


def bars(count: int, *, seed: int) -> Split:
    random = np.random.RandomState(seed)
    labels = np.arange(count) % 2
    images = random.randint(0, 60, (count, 1, 8, 8)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[0, :, 1 + 5 * label] = 255
    return Split(images, labels.astype(np.int64))


@pytest.fixture
def data() -> ImageData:
    parts = bars(100, seed=0), bars(40, seed=1), bars(40, seed=2)
    return ImageData("bars", ("left", "right"), *parts, fingerprint="0" * 16)


@pytest.fixture
def tiny() -> Architecture:
    """Two stages of MBConv for 8 x 8 pixels."""
    block = {"kind": "mbconv", "expand_ratio": 2, "kernel_size": 3, "se_ratio": 0.25}
    return Architecture.parse(
        {
            "name": "tiny",
            "resolution": 8,
            "stem": {"channels": 8, "block": {"kind": "conv", "kernel_size": 3}, "stride": 1},
            "stages": [
                {"channels": 8, "layers": 1, "stride": 1, "block": block},
                {"channels": 16, "layers": 2, "stride": 2, "block": block},
            ],
            "head": {"channels": 32},
        },
        source="tiny",
    )
