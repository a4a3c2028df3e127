"""The one schema of a run, a section for each of its parts.

`scaler run` and `scaler search` read the same file; a run folder keeps it as used.
"""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, field_serializer, field_validator, model_validator

from experiments.config.augmentation import Augmentation
from experiments.config.recipe import TrainConfig
from scaler.conditions import Conditions
from search_spaces.records import InputError, Record, read_mapping, suggest

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Limit = Annotated[float, Field(gt=0)]
CostName = Literal["flops", "params", "activations", "latency"]
UNITS = {
    "flops": "multiply-adds",
    "params": "parameters",
    "activations": "elements of convolution outputs",
    "latency": "seconds",
}


class DataConfig(Record):
    """What is trained on (docs/data.md): `source` is a name, a folder or a table.

    The names are `digits`, `cifar10`, `cifar100`, `fashion_mnist` and `mnist`. A folder holds
    `train/<class>/*`, and if it likes `validation/` and `test/`; or the class folders themselves. A
    table is a CSV or Parquet file with the columns `path`, `label`, and if it likes `split`. All
    are looked for as given and then under the variable SCALER_DATA.
    """

    source: str = "digits"
    download: bool = False  # a data set by name that is not found, to SCALER_DATA or the cache
    image_size: Positive | None = None  # pixels stored per side; None: the images' own size
    validation_fraction: Fraction = 0.2  # cut from the training part where no folder gives it
    test_fraction: Fraction = 0.2  # likewise
    train_limit: Positive | None = None  # at most so many training images (a stratified sample)
    validation_limit: Positive | None = None  # likewise of the validation part
    flip: bool = True  # random horizontal flips; off for digits and text
    crop_padding: Annotated[int, Field(ge=0)] = 0  # pixels of zero padding before a random crop
    # Image files decoded on the training device, or read again each epoch; auto: by size.
    placement: Literal["auto", "device", "stream"] = "auto"
    augmentation: Augmentation | None = None  # takes the place of the recipe's, where it has one

    def varied(self, recipe: Augmentation | None = None) -> Augmentation:
        """How training images are varied: as `augmentation` says, or else the recipe.

        `flip: false` holds whatever they say, `crop_padding` where they name none.
        """
        chosen = self.augmentation or recipe or Augmentation()
        padding = chosen.crop_padding or self.crop_padding
        return chosen.replace(flip=chosen.flip and self.flip, crop_padding=padding)


DELIVERY = ("data.download", "data.placement")  # how images arrive, not which: may change


class EarlyStopping(Record):
    """When weak trials stop. `asha` and `hyperband` compare at epochs first, first * factor, ...

    `asha`: asynchronous successive halving (arXiv:1810.05934). `hyperband`: trials dealt out to
    brackets that start to compare later and later. `median`: below the others' median, from
    `first_epoch` on. `none`: never.

    `type` says what becomes of the weak ones of `asha` and `hyperband`: with `stopping` they end;
    with `promotion` they rest, and go on from their checkpoint once they are among the best.
    """

    kind: Literal["asha", "hyperband", "median", "none"] = "asha"
    type: Literal["stopping", "promotion"] = "stopping"
    first_epoch: Positive = 1
    factor: Annotated[float, Field(gt=1)] = 3

    @model_validator(mode="after")
    def _has_rungs(self) -> Self:
        if self.type == "promotion" and self.kind not in ("asha", "hyperband"):
            raise ValueError(
                f"type 'promotion' is for 'asha' and 'hyperband', but kind is '{self.kind}'"
            )
        return self


class WarmStart(Record):
    """What is known before the search: an earlier run, or a CSV with a column a parameter.

    `enqueue` tries its networks first; `tell` lets the sampler know its accuracies, and trains none
    of them but in the confirmation.
    """

    source: Path
    mode: Literal["enqueue", "tell"] = "enqueue"
    top: Positive | None = None  # only the best so many; None: all


class SearchSection(Record):
    space: str = "mbconv_small"
    resolution: Positive | None = None  # of the candidates' input; None: the space's own
    sampler: str = "cost_aware"  # a name of SAMPLERS or the import path of an Optuna sampler
    trials: Positive = 50
    epochs: Positive = 5
    metric: Literal["accuracy"] = "accuracy"
    cost: CostName = "flops"  # the objective is ACC * (COST/T)^w
    target: Annotated[FiniteFloat, Field(gt=0)] = 1e6  # T in the cost's unit, seconds of latency
    exponent: FiniteFloat = -0.07  # w
    min_flops: Annotated[FiniteFloat, Field(ge=0)] = 0.0  # candidates outside are never trained
    max_flops: Limit = float("inf")
    max_params: Limit = float("inf")
    max_activations: Limit = float("inf")
    max_latency: Limit = float("inf")  # seconds
    latency_model: Path | None = None  # a file of `scaler latency`; None: measured here
    latency: Conditions = Conditions(threads=1)  # of what is measured
    early_stopping: EarlyStopping | None = EarlyStopping()
    time_limit: Annotated[FiniteFloat, Field(gt=0)] | None = None  # seconds a trial; None: no limit

    @property
    def target_flops(self) -> float | None:
        """T where the cost is FLOPs; None elsewhere."""
        return self.target if self.cost == "flops" else None

    def replace(self, **changes: Any) -> Self:
        """A validated copy; `target_flops` sets cost and target, as in a file."""
        if "target_flops" in changes:
            changes = {"cost": "flops", "target": changes["target_flops"], **changes}
        return super().replace(**changes)

    @property
    def needs_latency(self) -> bool:
        """Whether a candidate's latency is asked for: by the objective, a limit, or a model."""
        limited = self.max_latency < float("inf")
        return self.cost == "latency" or limited or self.latency_model is not None

    @model_validator(mode="before")
    @classmethod
    def _target_of_the_cost(cls, data: Any) -> Any:
        """`target_flops: x` is short for `cost: flops, target: x`; other costs need a target."""
        if not isinstance(data, dict):
            return data
        section = dict(data)
        cost = str(section.get("cost", "flops"))
        if "target_flops" in section:
            target = section.pop("target_flops")
            if cost != "flops":
                raise ValueError(
                    f"`target_flops` is a target of cost flops, but got cost {cost!r}; "
                    f"write `target:` in {UNITS.get(cost, 'its unit')}"
                )
            if section.setdefault("target", target) != target:
                raise ValueError(
                    f"`target_flops` and `target` are one setting, but got "
                    f"(target_flops={target}, target={section['target']}); leave one out"
                )
        if cost in UNITS and cost != "flops" and "target" not in section:
            raise ValueError(f"cost {cost!r} needs a `target:`, in {UNITS[cost]}")
        return section

    @field_validator("metric", mode="before")
    @classmethod
    def _metric(cls, metric: object) -> object:
        if metric != "accuracy":
            raise ValueError(f"unknown metric {metric!r}; only 'accuracy' is built so far")
        return metric

    @model_validator(mode="after")
    def _one_latency(self) -> Self:
        if self.latency_model is not None and self.latency != Conditions(threads=1):
            raise ValueError(
                f"`latency_model` predicts and `latency` says how to measure, but got both "
                f"(latency_model={self.latency_model}); leave one out"
            )
        return self

    warm_start: WarmStart | None = None

    @model_validator(mode="after")
    def _window(self) -> Self:
        if not self.min_flops < self.max_flops:
            raise ValueError(
                f"`min_flops < max_flops` must hold, but got "
                f"(min_flops={self.min_flops:g}, max_flops={self.max_flops:g})"
            )
        return self


class ConfirmationSection(Record):
    """The search's best, trained again with new seeds before one of them is the baseline.

    In each round every network is trained `seeds` times; the better half, two at the least, goes on
    to the next round, whose trainings are twice as long.
    """

    top: Positive = 4  # networks in the first round; 1: no confirmation
    seeds: Annotated[int, Field(ge=1, le=1000)] = 2  # trainings of each in a round
    rounds: Annotated[int, Field(ge=1, le=8)] = 2
    epochs: Positive | None = None  # of the first round's trainings; None: search.epochs


class CoefficientsSection(Record):
    """The grid of alpha, beta, gamma, each from 1, alpha * beta^2 * gamma^2 near 2.

    `equal_flops` scales every direction to the same measured FLOPs; `phi` is the paper's rule, the
    same phi for all, whose FLOPs differ once layers and channels are rounded. Each is trained once,
    then the `leaders` with `seeds` new seeds.
    """

    rule: Literal["equal_flops", "phi"] = "equal_flops"
    step: Annotated[float, Field(ge=0.02, le=1)] = 0.1
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.1  # of the 2
    target_ratio: Annotated[float, Field(gt=1, le=100)] = 2.0  # equal_flops: over the baseline's
    flops_tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01  # equal_flops: of that target
    phi: Annotated[float, Field(gt=0, le=8)] = 1.0  # phi
    epochs: Positive = 5
    leaders: Positive = 3  # 1: the best of the first trainings is chosen as it is
    seeds: Annotated[int, Field(ge=1, le=1000)] = 3


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


class ShortTraining(Record):
    """A proxy: `epochs` of a schedule of its own on a share of the images, at a lower resolution.

    With `full_schedule` it is the longer training's first epochs, as early stopping sees them.
    """

    epochs: Positive
    data: Annotated[float, Field(gt=0, le=1)] = 1.0
    resolution: Annotated[float, Field(gt=0, le=1)] = 1.0
    full_schedule: bool = False

    @model_validator(mode="after")
    def _same_data_in_full(self) -> Self:
        if self.full_schedule and (self.data, self.resolution) != (1.0, 1.0):
            raise ValueError(
                f"with `full_schedule` data and resolution are the longer training's, but got "
                f"(data={self.data:g}, resolution={self.resolution:g}); leave them at 1"
            )
        return self


class ProxySection(Record):
    """How well short trainings rank networks of the space, against longer ones."""

    networks: Annotated[int, Field(ge=4)] = 20  # random ones within the search's limits
    epochs: Positive = 6  # of the longer training
    seeds: Annotated[int, Field(ge=2, le=100)] = 2  # longer trainings of each network
    trainings: tuple[ShortTraining, ...] = (
        ShortTraining(epochs=1, full_schedule=True),
        ShortTraining(epochs=2, full_schedule=True),
        ShortTraining(epochs=1),
        ShortTraining(epochs=2),
        ShortTraining(epochs=2, data=0.5),
        ShortTraining(epochs=2, resolution=0.5),
        ShortTraining(epochs=4, resolution=0.5),
    )
    correlation: Annotated[float, Field(gt=0, lt=1)] = 0.8  # wished: Spearman's rho

    @model_validator(mode="after")
    def _shorter(self) -> Self:
        for training in self.trainings:
            if training.full_schedule and training.epochs >= self.epochs:
                raise ValueError(
                    f"`full_schedule` must have fewer epochs than the longer training, but got "
                    f"(epochs={training.epochs}, of {self.epochs})"
                )
        return self


class ClusterSection(Record):
    """Where trials run. No address: an embedded Ray on this machine (see docs/cluster.md)."""

    address: str | None = None  # host:port of a cluster's head; `auto` on its nodes
    workers: Positive | None = None  # trials at a time; None: as many as fit
    cpus_per_trial: Annotated[FiniteFloat, Field(gt=0)] = 1
    gpus_per_trial: Annotated[FiniteFloat, Field(ge=0)] = 0  # 0.25: four trials share one
    wait: Annotated[FiniteFloat, Field(ge=0)] = 0  # seconds for a node that can take a trial
    dashboard_host: str | None = None  # of the embedded Ray; None: no dashboard
    # A database URL, as `postgresql+psycopg://user@host/scaler`; None: study.db in the run folder.
    storage: Annotated[str | None, Field(repr=False)] = None

    @field_validator("storage")
    @classmethod
    def _database_url(cls, storage: str | None) -> str | None:
        if storage is not None:
            from experiments.config.storage_url import masked

            masked(storage)
        return storage

    @field_serializer("storage", when_used="json")
    def _without_password(self, storage: str | None) -> str | None:
        from experiments.config.storage_url import masked

        return None if storage is None else masked(storage)

    @model_validator(mode="before")
    @classmethod
    def _one_driver(cls, data: Any) -> Any:
        """Earlier versions had `drivers: one` and `drivers: many`; now one command drives a run."""
        if not isinstance(data, dict) or "drivers" not in data:
            return data
        section = dict(data)
        if (drivers := section.pop("drivers")) != "one":
            raise ValueError(
                f"`drivers: {drivers}` is no longer there, as one command drives a run; remove the "
                f"line, and set `workers:` to train more networks at a time"
            )
        return section

    @field_validator("gpus_per_trial")
    @classmethod
    def _whole_gpus(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError(f"above 1 it must be a whole number of GPUs, but got {gpus:g}")
        return gpus


class TrackingSection(Record):
    """Where trials are shown as well; none by default (see docs/tracking.md)."""

    to: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    mlflow_uri: str | None = None  # None: MLFLOW_TRACKING_URI, or else mlflow.db in the run folder
    wandb_project: str | None = None  # None: the run's name


class SearchConfig(Record):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    task: Literal["classification"] = "classification"
    run: Path | None = None  # the run folder; None: runs/<name>
    data: DataConfig = DataConfig()
    search: SearchSection = SearchSection()
    confirmation: ConfirmationSection | None = ConfirmationSection()
    coefficients: CoefficientsSection = CoefficientsSection()
    family: FamilySection = FamilySection()
    comparison: ComparisonSection = ComparisonSection()
    proxy: ProxySection = ProxySection()
    train: TrainConfig = TrainConfig()
    cluster: ClusterSection = ClusterSection()
    tracking: TrackingSection = TrackingSection()

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
