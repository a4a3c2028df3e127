"""JSON Schemas of a config, an architecture and a space, and the pages of fields made from them.

    python -m experiments.config.reference

Writes `docs/reference/config.md` and `docs/reference/architecture.md`; a test asserts that they
are what this would write.
"""

import copy
import inspect
import json
import math
from pathlib import Path
from typing import Any

from tabulate import tabulate

from experiments.config.boards import BOARDS
from experiments.config.files import write_text
from experiments.config.schema import SearchConfig
from search_spaces.architecture import Architecture

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def config_schema() -> Schema:
    """Of a config file, as `scaler run --config` reads it."""
    schema = _finite(SearchConfig.model_json_schema())
    parts = schema["$defs"]
    # Three keys that are read before the fields are, and so are none of them.
    parts["TrainConfig"]["properties"]["recipe"] = {
        "type": "string",
        "description": "A shipped recipe's name or a YAML file. Other settings go on top.",
    }
    parts["SearchSection"]["properties"]["target_flops"] = {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": "Short for `cost: flops` and `target`.",
    }
    parts["SearchSection"]["properties"]["board"] = {
        "enum": [*BOARDS],
        "description": "Short for the board's RAM and flash as `max_peak_ram` and `max_flash`; one "
        "that is given counts instead.",
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


FOLDER = Path(__file__).parents[2] / "docs" / "reference"
MADE = "This page is made from the schema by `python -m experiments.config.reference`."

CONFIG = """# A config, field by field

{made} `scaler run`, `search` and the other commands of a run read one form of file, and `scaler
schema config` prints its JSON Schema. Every field but `name` may be left out.
"""

ARCHITECTURE = """# An architecture, field by field

{made} An architecture is a file with a stem, a row for each stage, and a head. `scaler show ARCH
--yaml` writes one to edit. `scaler schema architecture` prints the JSON Schema.

```yaml title="my_network.yaml"
name: my_network
resolution: 64
stem: {{channels: 16, stride: 2, block: {{kind: conv, kernel_size: 3}}}}
stages:
  - {{channels: 16, layers: 1, stride: 1, block: {{kind: mbconv, expand_ratio: 1, kernel_size: 3}}}}
  - {{channels: 24, layers: 2, stride: 2, block: {{kind: mbconv, expand_ratio: 6, kernel_size: 5}}}}
  - {{channels: 64, layers: 2, stride: 2, block: {{kind: bottleneck, groups: 4}}}}
head: {{channels: 256, dropout: 0.2}}
```

```bash
scaler show my_network.yaml
```

A search space has the same form. Any value may be a choice, and a choice is always
`{{choice: [...]}}`. `training` holds settings of the training that are searched too. `scaler schema
space` prints the JSON Schema.

```yaml title="my_space.yaml"
name: my_space
resolution: 64
stem: {{channels: {{choice: [8, 16]}}, stride: 2, block: {{kind: conv, kernel_size: 3}}}}
stages:
  - channels: {{choice: [16, 24, 32]}}
    layers: {{choice: [1, 2, 3]}}
    stride: 2
    block:
      choice:
        - {{kind: mbconv, expand_ratio: {{choice: [3, 6]}}, kernel_size: {{choice: [3, 5]}}}}
        - {{kind: basic}}
  - {{channels: {{choice: [48, 64]}}, layers: 2, stride: 2, block: {{kind: separable}}}}
head: {{channels: 256}}
training:
  learning_rate: {{choice: [0.05, 0.1]}}
```

```python
from search_spaces import load_space

assert load_space("my_space.yaml").size() == 2 * 3 * 3 * (2 * 2 + 1) * 2 * 2
```
"""


def config_page() -> str:
    """Every section of a config, each once."""
    return CONFIG.format(made=MADE) + _parts(config_schema())


def architecture_page() -> str:
    """The rows of an architecture, each kind of block and of head, with two complete examples."""
    return ARCHITECTURE.format(made=MADE) + _parts(architecture_schema())


def _parts(schema: Schema) -> str:
    """A heading, the docstring and the table of each record: the outer ones first, each once."""
    known = schema["$defs"]
    waiting, told = [("The file", schema)], set()
    text = ""
    while waiting:
        title, part = waiting.pop(0)
        said = inspect.cleandoc(part.get("description", ""))
        text += f"\n## {title}\n\n{said}\n\n{_table(part, known)}\n"
        for field, value in part["properties"].items():
            for inner in _references(value):
                if inner not in told:
                    told.add(inner)
                    kind = _kind(known[inner])
                    place = f"`{field}`" if kind is None else f"`{field}: {{kind: {kind}}}`"
                    waiting.append((place, known[inner]))
    return text


def _table(part: Schema, known: dict[str, Schema]) -> str:
    rows = [
        {
            "field": f"`{name}`",
            "type and range": _type(value, known),
            "default": _default(name, value, part),
            "meaning": " ".join(value.get("description", "").split()),
        }
        for name, value in part["properties"].items()
    ]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def _references(value: Any) -> list[str]:
    """The names of the records that a field may hold, in order."""
    if isinstance(value, list):
        return [name for item in value for name in _references(item)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"].rpartition("/")[2]] if "$ref" in value else []
    inner = [v for key, v in value.items() if key not in ("discriminator", "default", "examples")]
    return own + _references(inner)


def _type(value: Schema, known: dict[str, Schema]) -> str:
    """What a field takes, as `integer >= 1` or `max` or `average`."""
    if "$ref" in value:
        kind = _kind(known[_references(value)[0]])
        return "a section" if kind is None else f"`kind: {kind}`"
    for several in ("anyOf", "oneOf"):
        if several in value:
            told = ", or ".join(dict.fromkeys(_type(option, known) for option in value[several]))
            return told.replace(", or `kind: ", ", `")
    if "enum" in value or "const" in value:
        return ", ".join(f"`{option}`" for option in value.get("enum", [value.get("const")]))
    if value.get("type") == "array":
        items = value.get("items", value.get("prefixItems", [{}])[0])
        return f"list of: {_type(items, known)}"
    if value.get("type") == "null":
        return "`null`"
    signs = {
        "minimum": ">=",
        "exclusiveMinimum": ">",
        "maximum": "<=",
        "exclusiveMaximum": "<",
        "pattern": "matching",
    }
    ranges = [f"{sign} {_code(value[key])}" for key, sign in signs.items() if key in value]
    kinds = {"object": "mapping", "string": "text", "boolean": "`true`, `false`"}
    kind = str(value.get("type", "any"))
    return " ".join([kinds.get(kind, kind), " and ".join(ranges)]).strip()


def _kind(record: Schema) -> str | None:
    """The value of `kind` that names a block, a head or a schedule among others."""
    kind = record["properties"].get("kind", {}).get("const")
    return None if kind is None else str(kind)


def _code(value: Any) -> str:
    # A bar ends a cell of the table, even between backticks.
    return "`" + str(value).replace("|", "\\|") + "`" if isinstance(value, str) else str(value)


def _default(name: str, value: Schema, part: Schema) -> str:
    if name in part.get("required", []):
        return "required"
    if "default" not in value:
        return "no limit" if name.startswith("max_") else "none"
    default = value["default"]
    if isinstance(default, dict):
        return "see below"
    text = json.dumps(default) if not isinstance(default, str) else default
    return f"`{text}`" if len(text) <= 40 else "see below"


def main() -> None:
    """Write both pages."""
    write_text(FOLDER / "config.md", config_page())
    write_text(FOLDER / "architecture.md", architecture_page())


if __name__ == "__main__":
    main()
