"""The same image in two parts of a data set: what is measured on the later one is too good."""

import logging
from itertools import combinations

from experiments.data.images import ImageData, Part

_log = logging.getLogger(__name__)


def warn_of_shared_images(data: ImageData) -> None:
    """A line for each two parts that share images, equal pixel by pixel as they are stored."""
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    where = {name: _where(part) for name, part in parts.items()}
    for first, second in combinations(parts, 2):
        shared = where[first].keys() & where[second].keys()
        if shared:
            one = min(shared)
            _log.warning(
                "data: %d of the %d images of the %s part are in the %s part too, as %s and %s; "
                "accuracy on them says little",
                *(len(shared), len(where[second]), second, first),
                *(_told(parts[name], where[name][one]) for name in (first, second)),
            )


def _where(part: Part) -> dict[bytes, int]:
    return {digest.tobytes(): number for number, digest in enumerate(part.digests)}


def _told(part: Part, number: int) -> str:
    return f"'{part.paths[number]}'" if part.paths else f"its image {number}"
