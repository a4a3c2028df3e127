"""The settings of a training: a recipe's name, or a file, and what differs from it."""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from search_spaces.records import InputError, KeyMistakeError, Record, read_mapping, suggest

MetricName = Literal[
    "auto",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "top5",
    "dice",
    "miou",
    "pixel_accuracy",
    "map50",
    "map",
]
Strength = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class RandAugment(Record):
    """So many operations an image, drawn from torchvision's fourteen (arXiv:1909.13719)."""

    count: Annotated[int, Field(ge=1, le=8)] = 2
    """Operations for each image."""
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """Strength of the operations, of at most 30."""


class Augmentation(Record):
    """Each image's own draw, in this order, on the training device. Off unless set, but `flip`."""

    random_resized_crop: Annotated[float, Field(gt=0, le=1)] | None = None
    """The least share of the area that a random crop keeps. The crop has a ratio between 3/4 and
    4/3 and is resized to the whole image. Off unless set.
    """
    flip: bool = True
    """Mirror half of the images."""
    crop_padding: Annotated[int, Field(ge=0)] = 0
    """Pixels of zeros around the image before a random crop."""
    translate: Share = 0.0
    """The farthest move each way, as a share of the side. Zeros come in."""
    brightness: Strength = 0.0
    """Brightness is multiplied by a factor from 1 - x to 1 + x."""
    contrast: Strength = 0.0
    """The same around the image's mean grey."""
    saturation: Strength = 0.0
    """The same around each pixel's grey. Grey images do not change."""
    randaugment: RandAugment | None = None
    """Random operations of RandAugment. Off unless set."""
    cutout: Share = 0.0
    """Side of a black square, as a share of the image's (arXiv:1708.04552)."""
    mixup: Annotated[float, Field(ge=0, le=10)] = 0.0
    """The alpha of Beta(alpha, alpha), with which two images are mixed (arXiv:1710.09412)."""
    cutmix: Annotated[float, Field(ge=0, le=10)] = 0.0
    """The alpha with which a part is cut into another image (arXiv:1905.04899). With `mixup` too,
    each batch gets one of them.
    """

    @property
    def mixes(self) -> bool:
        """Whether targets become shares of two classes."""
        return self.mixup > 0 or self.cutmix > 0


Factor = Annotated[float, Field(gt=0, lt=1)]
Epochs = Annotated[float, Field(gt=0)]


class Cosine(Record):
    """Half a cosine down to 0 at the last step (arXiv:1608.03983)."""

    kind: Literal["cosine"] = "cosine"
    """The kind of schedule."""


class Exponential(Record):
    """Times `factor` every `epochs`, in steps, counted from the first step of training."""

    kind: Literal["exponential"] = "exponential"
    """The kind of schedule."""
    factor: Factor = 0.97
    """Factor of each fall."""
    epochs: Epochs = 2.4
    """Epochs between two falls."""


class Steps(Record):
    """Times `factor` after each of these shares of the epochs."""

    kind: Literal["steps"] = "steps"
    """The kind of schedule."""
    at: tuple[Factor, ...] = (1 / 3, 2 / 3)
    """When it falls, as shares of the epochs."""
    factor: Factor = 0.1
    """Factor of each fall."""


class Plateau(Record):
    """Times `factor` when the validation accuracy has not risen for `patience` epochs.

    At most `times` times, as VGG's was (arXiv:1409.1556, section 3.1).
    """

    kind: Literal["plateau"] = "plateau"
    """The kind of schedule."""
    factor: Factor = 0.1
    """Factor of each fall."""
    patience: Annotated[int, Field(ge=1)] = 5
    """Epochs without a rise of the validation accuracy before it falls."""
    times: Annotated[int, Field(ge=1)] = 3
    """The most falls."""


Schedule = Annotated[Cosine | Exponential | Steps | Plateau, Field(discriminator="kind")]

Positive = Annotated[int, Field(ge=1)]
AboveZero = Annotated[FiniteFloat, Field(gt=0)]


class TrainConfig(Record):
    """How a network is trained. `recipe: NAME` starts from a shipped recipe or a file of one.

    What else is given goes on top of the recipe. Without one these are the settings of `proxy`,
    the search's: SGD with Nesterov momentum, a linear warm-up and a cosine.
    """

    name: str = "proxy"
    """Name of the recipe, for tables."""
    epochs: Positive | None = None
    """Epochs of `scaler train`. The sections of a run have their own."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Images in a batch. Batch norm needs at least two."""
    accumulation: Positive = 1
    """Parts that a batch is cut into to save memory. Their gradients add up."""

    optimizer: Literal["sgd", "rmsprop", "adamw", "muon"] = "sgd"
    """The optimizer."""
    learning_rate: AboveZero = 0.1
    """The learning rate after the warm-up."""
    learning_rate_batch: Positive | None = None
    """The batch size that `learning_rate` is meant for. The rate is scaled to `batch_size`."""
    momentum: Share = 0.9
    """Momentum of sgd, rmsprop and muon; beta 1 of adamw."""
    nesterov: bool = True
    """Nesterov's form of momentum, for sgd and muon."""
    rms_decay: Share = 0.9
    """Decay of rmsprop's average of squares. Beta 2 of adamw is 0.999."""
    epsilon: AboveZero = 1e-3
    """The small number of rmsprop. It is added under the root, as in TensorFlow."""
    weight_decay: Annotated[FiniteFloat, Field(ge=0)] = 5e-4
    """Weight decay."""
    decayed: Literal["kernels", "all_but_norm", "all"] = "kernels"
    """Which parameters decay."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor of the learning rate from one stage down to the one before it."""
    clip_norm: AboveZero | None = None
    """The largest norm of the whole gradient. Without it: no limit."""

    warmup_epochs: Annotated[FiniteFloat, Field(ge=0)] = 1.0
    """Epochs of a linear warm-up of the learning rate."""
    schedule: Schedule = Cosine()
    """How the learning rate falls after the warm-up."""

    loss: Literal["cross_entropy", "focal", "mse", "dice", "cross_entropy_dice"] = "cross_entropy"
    """The loss. `dice` and `cross_entropy_dice`, the sum of both, are for masks. A head that finds
    boxes has its own loss; leave this out there.
    """
    class_weights: Literal["none", "inverse", "median_frequency"] = "none"
    """What a class counts in cross-entropy: all the same, the inverse of its share of the training
    images or pixels, or the median share over its own (arXiv:1411.4734).
    """
    metric: MetricName = "auto"
    """What is measured on the validation part, and searched for: `auto` is accuracy, for masks
    Dice, the mean over classes of the whole part, for boxes mAP50, the mean over classes of the
    average precision at an IoU of 0.5; `map` is the mean of IoUs from 0.5 to 0.95.
    """
    label_smoothing: Share = 0.1
    """Share of a label that is spread over all classes."""
    focal_gamma: Annotated[FiniteFloat, Field(ge=0)] = 2.0
    """Exponent of the focal loss (arXiv:1708.02002)."""
    ema_decay: Share | None = None
    """Decay of an average of the weights, which is then evaluated in their place."""
    batch_norm_momentum: Annotated[float, Field(gt=0, le=1)] | None = None
    """Momentum of batch norm, as torch counts it. Without it: the architecture's."""

    augmentation: Augmentation | None = None
    """How training images are varied. The data section's takes its place."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU where there is one."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the computation. `auto` takes what the device does best."""
    layout: Literal["auto", "channels_last", "contiguous"] = "auto"
    """Order of the values in memory. `auto` takes what the device does best."""
    compiled: Literal["auto", "never", "always"] = "auto"
    """Whether torch.compile is used. `auto` uses it where it pays."""
    deterministic: bool = False
    """Whether a GPU must give the same bits for the same seed. It is slower then, and refuses
    layers that cannot do so. A CPU does so in any case.
    """
    gradient_norms: bool = False
    """Record the gradient norm of each layer's weights, at the first step of each epoch."""

    @model_validator(mode="before")
    @classmethod
    def _upon_a_recipe(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "recipe" not in data:
            return data
        given = dict(data)
        try:
            return {**read_recipe(str(given.pop("recipe"))), **given}
        except InputError as error:
            raise KeyMistakeError(str(error), key="recipe") from None

    @model_validator(mode="after")
    def _weights_have_a_loss(self) -> Self:
        if self.class_weights != "none" and not self.loss.startswith("cross_entropy"):
            raise ValueError(
                f"class_weights: {self.class_weights} is for the losses cross_entropy and "
                f"cross_entropy_dice, but the loss is {self.loss}; change one of them"
            )
        return self

    @property
    def peak_rate(self) -> float:
        """The learning rate after the warm-up, for this batch size."""
        if self.learning_rate_batch is None:
            return self.learning_rate
        return self.learning_rate * self.batch_size / self.learning_rate_batch


SETTINGS_OF_THE_MACHINE = {
    *("device", "precision", "layout", "compiled", "deterministic"),
    *("gradient_norms", "name"),
}


def list_recipes() -> list[str]:
    """The names that `load_recipe` knows, sorted."""
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
    settings = read_mapping(path, wanted="a recipe")
    if "recipe" in settings:
        raise InputError(f"recipe '{name_or_path}' builds on a recipe; write its settings out")
    return {"name": path.stem, **settings}


def _shipped() -> dict[str, Path]:
    folder = Path(str(resources.files("experiments"))) / "recipes"
    return {path.stem: path for path in folder.glob("*.yaml")}
