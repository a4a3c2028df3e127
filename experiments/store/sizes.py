"""An architecture's sizes as flat columns, defaults included.

A search's networks are made of the same few stages over and over: each distinct one is validated
once, so that thousands of trials are read in a second.
"""

import json
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.head import AnyHead

_head: TypeAdapter[Any] = TypeAdapter(AnyHead)


def sizes_of(architecture: str, *, source: str) -> dict[str, Any]:
    """`stages.<i>.<field>`, `resolution`, `stem.channels`, `head.channels` of an architecture.

    Of nothing, nothing. Raises InputError, which names `source`, for what is no architecture.
    """
    if not architecture:
        return {}
    try:
        stored = json.loads(architecture)
        sizes: dict[str, Any] = {}
        for i, stage in enumerate(stored["stages"]):
            sizes.update(_stage_sizes(i, json.dumps(stage)))
        sizes["resolution"] = stored["resolution"]
        sizes["stem.channels"] = _stem_channels(json.dumps(stored["stem"]))
        sizes["head.channels"] = _head_channels(json.dumps(stored.get("head", {})))
    except (ValueError, KeyError, TypeError, ValidationError):
        Architecture.parse(_loaded(architecture), source=source)
        raise  # an architecture, and yet not of this form: a mistake of ours
    return sizes


@lru_cache(maxsize=100_000)
def _stage_sizes(number: int, stage: str) -> dict[str, Any]:
    data = Stage.model_validate_json(stage).model_dump(mode="json")
    block = data.pop("block")
    sizes = {f"stages.{number}.{field}": value for field, value in data.items()}
    return sizes | {f"stages.{number}.block.{field}": value for field, value in block.items()}


@lru_cache(maxsize=10_000)
def _stem_channels(stem: str) -> int:
    return Stem.model_validate_json(stem).channels


@lru_cache(maxsize=10_000)
def _head_channels(head: str) -> Any:
    return _head.validate_json(head).channels


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
