"""The objective by configuration: one cost, one target, limits; conflicts told in one line."""

import pytest

from experiments.config.schema import SearchConfig
from experiments.config.search_section import SearchSection
from search_spaces import InputError


def section(**settings) -> SearchSection:
    return SearchConfig.parse({"name": "x", "search": settings}, source="x").search


def test_target_flops_is_short_for_cost_and_target():
    short = section(target_flops=2e7)
    assert short == section(cost="flops", target=2e7)
    assert (short.cost, short.target, short.target_flops) == ("flops", 2e7, 2e7)
    assert short.replace(target_flops=3e7) == section(target=3e7)


def test_another_cost_has_no_target_in_flops():
    timed = section(cost="latency", target=0.002)
    assert timed.target_flops is None
    assert timed.needs_latency
    assert not section(cost="params", target=1e5).needs_latency
    assert timed.replace(target_flops=1e6) == section(target_flops=1e6)


def test_a_written_config_reads_back_the_same():
    settings = {"cost": "activations", "target": 1e5, "max_latency": 0.1, "max_params": 5e4}
    config = SearchConfig.parse({"name": "x", "search": settings}, source="x")
    import yaml

    assert SearchConfig.parse(yaml.safe_load(config.to_yaml()), source="x") == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cost": "latency"}, "cost 'latency' needs a `target:`, in seconds"),
        ({"cost": "params", "target_flops": 1e6}, "`target_flops` is a target of cost flops, but"),
        ({"target": 2e6, "target_flops": 1e6}, r"are one setting, but got \(target_flops=1000000"),
        (
            {"cost": "flop"},
            r"cost: input should be 'flops', .*'peak_ram', 'flash' or",
        ),
        ({"metric": "f1"}, r"the metric is named by `train.metric` .*, but got 'f1' here"),
        ({"target_flops": 0}, "search.target: input should be greater than 0, but got 0"),
        ({"max_params": 0}, "max_params: input should be greater than 0"),
        ({"max_latency": float("nan")}, "max_latency: input should be greater than 0"),
        ({"latency_model": "f.json", "latency": {"batch_size": 4}}, "leave one out"),
        ({"latency": {"batch": 4}}, "unknown key 'search.latency.batch'; did you mean"),
    ],
)
def test_what_contradicts_is_one_clear_line(settings, message):
    with pytest.raises(InputError, match=message) as caught:
        section(**settings)
    assert "\n" not in str(caught.value)


def test_all_mistakes_are_told_at_once_the_unknown_keys_first():
    """Those, too, that a rule over several fields finds only where each field is right."""
    settings = {
        "sead": 1,
        "search": {"min_flops": 9, "max_flops": 1, "trails": 3, "cost": "latency"},
        "train": {"recipe": "nope", "epoch": 3, "learning_rate": -1},
        "cluster": {"drivers": "many", "workers": 0},
    }
    with pytest.raises(InputError) as caught:
        SearchConfig.parse(settings, source="mine.yaml")
    told = str(caught.value)
    unknown = ["'search.trails'; did you mean 'trials'?", "'sead'; did", "'train.epoch'; did"]
    others = ["'name' is required", "`min_flops < max_flops`", "cost 'latency' needs", "'nope'"]
    others += ["train.learning_rate: ", "`drivers: many`", "cluster.workers: "]
    assert all(part in told for part in (*unknown, *others))
    assert max(told.index(part) for part in unknown) < min(told.index(part) for part in others)
    assert "; also: " in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"cost": "latency", "target": 0.01}, "give a `latency_model`"),
        ({"target": 5e6, "max_flops": 4e6}, r"within the limits, but got \(target=5e\+06, max_f"),
        ({"warm_start": {"source": "old", "mode": "tell"}}, "use `mode: enqueue`"),
    ],
)
def test_a_search_at_the_budget_refuses_what_no_scaling_can_meet(section, message):
    with pytest.raises(InputError, match=message):
        SearchConfig.parse({"name": "x", "search": {"at": "budget", **section}}, source="x")
