"""The pages of fields, made from the schemas: `python -m experiments.config.reference`.

Writes `docs/reference/config.md` and `docs/reference/architecture.md`; a test asserts that they
are what this would write.
"""

import inspect
import json
from pathlib import Path
from typing import Any

from tabulate import tabulate

from experiments.config.files import write_text
from experiments.config.json_schema import Schema, architecture_schema, config_schema

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
