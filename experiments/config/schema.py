"""The one schema of a run, a section for each of its parts.

`scaler run` and `scaler search` read the same file; a run folder keeps it as used.
"""

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from experiments.config.recipe import Augmentation, TrainConfig
from experiments.config.search_section import SearchSection
from experiments.config.sections import (
    ClusterSection,
    CoefficientsSection,
    ComparisonSection,
    ConfirmationSection,
    FamilySection,
    Positive,
    ProxySection,
    TrackingSection,
)
from search_spaces.records import InputError, Record, read_mapping, suggest

if TYPE_CHECKING:  # it imports torch
    from search_spaces.heads import Task

Fraction = Annotated[float, Field(gt=0, lt=1)]
Fit = Literal["crop", "stretch", "pad", "patches"]


class PartNames(Record):
    """What the parts are called: folders below `source`, or values of a table's column `split`."""

    train: str
    """The training images."""
    validation: str | None = None
    """What choices are made on. Without it: cut from train."""
    test: str | None = None
    """What is looked at once, at the end. Without it: cut from train."""

    def named(self) -> dict[str, str]:
        """{part: its name}, of those that are given."""
        return {part: name for part, name in dict(self).items() if name is not None}

    @model_validator(mode="after")
    def _different(self) -> Self:
        names = self.named()
        if len(set(names.values())) < len(names):
            raise ValueError(f"each part must have its own name, but got {names}")
        return self


class DataConfig(Record):
    """What is trained on (docs/data.md): `source` is a name, a folder or a table.

    The names are `digits`, `cifar10`, `cifar100`, `fashion_mnist` and `mnist`. A folder holds
    `train/<class>/*`, and if it likes `validation/` and `test/`, under any of their usual names; or
    the class folders themselves. A table is a CSV or Parquet file with the columns `path`, `label`,
    and if it likes `split`. All are looked for as given and then under the variable SCALER_DATA.
    """

    source: str = "digits"
    """A data set's name, a folder of images, or a CSV or Parquet table."""
    task: Literal["auto", "classification", "segmentation", "detection"] = "auto"
    """What is told of an image: its class, the class of each pixel, or boxes. `auto` takes
    segmentation where `images/` lies beside `masks/`, detection where files of boxes lie beside
    images (COCO JSON, Pascal VOC XML, YOLO txt), and says so.
    """
    layout: Literal["auto", "parts", "classes"] = "auto"
    """What the folders of an image folder are: `parts` with class folders in them, or the
    `classes`. `auto` tells by their names, and refuses what they leave open.
    """
    parts: PartNames | None = None
    """What the parts are called, where their names do not tell. All else is left out."""
    download: bool = False
    """Download a data set by name where it is not found."""
    image_size: Positive | None = None
    """Side in pixels at which images are stored. Without it: the images' own size."""
    max_pixels: Positive = 178_956_970
    """Image files with more pixels are refused. The default is Pillow's own limit."""
    fit: Literal["auto"] | Fit = "auto"
    """How an image that is not square becomes one: `crop` keeps the centre square, `stretch` the
    whole image in another shape, `pad` (or `letterbox`) the whole image with black at two sides.
    `auto` pads images with boxes, and crops others. `patches`, for masks, pads to `image_size`, and
    the network sees pieces of its own resolution: in training a random one of each image an epoch,
    elsewhere overlapping windows that cover the image.
    """
    validation_fraction: Fraction = 0.2
    """Share of the training part that is used for validation, where the data give none."""
    test_fraction: Fraction = 0.2
    """Share that is kept for the test, where the data give none."""
    train_limit: Positive | None = None
    """The most training images. A stratified sample is taken."""
    validation_limit: Positive | None = None
    """The most validation images."""
    flip: bool = True
    """Mirror images at random. Turn it off for digits and text."""
    crop_padding: Annotated[int, Field(ge=0)] = 0
    """Pixels of zeros around the image before a random crop."""
    placement: Literal["auto", "device", "stream"] = "auto"
    """`device` decodes the images once, onto the training device; `stream` reads them again in each
    epoch. `auto` chooses by size.
    """
    augmentation: Augmentation | None = None
    """How training images are varied, in place of the recipe's augmentation."""

    @field_validator("fit", mode="before")
    @classmethod
    def _letterbox(cls, fit: object) -> object:
        return "pad" if fit == "letterbox" else fit

    @model_validator(mode="after")
    def _parts_have_names(self) -> Self:
        if self.layout == "classes" and self.parts is not None:
            raise ValueError("`layout: classes` has no parts; remove it, or remove `parts`")
        return self

    def fitted(self, task: "Task") -> Fit:
        """`fit`, or what `auto` is for data of this task. InputError for patches without masks."""
        if self.fit == "patches" and task != "segmentation":
            raise InputError(
                f"data.fit: patches is for images with masks, but '{self.source}' is for {task}; "
                f"use crop, stretch or pad"
            )
        if self.fit == "auto":
            return "pad" if task == "detection" else "crop"
        return self.fit

    def varied(self, recipe: Augmentation | None = None) -> Augmentation:
        """How training images are varied: as `augmentation` says, or else the recipe.

        `flip: false` holds whatever they say, `crop_padding` where they name none.
        """
        chosen = self.augmentation or recipe or Augmentation()
        padding = chosen.crop_padding or self.crop_padding
        return chosen.replace(flip=chosen.flip and self.flip, crop_padding=padding)


DELIVERY = ("data.download", "data.placement")  # how images arrive, not which: may change


class SearchConfig(Record):
    """A whole config file. Each section is one part of a run; only `name` is required."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the run."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of everything random. The same seed gives the same trials."""
    task: Literal["classification"] = "classification"
    """Of configs of before; `data.task` says what the networks are trained for."""
    run: Path | None = None
    """The run folder. Without it: runs/<name>."""
    data: DataConfig = DataConfig()
    """What is trained on."""
    search: SearchSection = SearchSection()
    """The search for a baseline."""
    confirmation: ConfirmationSection | None = ConfirmationSection()
    """The search's best are trained again. `null` turns it off."""
    coefficients: CoefficientsSection = CoefficientsSection()
    """The grid search of alpha, beta and gamma."""
    family: FamilySection = FamilySection()
    """The scaled members."""
    comparison: ComparisonSection = ComparisonSection()
    """Networks that `scaler compare` trains side by side."""
    proxy: ProxySection = ProxySection()
    """What `scaler proxy` tries."""
    train: TrainConfig = TrainConfig()
    """How networks are trained: `recipe: NAME`, and settings that differ from the recipe."""
    cluster: ClusterSection = ClusterSection()
    """Where trials run."""
    tracking: TrackingSection = TrackingSection()
    """Where trials are shown as well."""

    @field_validator("task", mode="before")
    @classmethod
    def _task(cls, task: object) -> object:
        if task != "classification":
            raise ValueError(
                f"the task is named by `data.task` (auto, classification, segmentation, "
                f"detection), but got "
                f"{task!r} here; move it there"
            )
        return task

    @property
    def run_folder(self) -> Path:
        """Where the run stands on the disk: `run`, or else a folder of the run's name."""
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
        return cls.parse(read_mapping(path, wanted="a config"), source=str(name_or_path))


def list_configs() -> list[str]:
    """The names of the shipped configs, sorted."""
    return [path.stem for path in _shipped_configs()]


def _shipped_configs() -> list[Path]:
    folder = Path(str(resources.files("experiments"))) / "configs"
    return sorted(folder.glob("*.yaml"))
