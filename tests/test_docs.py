"""The documentation builds without a broken link, and prints what the commands print."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

from experiments.benchmarks import scaling
from experiments.cli import cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

# What the Citation File Format 1.2.0 asks of the fields that we use.
_AUTHORS = {
    "type": "array",
    "minItems": 1,
    "items": {
        "anyOf": [
            {"required": ["name"]},
            {"required": ["family-names"]},
        ],
    },
}
CITATION = {
    "type": "object",
    "required": ["cff-version", "message", "title", "authors"],
    "additionalProperties": False,
    "properties": {
        "cff-version": {"const": "1.2.0"},
        "message": {"type": "string", "minLength": 1},
        "title": {"type": "string", "minLength": 1},
        "type": {"enum": ["software", "dataset"]},
        "authors": _AUTHORS,
        "version": {"type": ["string", "number"]},
        "license": {"type": "string"},
        "keywords": {"type": "array", "uniqueItems": True, "items": {"type": "string"}},
        "references": {
            "type": "array",
            "items": {
                "required": ["authors", "title", "type"],
                "properties": {"authors": _AUTHORS},
            },
        },
    },
}


def test_the_scaling_tables_figures_are_todays():
    assert scaling.text() in (DOCS / "scaling.md").read_text()


@pytest.fixture
def site(tmp_path):
    """A copy of what the pages are built from; `build` says how it went and what it said."""
    pytest.importorskip("zensical", reason="zensical is not installed")
    for name in ("docs", "search_spaces", "scaler", "experiments"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("results"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)

    def build():
        command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
        return done.returncode, done.stdout + done.stderr

    build.folder = tmp_path
    return build


def test_the_pages_build_strictly_with_reference_and_commands(site):
    status, said = site()
    assert status == 0, said
    assert "Warning" not in said, said
    built = site.folder / "build" / "docs"
    assert "arXiv:1905.11946" in (built / "reference" / "scaler.html").read_text()
    commands = (built / "reference" / "cli.html").read_text()
    assert {f'id="{name}"' in commands for name in cli.commands} == {True}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["[x](nowhere.md)", "::: scaler.cost.no_such_name"])
def test_a_broken_link_or_reference_fails_the_build(site, wrong):
    page = site.folder / "docs" / "index.md"
    page.write_text(f"{page.read_text()}\n\n{wrong}\n")
    status, _ = site()
    assert status != 0


def test_every_page_is_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text()
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert pages == set(re.findall(r"[\w/]+\.md", nav.split("\nnav:")[1]))


def test_every_public_name_is_in_the_reference():
    from importlib import import_module

    for package in ("search_spaces", "scaler", "experiments"):
        page = (DOCS / "reference" / f"{package}.md").read_text()
        listed = set(re.findall(r"^::: [\w.]+\.(\w+)$", page, re.MULTILINE))
        assert listed == set(import_module(package).__all__)


def test_no_command_has_an_option_twice():
    for name, command in cli.commands.items():
        options = [option for param in command.params for option in param.opts]
        assert len(options) == len(set(options)), name


def test_the_citation_is_valid_and_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    jsonschema.validate(citation, CITATION)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
