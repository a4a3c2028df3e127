"""The fit of a latency table, against figures that were made from known coefficients."""

import json

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from scaler import Cost, LatencyModel
from scaler.conditions import Conditions
from scaler.latency_model import LatencyTable, MeasuredNetwork, fit_latency, fits_of
from search_spaces import InputError

COSTS = [(2e6, 9e4), (9e6, 1e5), (3e7, 4e5), (5e7, 2e6), (1e8, 1e6), (4e8, 3e6)]


def table(seconds):
    """A table of networks of COSTS that take `seconds(flops, activations)`."""
    networks = []
    for i, (flops, activations) in enumerate(COSTS):
        took = seconds(flops, activations)
        shape = {"flops": int(flops), "params": 1, "activations": int(activations)}
        times = dict.fromkeys(("seconds", "low", "high", "quiet"), took)
        row = MeasuredNetwork(
            name=f"n{i}", resolution=8, **shape, **times, uncertainty=0.01, runs=9
        )
        networks.append(row)
    return LatencyTable(
        conditions=Conditions(threads=1, device="cpu"),
        machine={"hardware": "an abacus", "torch": "9.9"},
        num_classes=10,
        in_channels=3,
        networks=tuple(networks),
    )


def test_coefficients_that_made_the_times_are_found_again():
    both, flops, activations = fits_of(table(lambda f, a: 1e-3 + 2e-11 * f + 3e-10 * a))
    assert both.coefficients == pytest.approx((1e-3, 2e-11, 3e-10))
    assert both.new_max_error == pytest.approx(0, abs=1e-9)
    assert flops.median_error > 0.01
    assert activations.median_error > 0.01


def test_no_cost_makes_a_network_faster():
    fit = fit_latency(
        table(lambda f, a: 1e-3 + 5e-11 * f - 1e-10 * a).networks, ("flops", "activations")
    )
    assert min(fit.coefficients) >= 0


def test_each_network_is_predicted_from_the_others():
    """Against scipy's bounded least squares, fold by fold."""
    noise = iter([1.1, 0.9, 1.2, 1.0, 0.8, 1.05])
    networks = table(lambda f, a: (1e-3 + 2e-11 * f + 3e-10 * a) * next(noise)).networks
    x = np.array([[1, n.flops, n.activations] for n in networks]) * [1e-3, 1e-11, 1e-10]
    y = np.array([n.quiet for n in networks])
    errors = []
    for i in range(len(y)):
        rest = np.arange(len(y)) != i
        solved = lsq_linear(x[rest] / y[rest, None], np.ones(5), bounds=(0, np.inf), tol=1e-14)
        errors.append(abs(x[i] @ solved.x / y[i] - 1))
    fit = fit_latency(networks, ("flops", "activations"))
    assert fit.new_median_error == pytest.approx(np.median(errors), rel=1e-4)
    assert fit.new_max_error == pytest.approx(max(errors), rel=1e-4)


def test_a_file_predicts_and_says_where_it_was_measured(tmp_path):
    path = tmp_path / "latency.json"
    path.write_text(table(lambda f, a: 1e-3 + 2e-11 * f + 3e-10 * a).to_json())
    model = LatencyModel.from_file(path)
    assert model(Cost(10**9, 5, 10**7)) == pytest.approx(1e-3 + 2e-2 + 3e-3)
    assert "6 networks on an abacus, inference, batch 1, fp32" in model.describe()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version: input should be 1, but got 2"),
        ({"networks": []}, "a fit needs 5 networks of different costs or more, but there are 0"),
        ({"hardware": "x"}, "unknown key 'hardware'"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, change, message):
    data = json.loads(table(lambda f, _: 1e-9 * f).to_json())
    path = tmp_path / "latency.json"
    path.write_text(json.dumps({**data, **change}))
    with pytest.raises(InputError, match=message) as caught:
        LatencyModel.from_file(path)
    assert str(path) in str(caught.value)


def test_equal_networks_are_not_enough():
    networks = table(lambda f, _: 1e-9 * f).networks[:1] * 9
    with pytest.raises(InputError, match="of different costs or more, but there are 1"):
        fit_latency(networks, ("flops",))
