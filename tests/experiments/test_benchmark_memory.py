"""Our RAM against ExecuTorch's plan, where ExecuTorch is installed."""

from importlib.util import find_spec

import pytest

from experiments.benchmarks import memory
from search_spaces import load_space
from search_spaces.records import InputError

PLAN = {"ours": 96, "live": 96, "live_with_scratch": 100, "arena": 120, "floats": 0}


def test_a_row_a_space_tells_how_many_are_equal_and_how_much_the_arena_is_larger():
    found = [
        {"space": "vgg", "member": "vgg_0", **PLAN},
        {"space": "vgg", "member": "vgg_1", **PLAN, "live": 128, "floats": 2},
        {"space": "vgg", "member": "vgg_2", "ours": 96, "error": "RuntimeError: no"},
    ]
    (row,) = memory.rows_of(found)
    assert (row["members"], row["not lowered"], row["equal to the byte"]) == (3, 1, 1)
    assert (row["most bytes off"], row["all int8"]) == (32, 1)
    assert row["their arena / ours, most"] == 1.25


def test_without_executorch_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(memory, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install --no-deps executorch"):
        memory.check_installed()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("executorch") is None, reason=memory.HOW_TO_INSTALL)
@pytest.mark.parametrize("space", ["mbconv_small", "residual", "inception"])
def test_maps_that_live_at_once_in_executorchs_plan_are_ours_to_the_byte(space):
    for member in load_space(space).members(2, seed=1):
        plan = memory.measured(member)
        assert plan["ours"] == plan["live"]
