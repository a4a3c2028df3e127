"""Our search on made-up spaces, beside the searchers that a user could have taken instead."""

import numpy as np
import pytest

from experiments.benchmarks.parts.made_up import SPACES
from experiments.benchmarks.spaces import regrets
from experiments.samplers import cost_aware

SEEDS = range(1000, 1006)
AHEAD = ("unordered", "ordered")


@pytest.fixture(scope="module")
def found():
    searchers = ("cost_aware", "tpe", "local_search")
    return {
        searcher: np.array(
            [[regrets(name, searcher, s, counts=(30,))[0, 0] for s in SEEDS] for name in AHEAD]
        )
        for searcher in searchers
    }


@pytest.mark.slow
@pytest.mark.parametrize("rival", ["tpe", "local_search"])
def test_ours_is_not_significantly_worse_anywhere_and_ahead_in_the_mean(found, rival):
    worse = found["cost_aware"] - found[rival]  # (spaces, seeds)
    doubt = 2 * worse.std(axis=1, ddof=1) / len(SEEDS) ** 0.5
    assert (worse.mean(axis=1) <= doubt).all()
    assert worse.mean() < 0


@pytest.mark.slow
def test_doubting_the_model_leads_away_from_variants_of_one_network(monkeypatch):
    doubted = regrets("dead", "cost_aware", 1003, counts=(60,))[1, 0]
    monkeypatch.setattr(cost_aware, "DOUBT", 1.0)
    assert doubted < 0.5 * regrets("dead", "cost_aware", 1003, counts=(60,))[1, 0]


@pytest.mark.parametrize("name", SPACES)
def test_no_network_of_a_made_up_space_is_better_than_its_best(name):
    rng = np.random.default_rng(0)
    space = SPACES[name](rng)
    best = space.best(rng)
    some = np.stack([rng.integers(size, size=2_000) for size in space.sizes], axis=1)
    assert space.rewards(some).max() <= best
