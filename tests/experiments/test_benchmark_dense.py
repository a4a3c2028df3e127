"""The comparison of found and known dense networks: its table, and who stands in it."""

import json
from argparse import Namespace

import pytest
from scipy import stats

from experiments.benchmarks import dense
from search_spaces import load_space

FOUND, KNOWN = (0.5, 0.52, 0.54), (0.2, 0.3, 0.25)


@pytest.fixture
def case(tmp_path):
    args = Namespace(lines=tmp_path / "dense.jsonl", runs=tmp_path, seeds=3, epochs=1)
    return dense.DenseCase("bccd", 6e7, args)


def test_the_table_gives_mean_error_and_welchs_p_of_the_found_one(case):
    fixed = {"kind": "training", "metric": "mAP50", "network_flops": 6e7, "params": 1}
    rows = [("FCOS on resnet18", KNOWN), (dense.FOUND, FOUND)]
    for row, values in rows:
        for test in values:
            case.write(row=row, test=test, cpu_seconds=1.0, **fixed)
    first, second = dense.table(case)
    assert (first["network"], first["test"]) == ("found", 0.52)
    assert first["standard error"] == pytest.approx(0.02 / 3**0.5, abs=1e-4)
    assert second["found is ahead by"] == pytest.approx(0.27)
    assert second["p"] == pytest.approx(stats.ttest_ind(FOUND, KNOWN, equal_var=False)[1], rel=0.05)


def test_every_network_of_the_comparison_is_at_the_budget_within_a_tenth(case, monkeypatch):
    monkeypatch.setitem(dense.BODIES, "bccd", ("resnet18",))
    monkeypatch.setattr(dense.DenseCase, "sizes", {"num_classes": 3, "in_channels": 3})
    like = load_space("mbconv_detect").members(1, seed=0)[0]
    (case.args.runs / "bccd").mkdir()
    text = json.dumps(like.model_dump(mode="json", exclude_defaults=True))
    (case.args.runs / "bccd" / "baseline.yaml").write_text(text)
    found = dict(dense.networks(case))
    assert list(found) == ["found", "FCOS on resnet18"]
    for network in found.values():
        assert dense.measure_cost(network, **case.sizes).flops == pytest.approx(6e7, rel=0.1)
