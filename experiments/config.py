"""The one schema of a run: sections data, search, coefficients, family, comparison, train, cluster.

`scaler run` and `scaler search` read the same file; a run folder keeps it as used.
"""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, field_validator, model_validator

from search_spaces.records import InputError, Record, read_mapping, suggest

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class DataConfig(Record):
    """What is trained on. `source` is `digits` or a folder of class folders.

    A folder is looked for as given and then under the variable SCALER_DATA. It holds
    `train/<class>/*`, and if it likes `validation/` and `test/`; or the class folders themselves.
    """

    source: str = "digits"
    image_size: Positive | None = None  # pixels stored per side; None: the images' own size
    validation_fraction: Fraction = 0.2  # cut from the training part where no folder gives it
    test_fraction: Fraction = 0.2  # likewise
    train_limit: Positive | None = None  # at most so many training images (a stratified sample)
    validation_limit: Positive | None = None  # likewise of the validation part
    flip: bool = True  # random horizontal flips; off for digits and text
    crop_padding: Annotated[int, Field(ge=0)] = 0  # pixels of zero padding before a random crop


class TrainConfig(Record):
    """The recipe: SGD with Nesterov momentum, a linear warm-up and a cosine."""

    batch_size: Annotated[int, Field(ge=2)] = 64  # batch norm needs two
    learning_rate: Annotated[FiniteFloat, Field(gt=0)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[FiniteFloat, Field(ge=0)] = 5e-4
    warmup_epochs: Annotated[FiniteFloat, Field(ge=0)] = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    gradient_norms: bool = False  # of each layer's weights, at the first step of every epoch


class EarlyStopping(Record):
    """Asynchronous successive halving (arXiv:1810.05934): rungs at first, first * factor, ..."""

    first_epoch: Positive = 1
    factor: Annotated[float, Field(gt=1)] = 3


class SearchSection(Record):
    space: str = "mbconv_small"
    resolution: Positive | None = None  # of the candidates' input; None: the space's own
    sampler: str = "cost_aware"  # a name of SAMPLERS or the import path of an Optuna sampler
    trials: Positive = 50
    epochs: Positive = 5
    target_flops: Annotated[FiniteFloat, Field(gt=0)] = 1e6  # T of ACC * (FLOPS/T)^w
    exponent: FiniteFloat = -0.07  # w
    min_flops: Annotated[FiniteFloat, Field(ge=0)] = 0.0  # candidates outside are never trained
    max_flops: Annotated[float, Field(gt=0)] = float("inf")
    early_stopping: EarlyStopping | None = EarlyStopping()

    @model_validator(mode="after")
    def _window(self) -> Self:
        if not self.min_flops < self.max_flops:
            raise ValueError(
                f"`min_flops < max_flops` must hold, but got "
                f"(min_flops={self.min_flops:g}, max_flops={self.max_flops:g})"
            )
        return self


class CoefficientsSection(Record):
    """The grid of alpha, beta, gamma, each from 1, alpha * beta^2 * gamma^2 near 2."""

    step: Annotated[float, Field(ge=0.02, le=1)] = 0.1
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.1  # of the 2
    phi: Annotated[float, Field(gt=0, le=8)] = 1.0
    epochs: Positive = 5


class FamilySection(Record):
    """Which members are built and trained: `phi`, `released` or `budgets` (see scaler.family)."""

    kind: Literal["phi", "released", "budgets"] = "budgets"
    ratios: tuple[Annotated[float, Field(gt=0, le=10_000)], ...] | None = (
        None  # budgets: FLOPs / baseline's
    )
    phis: tuple[Annotated[float, Field(gt=0, le=12)], ...] | None = None  # phi: instead of 1..7
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    epochs: Positive = 10


class ComparisonSection(Record):
    """Networks trained side by side with one recipe: panels of names, files or architectures."""

    networks: dict[str, tuple[str | dict[str, Any], ...]] = Field(default={})
    resolution: Positive | None = None  # of their input; None: each network's own
    epochs: Positive = 10
    seeds: Positive = 1  # trainings of each network


class ClusterSection(Record):
    """Where trials run. No address: an embedded Ray on this machine."""

    address: str | None = None
    workers: Positive | None = None  # trials at a time; None: as many as fit
    cpus_per_trial: Annotated[FiniteFloat, Field(gt=0)] = 1
    gpus_per_trial: Annotated[FiniteFloat, Field(ge=0)] = 0


class SearchConfig(Record):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    task: Literal["classification"] = "classification"
    run: Path | None = None  # the run folder; None: runs/<name>
    data: DataConfig = DataConfig()
    search: SearchSection = SearchSection()
    coefficients: CoefficientsSection = CoefficientsSection()
    family: FamilySection = FamilySection()
    comparison: ComparisonSection = ComparisonSection()
    train: TrainConfig = TrainConfig()
    cluster: ClusterSection = ClusterSection()

    @field_validator("task", mode="before")
    @classmethod
    def _task(cls, task: object) -> object:
        if task != "classification":
            raise ValueError(f"unknown task {task!r}; only 'classification' is built so far")
        return task

    @property
    def run_folder(self) -> Path:
        return self.run if self.run is not None else Path("runs") / self.name

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """Read a shipped config by name (`digits`) or any config by path."""
        path = Path(name_or_path)
        shipped = {file.name.removesuffix(".yaml"): file for file in _shipped_configs()}
        if str(name_or_path) in shipped:
            path = shipped[str(name_or_path)]
        elif not path.is_file():
            hint = suggest(str(name_or_path), shipped)
            raise InputError(f"no config '{name_or_path}', neither a file nor a name; {hint}")
        return cls.parse(read_mapping(path), source=str(name_or_path))


def _shipped_configs() -> list[Path]:
    folder = Path(str(resources.files("experiments"))) / "configs"
    return sorted(folder.glob("*.yaml"))
