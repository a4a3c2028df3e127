"""The JSON Schemas take what the readers take, and the pages made from them are not stale."""

import json

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from experiments.cli import cli
from experiments.config import reference
from experiments.config.reference import SCHEMAS, config_schema, space_schema
from search_spaces import list_architectures, list_spaces, load_architecture
from search_spaces.space import _shipped as spaces
from tests.test_docs import ROOT

CONFIGS = sorted((ROOT / "experiments" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("page", ["config", "architecture"])
def test_a_page_of_fields_is_what_the_schema_gives_today(page):
    written = (reference.FOLDER / f"{page}.md").read_text()
    assert written == getattr(reference, f"{page}_page")(), (
        "run `python -m experiments.config.reference`"
    )


@pytest.mark.parametrize("what", SCHEMAS)
def test_every_field_has_a_description(what):
    schema = SCHEMAS[what]()
    bare = [
        f"{part['title']}.{name}"
        for part in (schema, *schema["$defs"].values())
        for name, field in part["properties"].items()
        if not field.get("description")
    ]
    assert bare == []


@pytest.mark.parametrize("what", SCHEMAS)
def test_the_command_prints_a_valid_schema(what):
    done = CliRunner().invoke(cli, ["schema", what])
    schema = json.loads(done.output, parse_constant=pytest.fail)  # JSON has no Infinity
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_shipped_configs_fit_the_schema(path):
    jsonschema.validate(yaml.safe_load(path.read_text()), config_schema())


@pytest.mark.parametrize("name", list_spaces())
def test_the_shipped_spaces_fit_the_schema(name):
    jsonschema.validate(yaml.safe_load(spaces()[name].read_text()), space_schema())


@pytest.mark.parametrize("name", list_architectures()[::7])
def test_named_architectures_fit_the_schema(name):
    text = load_architecture(name).to_yaml()
    jsonschema.validate(yaml.safe_load(text), SCHEMAS["architecture"]())


def test_a_misspelt_key_and_a_choice_in_an_architecture_do_not_fit():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "x", "serach": {}}, config_schema())
    tree = yaml.safe_load(load_architecture("efficientnet_b0").to_yaml())
    tree["resolution"] = {"choice": [32, 64]}
    jsonschema.validate(tree, space_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tree, SCHEMAS["architecture"]())
