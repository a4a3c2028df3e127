"""The figures of the house: what counts as product, and what each count means."""

from experiments.benchmarks.house import measure, room

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
