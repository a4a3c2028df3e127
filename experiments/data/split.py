"""Cutting labelled images into training, validation and test parts, class by class."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from experiments.config.messages import warn
from experiments.config.schema import DataConfig
from experiments.data.images import ImageData, Part, Split, fingerprint
from search_spaces.records import InputError

_TEST_SEED = 0  # the test part is the same for every seed, so that none chooses on another's


@dataclass(frozen=True, eq=False)
class UndividedData:
    """What a source gives; the parts that it does not give are cut from `train`."""

    name: str
    classes: tuple[str, ...]
    train: Part
    validation: Part | None = None
    test: Part | None = None
    colours: tuple[tuple[int, int, int], ...] = ()  # of the classes, where masks are in colours


def divide(source: UndividedData, config: DataConfig, *, seed: int) -> ImageData:
    """Cut the missing parts: first test, then validation, then the limits' samples.

    Each cut keeps the classes' proportions and leaves every class at least one image on both
    sides. `seed` moves the validation part and the limits' samples, never the test part. Raises
    InputError where a class has too few images, or a limit is below the classes' number.
    """
    _check_enough(source)
    train, validation, test = source.train, source.validation, source.test
    if test is None:
        random = np.random.RandomState(_TEST_SEED)
        train, test = _cut(train, config.test_fraction, source, leave=2, random=random)
    # RandomState, because its stream is frozen (NumPy's NEP 19); a new Generator's is not.
    random = np.random.RandomState(seed)
    if validation is None:
        train, validation = _cut(train, config.validation_fraction, source, leave=1, random=random)
    train = _limited(train, config.train_limit, "train_limit", source, random)
    validation = _limited(validation, config.validation_limit, "validation_limit", source, random)
    return ImageData(
        name=source.name,
        classes=source.classes,
        train=train,
        validation=validation,
        test=test,
        fingerprint=fingerprint(source.classes, train, validation, test),
        colours=source.colours,
        patches=config.fit == "patches",
    )


def _limited(
    split: Part, limit: int | None, name: str, source: UndividedData, random: np.random.RandomState
) -> Part:
    if limit is None or limit >= len(split):
        return split
    if limit < len(source.classes):
        raise InputError(
            f"data.{name} must be at least the number of classes "
            f"({len(source.classes)}), but is {limit}"
        )
    return split.take(stratified_sample(split.labels, limit, leave=0, random=random))


def stratified_sample(
    labels: np.ndarray, count: int, *, leave: int, random: np.random.RandomState
) -> np.ndarray:
    """Sorted indices of `count` images in the classes' proportions, at least one of each class.

    At least `leave` images of each class stay out. Labels are 0 to K-1, each with more than
    `leave` images; `count` is brought into the range that this allows.
    """
    sizes = np.bincount(labels)
    most = sizes - leave
    assert (most >= 1).all(), "checked before any cut"
    count = int(np.clip(count, len(sizes), most.sum()))
    ideal = sizes * (count / len(labels))
    quota = np.clip(np.floor(ideal).astype(np.int64), 1, most)
    while (short := count - quota.sum()) != 0:  # largest remainders, at most a step a class
        step = 1 if short > 0 else -1
        movable = quota < most if short > 0 else quota > 1
        quota[np.argmax(np.where(movable, step * (ideal - quota), -np.inf))] += step
    chosen = [
        random.permutation(np.flatnonzero(labels == label))[:number]
        for label, number in enumerate(quota)
    ]
    return np.sort(np.concatenate(chosen))


def _cut(
    split: Part,
    fraction: float,
    source: UndividedData,
    *,
    leave: int,
    random: np.random.RandomState,
) -> tuple[Part, Part]:
    """(what is left, what is cut off)."""
    leave = leave if source.validation is None else 1
    count = round(fraction * len(split))
    chosen = stratified_sample(split.labels, count, leave=leave, random=random)
    return split.take(np.setdiff1d(np.arange(len(split)), chosen)), split.take(chosen)


def _check_enough(source: UndividedData) -> None:
    parts = {"validation": source.validation, "test": source.test}
    cuts = [name for name, part in parts.items() if part is None]
    if isinstance(source.train, Split) and source.train.task != "classification":
        _check_enough_dense(source, source.train, 1 + len(cuts))
        return
    sizes = np.bincount(source.train.labels, minlength=len(source.classes))
    smallest = int(sizes.argmin())
    if sizes[smallest] < 1 + len(cuts):
        raise InputError(
            f"class '{source.classes[smallest]}' of '{source.name}' has {sizes[smallest]} training "
            f"images, and at least {1 + len(cuts)} are needed to cut a {' and a '.join(cuts)} part "
            f"from them; add images or give {' and '.join(f'{cut}/' for cut in cuts)}"
        )


def _check_enough_dense(source: UndividedData, train: Split, least: int) -> None:
    if len(train) < 2 * least:
        what = "masks" if train.task == "segmentation" else "boxes"
        raise InputError(
            f"'{source.name}' has {len(train)} training images with {what}, and at least "
            f"{2 * least} are needed; add some"
        )


def warn_of_shared_images(data: ImageData) -> None:
    """A line for each two parts that share images, equal pixel by pixel as they are stored."""
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    where = {name: _where(part) for name, part in parts.items()}
    for first, second in combinations(parts, 2):
        shared = where[first].keys() & where[second].keys()
        if shared:
            one = min(shared)
            told = (_told(parts[name], where[name][one]) for name in (first, second))
            warn(
                f"data: {len(shared)} of the {len(where[second])} images of the {second} part are "
                f"in the {first} part too, as {' and '.join(told)}; accuracy on them says little"
            )


def _where(part: Part) -> dict[bytes, int]:
    return {digest.tobytes(): number for number, digest in enumerate(part.digests)}


def _told(part: Part, number: int) -> str:
    return f"'{part.paths[number]}'" if part.paths else f"its image {number}"
