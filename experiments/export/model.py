"""What is exported: a network with its weights, and what is done to its images before it.

It comes from an architecture, a checkpoint or a folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from experiments.config.schema import Fit
from experiments.data.decoding import to_square
from experiments.data.fitting import fit_arrays, fit_square
from experiments.data.images import ChannelStatistics
from experiments.training.augmentation import Preparation, normalise, resize_images, scale_and_shift
from experiments.training.checkpoint import load_weights, read_metadata
from experiments.training.metrics import Metric, metric_of
from search_spaces.architecture import Architecture
from search_spaces.foreign_models import Source
from search_spaces.heads import Task
from search_spaces.network import Network, build_network
from search_spaces.records import InputError, Record
from search_spaces.reference import load_architecture
from search_spaces.weights import foreign_network, origin_of, read_weights

# Of ImageNet's training images, as torchvision and timm normalise.
IMAGENET = ChannelStatistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
Colour = tuple[int, int, int]  # red, green, blue from 0 to 255
# Of classes whose data name no colours: hues of Okabe and Ito, then steps around the circle.
_COLOURS = (
    (0, 103, 179),
    (201, 106, 0),
    (0, 128, 92),
    (194, 51, 31),
    (160, 72, 155),
    (240, 228, 66),
)


def check_task(architecture: Architecture, *tasks: Task, what: str) -> None:
    """Raise InputError for a network of another task than these; `what` is for them alone."""
    if architecture.task not in tasks:
        raise InputError(
            f"{what} is for {' and '.join(tasks)}, but '{architecture.name}' is for "
            f"{architecture.task} (its head is {architecture.head.kind}); leave it out: the "
            f"folder of `scaler export` loads with experiments.export.load_exported"
        )


class Preprocessing(Record):
    """What the training did to its validation and test images, from any image to the input.

    `fit` makes a square of `image_size` pixels; that is normalised with `mean` and `std` (of pixels
    from 0 to 1) and resized to `size`. Called with uint8 images (N, C, H, W) or with an image of
    Pillow's (N is 1) it gives float32 (N, C, size, size). With `fit` patches the square keeps its
    size, where it is the larger one: the network has seen pieces of `size` pixels of it.
    """

    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Literal["bilinear"] = "bilinear"  # antialiased where it shrinks
    measured: bool = True  # False: mean and std are conventional, not the training data's
    fit: Fit = "crop"
    image_size: int | None = None  # side of the stored images; None: as large as what `fit` takes

    def __call__(self, images: Tensor | Image.Image) -> Tensor:
        squares = self._square(images)
        statistics = ChannelStatistics(self.mean, self.std)
        size = input_side(squares.shape[-1], size=self.size, fit=self.fit)
        return Preparation.of(statistics, resolution=size, device=squares.device)(squares)

    def _square(self, images: Tensor | Image.Image) -> Tensor:
        """uint8 (N, C, S, S)."""
        if isinstance(images, Tensor):
            side = stored_side(tuple(images.shape[2:]), image_size=self.image_size, fit=self.fit)
            if images.shape[2:] == (side, side):
                return images
            arrays = fit_arrays(images.cpu().numpy(), side, fit=self.fit)
            return torch.from_numpy(arrays).to(images.device)
        side = stored_side(images.size, image_size=self.image_size, fit=self.fit)
        pixels = to_square(images, side, fit=self.fit)  # (S, S, 3)
        if self.channels == 1:
            pixels = np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]


def prepare(image: Any, settings: dict[str, Any]) -> Tensor:
    """A Pillow image without transparency as the network's input (1, C, size, size).

    `settings` are an export's preprocessing.json. This is what `Preprocessing` does, for the file
    that `scaler show --code` prints.
    """
    from PIL import ImageOps  # here, because the rest of that file needs torch alone

    mode = "L" if len(settings["mean"]) == 1 else "RGB"
    image = ImageOps.exif_transpose(image).convert(mode)  # upright, as image viewers show it
    fit = settings.get("fit", "crop")
    side = stored_side(image.size, image_size=settings.get("image_size"), fit=fit)
    square = fit_square(image, side, fit=fit)
    pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8)
    pixels = pixels.view(1, side, side, -1).permute(0, 3, 1, 2)  # (1, C, S, S)
    scale, shift = scale_and_shift(settings["mean"], settings["std"])
    size = input_side(side, size=settings["size"], fit=fit)
    return resize_images(normalise(pixels, scale=scale, shift=shift), size)


def stored_side(shape: tuple[int, ...], *, image_size: int | None, fit: Fit) -> int:
    """Side of the square that an image of `shape` becomes before it is resized to the input."""
    return image_size or (max(shape) if fit in ("pad", "patches") else min(shape))


def input_side(side: int, *, size: int, fit: Fit) -> int:
    """Side of what the network is given of a square of `side` pixels; see `Preprocessing`."""
    return max(side, size) if fit == "patches" else size


@torch.no_grad()  # in inference mode torchvision's anchors would be lost to a later training step
def output_of(model: "Shown", image: Image.Image) -> Any:
    """What the network gives of one RGB image, on the network's device: a batch of one."""
    device = next(model.network.parameters()).device
    return model.network(model.preprocessing(image).to(device))


def conventional(*, size: int, channels: int) -> Preprocessing:
    """For weights whose data are not known: ImageNet's, and one half for other than 3 channels."""
    half = (0.5,) * channels
    statistics = IMAGENET if channels == 3 else ChannelStatistics(half, half)
    return Preprocessing(
        size=size, channels=channels, mean=statistics.mean, std=statistics.std, measured=False
    )


def class_colours(colours: Sequence[Colour], count: int) -> list[Colour]:
    """A colour a class: those of the data, or else colours of our own."""
    if len(colours) == count:
        return list(colours)
    from colorsys import hsv_to_rgb

    more = range(max(0, count - len(_COLOURS)))
    turns = [hsv_to_rgb((n * 0.618) % 1, 0.6, 0.85) for n in more]  # far from each other
    made = [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in turns]
    return [*_COLOURS, *made][:count]


class Shown(Protocol):
    """A network to which images may be shown."""

    @property
    def network(self) -> Network:
        """In eval mode."""

    @property
    def preprocessing(self) -> Preprocessing:
        """What its images need."""


@dataclass(frozen=True, eq=False)
class Model:
    """A network in eval mode, what its images need, and how it came about."""

    network: Network
    architecture: Architecture
    preprocessing: Preprocessing
    classes: tuple[str, ...]  # empty where they are not known by name
    num_classes: int
    training: dict[str, Any]  # the checkpoint's metadata; empty for an untrained network
    origin: str  # one sentence

    @property
    def metric(self) -> Metric:
        """What the training judged it by; the task's own where nobody says."""
        return metric_of(self.training.get("metric", "auto"), self.architecture.task)

    @property
    def colours(self) -> tuple[Colour, ...]:
        """Of the classes, where the training's masks had some."""
        return tuple((r, g, b) for r, g, b in self.training.get("colours", ()))

    @property
    def score(self) -> float | None:
        """The least score of boxes to tell, where the training chose one."""
        return self.training.get("score")


def untrained_model(
    name_or_path: str,
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    seed: int = 0,
    weights: Path | None = None,
    source: Source | None = None,
    source_model: str | None = None,
) -> Model:
    """An architecture as initialised from `seed`, or with the `weights` of a library's file.

    `source` and `source_model` name the library and its model, which a safetensors file needs.
    """
    architecture = load_architecture(name_or_path)
    torch.manual_seed(seed)
    if weights is None:
        network = build_network(architecture, num_classes=num_classes, in_channels=in_channels)
        origin = f"Untrained: as initialised from seed {seed}."
    else:
        state = read_weights(weights, source=source, model=source_model)
        network, told = foreign_network(
            architecture,
            state,
            num_classes=num_classes,
            in_channels=in_channels,
            origin=origin_of(source, source_model),
        )
        origin = (
            f"Its weights were read from `{weights.name}`, {told}; "
            f"how they were trained is not known."
        )
    return Model(
        network=network.eval(),
        architecture=network.architecture,
        preprocessing=conventional(size=architecture.resolution, channels=in_channels),
        classes=(),
        num_classes=num_classes,
        training={},
        origin=origin,
    )


def checkpoint_model(path: Path, *, architecture: str | None = None) -> Model:
    """The network of a run's checkpoint, with what its metadata say.

    Raises InputError for a file that is no checkpoint of ours, or of another network than
    `architecture`, a name or a file, where one is given.
    """
    metadata = read_metadata(path)
    missing = {"architecture", "classes", "in_channels"} - metadata.keys()
    if missing:
        raise InputError(
            f"'{path}' does not say its {', '.join(sorted(missing))}; name a checkpoint that "
            f"`scaler run` wrote, or give the weights to an architecture: "
            f"scaler export ARCH --init-from {path}"
        )
    table = Architecture.parse(metadata["architecture"], source=str(path))
    if architecture is not None:
        table = load_architecture(architecture)
    classes, channels = tuple(metadata["classes"]), int(metadata["in_channels"])
    network = build_network(table, num_classes=len(classes), in_channels=channels)
    load_weights(path, network)
    preprocessing = conventional(size=table.resolution, channels=channels)
    if "mean" in metadata:
        preprocessing = preprocessing.replace(
            mean=metadata["mean"],
            std=metadata["std"],
            measured=True,
            fit=metadata.get("fit", "crop"),  # the only one that earlier versions knew
            image_size=metadata.get("image_size"),
        )
    return Model(
        network=network.eval(),
        architecture=table,
        preprocessing=preprocessing,
        classes=classes,
        num_classes=len(classes),
        training=metadata,
        origin=_told(metadata),
    )


def weights_in(folder: Path) -> Path:
    """The weights that a folder stands for: a training's best epoch, or a run's baseline.

    The baseline's are those of the run's family, or those of `scaler train RUN` beside it. Raises
    InputError where there are none, with the command that makes them.
    """
    best = folder / "checkpoints" / "best.safetensors"
    if best.is_file():
        return best
    found = sorted(folder.glob("checkpoints/*/weights.safetensors"))
    if not found:
        way = "name a checkpoint"
        if (folder / "baseline.yaml").is_file():
            if (trained := _trained_beside(folder)) is not None:
                return trained
            way = f"`scaler train {folder}` trains its baseline"
        raise InputError(f"'{folder}' is a folder with no weights yet; {way}")
    baseline = load_architecture(folder / "baseline.yaml").key
    members = {path: folder / "family" / f"{path.parent.name}.yaml" for path in found}
    for path, member in members.items():
        if member.is_file() and load_architecture(member).key == baseline:
            return path
    raise InputError(f"'{folder}' has several networks with weights; name one, as {found[0]}")


def _trained_beside(run: Path) -> Path | None:
    """The best weights that `scaler train RUN` gave its baseline, in its default folder."""
    baseline = load_architecture(run / "baseline.yaml")
    for folder in (run.parent, Path("runs")):
        path = folder / f"train-{baseline.name}" / "checkpoints" / "best.safetensors"
        if path.is_file():
            given = read_metadata(path).get("architecture")
            if Architecture.parse(given, source=str(path)).key == baseline.key:
                return path
    return None


def _told(metadata: dict[str, Any]) -> str:
    """On what data and how long it was trained."""
    epochs, epoch = metadata.get("epochs"), metadata.get("epoch")
    length = f"for {epochs} epochs" if epochs else "for a number of epochs that is not recorded"
    if epochs and epoch and epoch != epochs:  # the best one, or of a training that was stopped
        length = f"to epoch {epoch} of {epochs}"
    fingerprint = f"fingerprint `{metadata.get('data', 'not recorded')}`"
    name = metadata.get("data_name")
    data = f"`{name}` ({fingerprint})" if name else f"data with the {fingerprint}"
    images = f"{metadata['train_images']:,} images of " if "train_images" in metadata else ""
    seed = f", seed {metadata['seed']}" if "seed" in metadata else ""
    return f"Trained {length} on {images}{data}{seed}."
