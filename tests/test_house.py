"""The figures of the house: what counts as product, and what each count means."""

import ast
import re
from collections import defaultdict

from experiments.benchmarks.house import is_product, measure, room, tree, working_tree, write_tree
from tests.test_layers_of_the_house import ROOMS, ROOT

SMALL = {
    "scaler/cost.py": 'def cost():\n    """FLOPs."""\n\n\ndef _own():\n    def inner(): ...\n',
    "experiments/line.py": "class Line:\n    def walk(self): ...\n",
    "experiments/store/trial.py": "def long():\n" + 60 * "    print()\n",
    "experiments/benchmarks/slow.py": "def undocumented(): ...\n",
}


def test_lines_and_files_are_counted_by_room_without_benchmarks():
    figures = measure(SMALL)
    assert figures["scaler: files, lines"] == "1, 6"
    assert figures["experiments: files, lines"] == "1, 2"
    assert figures["experiments/store: files, lines"] == "1, 61"
    assert (figures["product: files"], figures["product: lines"]) == (3, 69)
    assert figures["experiments: files, benchmarks too"] == 3


def test_a_function_of_sixty_one_lines_is_long_and_a_name_without_docstring_is_told():
    figures = measure(SMALL)
    assert figures["functions over 60 lines"] == 1
    # cost, Line, Line.walk, long; of these only cost has a docstring.
    assert (figures["public names"], figures["public names without docstring"]) == (4, 3)


def test_a_room_is_a_folder_of_experiments_or_a_whole_package():
    assert room("search_spaces/blocks/block.py") == "search_spaces"
    assert room("experiments/report/charts/bars.py") == "experiments/report"


def test_the_tree_of_the_house_is_true():
    page = ROOT / "docs" / "house.md"
    assert page.read_text() == write_tree(page, working_tree(ROOT)), (
        "run `python -m experiments.benchmarks.house --tree`"
    )


def test_each_path_that_the_page_names_exists():
    text = (ROOT / "docs" / "house.md").read_text()
    named = re.findall(r"`((?:search_spaces|scaler|experiments)/[\w/.]*)`", text)
    assert len(named) > 30
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_page_tells_of_every_room():
    text = (ROOT / "docs" / "house.md").read_text()
    assert [name for name in ROOMS if f"`experiments/{name}" not in text] == []


def test_a_file_stands_in_the_tree_with_its_first_sentence():
    files = {
        "scaler/__init__.py": '"""What it costs. And more."""\n',
        "scaler/cost.py": '"""FLOPs of a\nnetwork.\n\nMore.\n"""\n',
    }
    shown = [line.split(maxsplit=1) for line in tree(files).splitlines()]
    assert shown == [["scaler/", "What it costs"], ["cost.py", "FLOPs of a network"]]


def places(kind, files):
    """The names that stand at the top of two files or more, with the files."""
    found = defaultdict(list)
    for path, text in files.items():
        for node in ast.parse(text).body:
            if isinstance(node, kind):
                found[node.name].append(path)
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def test_a_class_name_means_one_thing():
    """A second class of a name is renamed for what it is, or the two become one."""
    assert places(ast.ClassDef, working_tree(ROOT)) == {}


def test_a_public_function_of_the_product_means_one_thing():
    product = {path: text for path, text in working_tree(ROOT).items() if is_product(path)}
    twice = places(ast.FunctionDef, product)
    assert {name for name in twice if not name.startswith("_")} == {"main"}
