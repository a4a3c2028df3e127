"""Optuna's public test cases of a sampler, run with each of ours but the grid.

The grid has no values for the continuous ranges that the cases ask for.
"""

import pytest

from experiments.samplers import SAMPLERS, make_sampler

cases = pytest.importorskip("optuna.testing.pytest_samplers", reason="Optuna before 5 has none")

QUICK = ("local_search", "nsga2", "regularized_evolution")  # those without a model, 8 s together
SLOW = sorted(set(SAMPLERS) - {"grid", *QUICK})


class _EachOfOurs:
    @pytest.fixture(params=[*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)])
    def sampler(self, request):
        return lambda: make_sampler(request.param, seed=0)


class TestBasic(_EachOfOurs, cases.BasicSamplerTestCase):
    """Optuna's cases for studies of one objective."""


class TestSeveralObjectives(_EachOfOurs, cases.MultiObjectiveSamplerTestCase):
    """Optuna's cases for a single parameter in a study of several objectives."""
