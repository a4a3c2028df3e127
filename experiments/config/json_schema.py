"""JSON Schemas of the files that a user writes: a config, an architecture, a search space.

Editors complete and check YAML with them; `reference` makes the pages of fields from them.
"""

import copy
import math
from typing import Any

from experiments.config.schema import SearchConfig
from search_spaces.architecture import Architecture

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def config_schema() -> Schema:
    """Of a config file, as `scaler run --config` reads it."""
    schema = _finite(SearchConfig.model_json_schema())
    parts = schema["$defs"]
    # Two keys that are read before the fields are, and so are none of them.
    parts["TrainConfig"]["properties"]["recipe"] = {
        "type": "string",
        "description": "A shipped recipe's name or a YAML file. Other settings go on top.",
    }
    parts["SearchSection"]["properties"]["target_flops"] = {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": "Short for `cost: flops` and `target`.",
    }
    return {"$schema": DIALECT, **schema}


def architecture_schema() -> Schema:
    """Of an architecture file, as `scaler show --yaml` writes it."""
    return {"$schema": DIALECT, **_finite(Architecture.model_json_schema())}


def space_schema() -> Schema:
    """Of a search space: an architecture in which any value may be `{choice: [...]}`."""
    schema = copy.deepcopy(architecture_schema())
    for part in (schema, *schema["$defs"].values()):
        for name, value in part.get("properties", {}).items():
            part["properties"][name] = _or_choice(_open(value))
    setting = {"type": ["number", "string", "boolean"]}
    schema["properties"]["training"] = {
        "type": "object",
        "additionalProperties": _or_choice(setting),
        "description": "Settings of the training that are searched too, by their names in `train`.",
    }
    schema["title"] = "SearchSpace"
    schema["description"] = "An architecture in which any value may be a choice."
    return schema


SCHEMAS = {"config": config_schema, "architecture": architecture_schema, "space": space_schema}


def _or_choice(value: Schema) -> Schema:
    described: Schema = {key: value[key] for key in ("description", "default") if key in value}
    plain = {key: item for key, item in value.items() if key not in described}
    option = {"type": "string"} if "const" in plain else plain  # a `kind`, chosen among several
    choice = {
        "type": "object",
        "properties": {"choice": {"type": "array", "items": option, "minItems": 1}},
        "required": ["choice"],
        "additionalProperties": False,
    }
    return {"anyOf": [plain, choice], **described}


def _open(value: Any) -> Any:
    """Without `discriminator`, and `oneOf` as `anyOf`: where `kind` is a choice, several fit."""
    if isinstance(value, dict):
        renamed = {"oneOf": "anyOf"}
        return {renamed.get(k, k): _open(v) for k, v in value.items() if k != "discriminator"}
    return [_open(item) for item in value] if isinstance(value, list) else value


def _finite(value: Any) -> Any:
    """Without defaults of infinity, which JSON cannot write. They mean that there is no limit."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items() if item != math.inf}
    return [_finite(item) for item in value] if isinstance(value, list) else value
