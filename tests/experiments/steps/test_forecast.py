"""What a larger member will reach is told before it is trained, with an interval."""

import numpy as np
import pytest
from scipy.special import expit

from experiments import load_family
from experiments.benchmarks.forecast import RUNS, coverage, families
from experiments.steps.family import run_family
from experiments.steps.forecast import DEFAULT, Prior, forecast
from scaler import CompoundCoefficients


def line(flops):
    """Accuracies whose log-odds rise by 0.2 with each doubling."""
    return [(f, float(expit(1 + 0.2 * np.log2(f)))) for f in flops]


def test_members_on_a_line_are_continued_where_the_prior_says_nothing():
    open_prior = Prior(slope=0.0, slope_deviation=100.0, noise=0.01, sampling=0.0)
    told = forecast(line([1.0, 2.0]), 8.0, prior=open_prior)
    assert told.accuracy == pytest.approx(line([8.0])[0][1], abs=1e-4)
    assert told.low < told.accuracy < told.high


def test_the_interval_widens_with_the_distance_and_narrows_with_images():
    known = line([1e6, 2e6])
    near, far = (forecast(known, flops, images=500) for flops in (4e6, 64e6))
    assert far.high - far.low > near.high - near.low
    many = forecast(known, 4e6, images=50_000)
    assert many.high - many.low < near.high - near.low


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_an_accuracy_at_the_end_of_its_range_gives_an_interval_in_it(accuracy):
    told = forecast([(1e6, accuracy), (2e6, accuracy)], 4e6, images=100)
    assert 0 < told.low < told.accuracy < told.high < 1


def test_later_members_are_forecast_before_they_are_trained(config, by_hand, small, capsys):
    def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        return 0.8 + architecture.resolution / 1000

    family = config.family.replace(ratios=(2, 4, 8), tolerance=0.3)
    session = by_hand(config.replace(family=family), evaluate)
    session.folder.write_baseline(small, sizes=session.sizes)
    run_family(session, small, CompoundCoefficients())
    table = load_family(session.folder.path)
    assert table["forecast"].notna().tolist() == [False, False, True, True]
    later = table[2:]
    assert ((later.forecast_low < later.forecast) & (later.forecast < later.forecast_high)).all()
    told = f"validation accuracy {later.forecast.iloc[0]:.3f} expected"
    assert told in capsys.readouterr().err
    assert [study for study, _ in session.lengths] == ["family", "family"]


def test_the_intervals_hold_most_of_the_stored_members():
    rows = coverage(families(RUNS), lambda _: DEFAULT)
    every = next(row for row in rows if row["data"] == "all")
    assert float(every["inside"].rstrip("%")) >= 85
