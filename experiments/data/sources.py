"""From the `data` section of a configuration to images, held in memory or streamed from files."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiments.config.messages import say_once
from experiments.config.schema import DataConfig, Fit
from experiments.config.units import readable_count
from experiments.data.annotations import Labelled, list_boxes, place_boxes, tell_boxes
from experiments.data.box_sources import find_box_files
from experiments.data.decoding import (
    cache_folder,
    cache_key,
    cached_array,
    decode_files,
    default_size,
    read_sizes,
    survey_files,
)
from experiments.data.fitting import fit_arrays
from experiments.data.folder import list_folder
from experiments.data.images import FileSplit, ImageData, Part, Split
from experiments.data.listing import Listing, tell_contents
from experiments.data.masks import (
    FORMAT,
    Pairs,
    class_names,
    decode_masks,
    list_pairs,
    pair_folders,
    strata,
    strata_of,
    tell_masks,
)
from experiments.data.published import PUBLISHED, read_digits
from experiments.data.split import UndividedData, divide, warn_of_shared_images
from experiments.data.table import SUFFIXES, list_table
from search_spaces.records import InputError

Placement = Literal["auto", "device", "stream"]

SHARE = 0.5  # of the free memory that a data set may take; above it `auto` streams
_CGROUP = Path("/sys/fs/cgroup")


def load_data(config: DataConfig, *, seed: int) -> ImageData:
    """The data set that `config` names, divided with `seed` (see split.divide).

    Raises InputError for a source that is not there or cannot be trained on.
    """
    data = divide(read_source(config), config, seed=seed)
    warn_of_shared_images(data)
    return data


def read_source(config: DataConfig) -> UndividedData:
    """Digits, a data set by name, a table, or a folder."""
    if config.source == "digits":
        return _from_arrays(read_digits(), config)
    published = _find_published(config)
    if published is not None:
        return _from_arrays(PUBLISHED[config.source].read(published), config)
    place = _find(config.source)
    if place.is_dir() and config.task in ("auto", "detection"):
        sources = find_box_files(place, config)  # before masks: YOLO's labels/ may hold either
        if sources is not None:
            return read_boxes(list_boxes(place, sources), config)
    if config.task == "detection":
        raise InputError(
            f"data.task is detection, but '{place}' has no COCO JSON, Pascal VOC XML or YOLO txt "
            f"beside images, neither in itself nor in train/; see docs/data.md"
        )
    folders = pair_folders(place, config) if place.is_dir() else None
    if folders is not None and config.task != "classification":
        return read_pairs(list_pairs(place, folders), config)
    if config.task == "segmentation":
        raise InputError(
            f"data.task is segmentation, but '{place}' has no images/ beside masks/, neither in "
            f"itself nor in train/; see docs/data.md"
        )
    return read_files((list_table if place.is_file() else list_folder)(place, config), config)


def _from_arrays(source: UndividedData, config: DataConfig) -> UndividedData:
    """The arrays at the size asked for. InputError for what only image files can do."""
    config.fitted("classification")
    if config.placement == "stream":
        raise InputError(
            f"data.placement: stream reads image files, but '{source.name}' comes as arrays; "
            f"leave it out"
        )
    if config.parts is not None or config.layout != "auto":
        raise InputError(
            f"data.parts and data.layout are for folders and tables, but '{source.name}' has its "
            f"own parts; leave them out"
        )
    given = {"train": source.train, "validation": source.validation, "test": source.test}
    parts = {name: part for name, part in given.items() if part is not None}
    labels = {name: part.labels.tolist() for name, part in parts.items()}
    tell_contents(source.name, source.classes, labels)
    if config.image_size is None or config.image_size == source.train.shape[1]:
        return source
    sized: dict[str, Any] = {
        name: _resized(part, config.image_size) for name, part in parts.items()
    }
    return UndividedData(source.name, source.classes, **sized)


def _resized(part: Part, size: int) -> Part:
    """(N, C, H, W) -> (N, C, S, S), antialiased bilinear, as image files are."""
    assert isinstance(part, Split)
    return Split(fit_arrays(part.images, size, fit="stretch"), part.labels)  # they are square


def read_files(listing: Listing, config: DataConfig) -> UndividedData:
    """Listed image files: decoded or from the cache of decoded images, or as files to stream."""
    # Before the first file is decoded, which may take minutes: a wrong layout is seen at once.
    labels = {part: [file.label for file in files] for part, files in listing.parts.items()}
    tell_contents(
        listing.name, listing.classes, labels, places=listing.places, left_out=listing.left_out
    )
    image_size = config.image_size or _default_size(listing, config.max_pixels)
    fit = config.fitted("classification")
    stream = streams(config.placement, images=len(listing.files), image_size=image_size)
    whole = (_stream_files if stream else _hold_files)(listing, image_size, fit, config)
    parts: dict[str, Any] = {}
    start = 0
    for part, files in listing.parts.items():
        parts[part] = whole.take(slice(start, start + len(files)))
        start += len(files)
    return UndividedData(listing.name, listing.classes, **parts)


def read_pairs(pairs: Pairs, config: DataConfig) -> UndividedData:
    """Images with their masks, decoded or from the cache of decoded ones."""
    listing, fit = pairs.images, config.fitted("segmentation")
    whole = _hold_dense(listing, fit, config, what="masks")
    image_size = whole.shape[1]
    table = hashlib.sha256(repr((FORMAT, pairs.table)).encode()).hexdigest()[:8]
    masks = cached_array(
        f"{cache_key(pairs.masks_listing, image_size=image_size, fit=fit)}-{table}",
        lambda: decode_masks(pairs, image_size=image_size, fit=fit, max_pixels=config.max_pixels),
    )
    classes = class_names(pairs, masks)
    train = masks[: len(listing.parts["train"])]
    tell_masks(pairs, classes, train, share=lambda share: f"{share:.1%}")
    parts: dict[str, Any] = {
        part: replace(whole.take(own), labels=strata(masks[own], len(classes)), masks=masks[own])
        for part, own in _places_of(listing).items()
    }
    colours = () if pairs.table is None else pairs.table.of_classes
    return UndividedData(listing.name, classes, **parts, colours=colours)


def read_boxes(found: Labelled, config: DataConfig) -> UndividedData:
    """Images with their boxes, decoded or from the cache of decoded ones."""
    listing, fit = found.images, config.fitted("detection")
    sizes = cached_array(
        cache_key(listing, image_size=None) + "-sizes",
        lambda: np.array(list(read_sizes(listing.files, max_pixels=config.max_pixels))),
    )
    whole = _hold_dense(listing, fit, config, what="boxes")
    boxes, faults = place_boxes(found, sizes, image_size=whole.shape[1], fit=fit)
    tell_boxes(found, boxes, faults, fit)
    parts: dict[str, Any] = {}
    for part, own in _places_of(listing).items():
        counts = boxes.take(own).by_class(len(listing.classes))
        empty = counts.sum(axis=1, keepdims=True) == 0  # a stratum of their own
        labels = strata_of(np.hstack([counts, empty]))
        parts[part] = replace(whole.take(own), labels=labels, boxes=boxes.take(own))
    return UndividedData(listing.name, listing.classes, **parts)


def _places_of(listing: Listing) -> dict[str, slice]:
    """Where the files of each part stand among those of all parts."""
    ends = np.cumsum([len(files) for files in listing.parts.values()]).tolist()
    starts = [0, *ends[:-1]]
    return dict(zip(listing.parts, map(slice, starts, ends), strict=True))


def _hold_dense(listing: Listing, fit: Fit, config: DataConfig, *, what: str) -> Split:
    if config.placement == "stream":
        raise InputError(
            f"data.placement: stream is for images with labels, but '{listing.name}' has {what}; "
            f"leave it out"
        )
    image_size = config.image_size or _default_size(listing, config.max_pixels)
    return _hold_files(listing, image_size, fit, config)


def _hold_files(listing: Listing, image_size: int, fit: Fit, config: DataConfig) -> Split:
    how: dict[str, Any] = {"fit": fit, "max_pixels": config.max_pixels}
    images = cached_array(
        cache_key(listing, image_size=image_size, fit=fit),
        lambda: decode_files(listing.files, image_size=image_size, **how),
    )
    return Split(images, listing.labels, paths=tuple(file.path for file in listing.files))


def _stream_files(listing: Listing, image_size: int, fit: Fit, config: DataConfig) -> FileSplit:
    how: dict[str, Any] = {"fit": fit, "max_pixels": config.max_pixels}
    facts = cached_array(
        cache_key(listing, image_size=image_size, fit=fit) + "-facts",
        lambda: survey_files(listing.files, image_size=image_size, **how),
    )
    paths = tuple(file.path for file in listing.files)
    return FileSplit(paths, listing.labels, image_size, facts, **how)


def _default_size(listing: Listing, max_pixels: int) -> int:
    # The training images alone decide the size: nothing is chosen by looking at the test part.
    key = cache_key(listing, image_size=None) + "-size"
    files = listing.parts["train"]
    (size,) = cached_array(key, lambda: np.array([default_size(files, max_pixels=max_pixels)]))
    return int(size)


def _find_published(config: DataConfig) -> Path | None:
    """The files of a data set by name, or None where `source` names none or an image folder."""
    published = PUBLISHED.get(config.source)
    if published is None:
        return None
    places, downloads = _places(config.source), _downloads()
    # An image folder of that name goes before a published set beside it.
    found = published.find(places)
    if found is not None or any(place.is_dir() for place in places):
        return found
    found = published.find([downloads])
    if found is None and config.download:
        published.download(downloads)
        found = published.find([downloads])
    if found is None:
        raise InputError(
            f"no data '{config.source}': there is no folder {_told(config.source)}, and no "
            f"'{published.folders[-1]}' in '{downloads}'; set SCALER_DATA to the folder that holds "
            f"one of them, or allow the download with `--download` or `data: {{download: true}}`"
        )
    return found


def _downloads() -> Path:
    """Where torchvision's folders are looked for and downloaded to."""
    home = os.environ.get("SCALER_DATA")
    return Path(home).expanduser() if home else cache_folder() / "data"


def _places(source: str) -> list[Path]:
    """As given, and of that name under $SCALER_DATA."""
    home = os.environ.get("SCALER_DATA")
    given = Path(source).expanduser()
    return [given, Path(home).expanduser() / source] if home else [given]


def _find(source: str) -> Path:
    """An image folder or a table."""
    for place in _places(source):
        if place.is_dir() or (place.is_file() and place.suffix in SUFFIXES):
            return place
        if place.is_file():
            raise InputError(
                f"data '{place}' is neither a folder nor a table that ends in "
                f"{' or '.join(SUFFIXES)}"
            )
    names = ", ".join(f"`{name}`" for name in ("digits", *PUBLISHED))
    raise InputError(
        f"no data '{source}': there is no folder or table {_told(source)}; give {names}, the path "
        f"of an image folder or a table, or set SCALER_DATA to the folder that holds it"
    )


def _told(source: str) -> str:
    given, *below = _places(source)
    elsewhere = f"nor at '{below[0]}' ($SCALER_DATA)" if below else "and SCALER_DATA is not set"
    return f"at '{given.absolute()}', {elsewhere}"


def streams(placement: Placement, *, images: int, image_size: int) -> bool:
    """Whether `images` RGB images are streamed; says in a line what and why.

    `auto` streams what takes more than half of the memory that is free on this machine. A card's
    memory is a worker's matter: where the images do not fit there, it keeps them beside (see
    training.batches).
    """
    needed = 3 * image_size**2 * images
    free = free_memory()
    stream = placement == "stream" or (placement == "auto" and needed > SHARE * free)
    where = "streamed from their files" if stream else "held decoded"
    why = f"data.placement: {placement}"
    if placement == "auto":
        share = "more than" if stream else "within"
        why = f"{share} half of the {readable_count(free)}B free in memory"
    size = f"{images:,} images of {image_size} px ({readable_count(needed)}B decoded)"
    say_once(f"data: {size} are {where} ({why})", key=f"data: {size}")
    return stream


def free_memory() -> int:
    """Bytes that the machine has free, or a container's limit leaves, whichever is less."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            free = 1024 * int(line.split()[1])
    limit, used = (_lines(_CGROUP / name) for name in ("memory.max", "memory.current"))
    if limit and used and limit[0].isdigit():
        free = min(free, max(0, int(limit[0]) - int(used[0])))
    return free


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
