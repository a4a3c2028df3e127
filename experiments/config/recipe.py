"""The settings of a training: a recipe's name, or a file, and what differs from it."""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, model_validator

from experiments.config.augmentation import Augmentation
from search_spaces.records import InputError, Record, read_mapping, suggest

Factor = Annotated[float, Field(gt=0, lt=1)]
Epochs = Annotated[float, Field(gt=0)]


class Cosine(Record):
    """Half a cosine down to 0 at the last step (arXiv:1608.03983)."""

    kind: Literal["cosine"] = "cosine"


class Exponential(Record):
    """Times `factor` every `epochs`, in steps, counted from the first step of training."""

    kind: Literal["exponential"] = "exponential"
    factor: Factor = 0.97
    epochs: Epochs = 2.4


class Steps(Record):
    """Times `factor` after each of these shares of the epochs."""

    kind: Literal["steps"] = "steps"
    at: tuple[Factor, ...] = (1 / 3, 2 / 3)
    factor: Factor = 0.1


class Plateau(Record):
    """Times `factor` when the validation accuracy has not risen for `patience` epochs.

    At most `times` times, as VGG's was (arXiv:1409.1556, section 3.1).
    """

    kind: Literal["plateau"] = "plateau"
    factor: Factor = 0.1
    patience: Annotated[int, Field(ge=1)] = 5
    times: Annotated[int, Field(ge=1)] = 3


Schedule = Annotated[Cosine | Exponential | Steps | Plateau, Field(discriminator="kind")]

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
AboveZero = Annotated[FiniteFloat, Field(gt=0)]


class TrainConfig(Record):
    """How a network is trained. `recipe: NAME` starts from a shipped recipe or a file of one.

    What else is given goes on top of the recipe. Without one these are the settings of `proxy`,
    the search's: SGD with Nesterov momentum, a linear warm-up and a cosine.
    """

    name: str = "proxy"  # of the recipe
    epochs: Positive | None = None  # of `scaler train`; the sections of a run have their own
    batch_size: Annotated[int, Field(ge=2)] = 64  # batch norm needs two
    accumulation: Positive = 1  # parts that a batch is cut into, whose gradients add up

    optimizer: Literal["sgd", "rmsprop", "adamw", "muon"] = "sgd"
    learning_rate: AboveZero = 0.1
    learning_rate_batch: Positive | None = None  # for which the rate holds; scaled to batch_size
    momentum: Share = 0.9  # of sgd, rmsprop and muon; of adamw beta 1
    nesterov: bool = True  # of sgd and muon
    rms_decay: Share = 0.9  # of rmsprop; of adamw beta 2 is 0.999
    epsilon: AboveZero = 1e-3  # of rmsprop, added under the root as in TensorFlow
    weight_decay: Annotated[FiniteFloat, Field(ge=0)] = 5e-4
    decayed: Literal["kernels", "all_but_norm", "all"] = "kernels"  # which weights decay
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0  # of the rate, stage by stage downwards
    clip_norm: AboveZero | None = None  # of the whole gradient

    warmup_epochs: Annotated[FiniteFloat, Field(ge=0)] = 1.0
    schedule: Schedule = Cosine()

    loss: Literal["cross_entropy", "focal", "mse"] = "cross_entropy"
    label_smoothing: Share = 0.1
    focal_gamma: Annotated[FiniteFloat, Field(ge=0)] = 2.0
    ema_decay: Share | None = None  # of an average of the weights, which is then what is evaluated
    batch_norm_momentum: Annotated[float, Field(gt=0, le=1)] | None = None  # torch's; None: as is

    augmentation: Augmentation | None = None  # the data's own takes its place

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    layout: Literal["auto", "channels_last", "contiguous"] = "auto"
    compiled: Literal["auto", "never", "always"] = "auto"
    gradient_norms: bool = False  # of each layer's weights, at the first step of every epoch

    @model_validator(mode="before")
    @classmethod
    def _upon_a_recipe(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "recipe" not in data:
            return data
        given = dict(data)
        return {**read_recipe(str(given.pop("recipe"))), **given}

    @property
    def peak_rate(self) -> float:
        """The learning rate after the warm-up, for this batch size."""
        if self.learning_rate_batch is None:
            return self.learning_rate
        return self.learning_rate * self.batch_size / self.learning_rate_batch


SETTINGS_OF_THE_MACHINE = {"device", "precision", "layout", "compiled", "gradient_norms", "name"}


def list_recipes() -> list[str]:
    return sorted(_shipped())


def load_recipe(name_or_path: str | Path) -> TrainConfig:
    """A shipped recipe by name (`efficientnet`) or any by path. Raises InputError."""
    return TrainConfig.parse({"recipe": str(name_or_path)}, source=f"recipe '{name_or_path}'")


def read_recipe(name_or_path: str) -> dict[str, Any]:
    """The settings in a recipe's file. Raises InputError where there is none."""
    shipped = _shipped()
    path = shipped.get(name_or_path, Path(name_or_path))
    if not path.is_file():
        hint = suggest(name_or_path, shipped)
        raise InputError(f"no recipe '{name_or_path}', neither a file nor a name; {hint}")
    settings = read_mapping(path)
    if "recipe" in settings:
        raise InputError(f"recipe '{name_or_path}' builds on a recipe; write its settings out")
    return {"name": path.stem, **settings}


def _shipped() -> dict[str, Path]:
    folder = Path(str(resources.files("experiments"))) / "recipes"
    return {path.stem: path for path in folder.glob("*.yaml")}
