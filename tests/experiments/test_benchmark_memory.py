"""Our RAM against ExecuTorch's plan, where ExecuTorch is installed."""

from importlib.util import find_spec

import pytest

from experiments.benchmarks import memory
from search_spaces import load_space
from search_spaces.records import InputError

PLAN = {"live": 96, "live_with_scratch": 100, "arena": 120, "in_order": 112, "floats": 0}
OURS = {"ours": 96, "ours_in_order": 112, "most": 120}


def test_a_row_a_space_tells_how_many_are_equal_and_how_much_the_arena_is_larger():
    told = [
        PLAN,
        {**PLAN, "live": 128, "arena": 144, "in_order": 96},
        {"error": "RuntimeError: no"},
    ]
    space = {"core": "cortex-m4", "space": "vgg"}
    found = [{**space, "member": f"vgg_{i}", **OURS, **plan} for i, plan in enumerate(told)]
    (row,) = memory.rows_of(found)
    assert (row["members"], row["not lowered"], row["maps equal"]) == (3, 1, 1)
    assert (row["most bytes off"], row["arena most bytes off"]) == (32, 16)
    assert (row["arenas in order"], row["equal"]) == (2, 1)
    assert (row["arenas as they come"], row["over ours"]) == (2, 1)
    assert row["arena / maps, most"] == 1.5


def test_without_executorch_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(memory, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install --no-deps executorch"):
        memory.check_installed()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("executorch") is None, reason=memory.HOW_TO_INSTALL)
@pytest.mark.parametrize("space", ["mbconv_small", "residual", "inception"])
def test_maps_that_live_at_once_and_the_arena_in_order_are_executorchs_to_the_byte(space):
    for member in load_space(space).members(2, seed=1):
        plan = memory.measured(member, "cortex-m4") | memory.ours(member, "cortex-m4")
        assert plan["ours"] == plan["live"]
        assert plan["ours_in_order"] == plan["in_order"]
