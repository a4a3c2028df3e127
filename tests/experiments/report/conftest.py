"""Small runs made by hand: no Ray, no training, costs made up."""

import base64
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from experiments.benchmarks.parts.told_epochs import told_epochs
from experiments.config.run_folder import RunFolder
from experiments.config.schema import SearchConfig
from experiments.engine.sampled import SampledCandidates
from experiments.report import figures
from experiments.store.store import Store
from experiments.store.trial import Candidate, EpochResult, Trial
from scaler.compound import CompoundCoefficients
from scaler.cost import Cost
from search_spaces import Architecture
from search_spaces.space import load_space

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@dataclass
class HandMadeRun:
    """A run folder that grows by the stage."""

    folder: RunFolder
    baseline: Architecture
    recorded: int = 0

    @cached_property
    def store(self) -> Store:
        return Store(self.folder.study)

    def record(
        self, study, *, flops=1_000_000, channels=32, curve=(), losses=(), attributes=None, **rest
    ) -> None:
        """A trial of the baseline with another head, so that keys differ."""
        head = self.baseline.head.replace(channels=channels)
        candidate = Candidate(
            architecture=self.baseline.replace(head=head),
            cost=Cost(flops, 2_000, 3_000),
            seed=self.recorded,
            suggestion=self.recorded,
            reward_factor=(flops / 1e6) ** -0.07,
            attributes=attributes or {},
        )
        worker = {name: rest.pop(name) for name in ("host", "device") if name in rest}
        trial = Trial(candidate, **{"host": "here", **worker})
        for epoch, accuracy in enumerate(curve, start=1):
            figures = {"train_loss": losses[epoch - 1]} if losses else {}
            trial = trial.told(EpochResult(epoch, accuracy, figures))
        end = {"state": "complete", "accuracy": 0.9, "seconds": 1.5, **rest}
        self.store.record(study, trial.ended(**end).frozen())
        self.recorded += 1

    def search(self) -> None:
        self.record("search", accuracy=0.9, curve=(0.5, 0.9), losses=(2.0, 1.0))
        self.record("search", accuracy=0.4, state="pruned", channels=40, reason="stopped early")
        self.record("search", accuracy=None, state="fail", channels=48, reason="ValueError: no")
        self.folder.write_baseline(self.baseline)

    def confirm(self) -> None:
        """#0 and #1 in round 1, #1 and #2 in round 2; #1 wins by mean, #2 has the one best."""
        for contender, number, accuracies in (
            ("#0", 1, (0.80, 0.82)),
            ("#1", 1, (0.85, 0.85)),
            ("#1", 2, (0.90, 0.92)),
            ("#2", 2, (0.85, 0.93)),
        ):
            attributes = {"contender": contender, "round": number, "search_reward": 0.95}
            channels = 32 + 8 * int(contender[1:])
            for accuracy in accuracies:
                self.record(
                    "confirmation", accuracy=accuracy, channels=channels, attributes=attributes
                )

    def repeated_grid(self) -> None:
        """Three directions, the first two of them led and were trained again."""
        for alpha, number, accuracy in (
            (1.2, 1, 0.91),
            (2.0, 1, 0.93),
            (1.4, 1, 0.80),
            (1.2, 2, 0.94),
            (2.0, 2, 0.90),
            (1.2, 2, 0.96),
            (2.0, 2, 0.92),
        ):
            attributes = {"alpha": alpha, "beta": 1.0, "gamma": 1.0, "rule": "equal_flops"}
            attributes |= {"contender": f"alpha {alpha:g} beta 1 gamma 1", "round": number}
            attributes |= {"baseline": self.baseline.key}
            self.record("coefficients", accuracy=accuracy, attributes=attributes)
        directions = [{"alpha": 1.0, "beta": 1.4, "gamma": 1.0, "reason": "too coarse"}]
        note = {"baseline": self.baseline.key, "directions": directions}
        self.store.note("coefficients", "dropped", note)
        self.folder.write_coefficients(CompoundCoefficients(alpha=1.2, beta=1.0, gamma=1.0))

    def grid(self) -> None:
        for alpha, accuracy in ((1.2, 0.91), (2.0, 0.93)):
            attributes = {"alpha": alpha, "beta": 1.0, "gamma": 1.0, "phi": 1.0}
            attributes |= {"baseline": self.baseline.key, "label": "a label"}
            self.record("coefficients", accuracy=accuracy, attributes=attributes)
        self.folder.write_coefficients(CompoundCoefficients(alpha=2.0, beta=1.0, gamma=1.0))

    def family(self) -> None:
        for i, flops in enumerate((1_000_000, 2_100_000)):
            attributes = {"member": f"hand_b{i}", "phi": float(i), "depth": 2.0**i, "width": 1.0}
            attributes |= {"resolution": 1.0, "target_flops": 2e6 if i else None}
            attributes |= {"baseline": self.baseline.key}
            extra = {"test_accuracy": 0.9 + i / 100}
            self.record("family", flops=flops, attributes=attributes, extra=extra)


def begin(path: Path, baseline: Architecture, *, name: str = "hand") -> HandMadeRun:
    folder = RunFolder.check(SearchConfig(name=name, run=path), set())
    folder.write_config()
    folder.write_environment(data="fingerprint-1234")
    return HandMadeRun(folder, baseline)


@pytest.fixture
def run(tmp_path, small) -> HandMadeRun:
    """A run that has only begun: a config, no store."""
    return begin(tmp_path / "hand", small)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory) -> Path:
    """Runs that were made once and are copied from then on: recording takes most of the time."""
    return tmp_path_factory.mktemp("shelf")


def grown(run: HandMadeRun, *stages: str, shelf: Path) -> HandMadeRun:
    made = shelf / "-".join(stages)
    if made.exists():
        shutil.copytree(made, run.folder.path, dirs_exist_ok=True)
    else:
        for stage in stages:
            getattr(run, stage)()
        shutil.copytree(run.folder.path, made)
    return run


@pytest.fixture
def searched(run, shelf) -> HandMadeRun:
    return grown(run, "search", shelf=shelf)


@pytest.fixture
def done(run, shelf) -> HandMadeRun:
    return grown(run, "search", "grid", "family", shelf=shelf)


@pytest.fixture
def repeated(run, shelf) -> HandMadeRun:
    return grown(run, "search", "confirm", "repeated_grid", shelf=shelf)


@pytest.fixture
def begin_run(tmp_path, small):
    """Another run by its path under the test's folder."""
    return lambda path, **options: begin(tmp_path / path, small, **options)


def sample(path: Path, *, trials: int, seed: int = 0, worth: float = 0.1) -> RunFolder:
    """A search of drawn networks whose accuracy is 0.6 plus `worth` where stage 1 has kernel 5.

    Every third is stopped after epoch 1 of 3, which shows half of the final accuracy.
    """
    config = SearchConfig(name=path.name, run=path)
    folder = RunFolder.check(config, set())
    folder.write_config()
    folder.write_environment(data="fingerprint-1234")
    section = config.search.replace(sampler="random")
    source = SampledCandidates(
        load_space("mbconv_small").at(32),
        section=section,
        seed=seed,
        finished=[],
        num_classes=10,
        in_channels=3,
    )
    store = Store(folder.study)
    for number in range(trials):
        candidate = source.next()
        five = candidate.params["stages.1.block.kernel_size"] == 5
        final = 0.6 + worth * five + 0.001 * (number % 5)
        curve = (final / 2, final * 0.9, final)
        state = "pruned" if number % 3 == 0 else "complete"
        curve = curve[:1] if state == "pruned" else curve
        trial = Trial(candidate, host="here", device="cuda:0", epochs=told_epochs(curve))
        store.record("search", trial.ended(state, curve[-1], seconds=2.0).frozen())
    store.finish()
    return folder


@pytest.fixture(scope="session")
def sampled(tmp_path_factory) -> RunFolder:
    """60 trials of `sample`, to be looked at only."""
    return sample(tmp_path_factory.mktemp("sampled") / "sampled", trials=60)


@pytest.fixture
def make_sample():
    """30 trials of `sample` at a path."""
    return lambda path, worth: sample(path, trials=30, worth=worth).path


@pytest.fixture
def blank(monkeypatch):
    """Drawing takes most of the time and has tests of its own: here each file is one pixel."""
    pixel = base64.b64decode(PIXEL)
    monkeypatch.setattr(figures, "draw", lambda _: {"png": pixel, "svg": b"<svg/>"})
