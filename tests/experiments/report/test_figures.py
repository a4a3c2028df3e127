import math
from xml.etree import ElementTree

import pandas as pd
import pytest

from experiments import load_curves, load_trials
from experiments.report.analysis.trials import pareto_front
from experiments.report.charts.chart import Axis, Chart, Marks, readable_number
from experiments.report.charts.drawing import draw
from experiments.report.charts.growth import surface
from experiments.report.charts.interactive import to_plotly
from experiments.report.charts.network import layers_table
from experiments.report.charts.search import flops_accuracy, learning_curves, limits_accuracy
from experiments.report.figures import make_figures, write_figures
from experiments.report.scaling_figure import scaling, trained_accuracies
from experiments.report.tables import make_analysis, make_tables
from experiments.store.trial import Candidate, Trial
from scaler import Cost, measure_cost

PNG = b"\x89PNG\r\n\x1a\n"


def test_the_pareto_front_of_six_trials_worked_out_by_hand():
    trials = pd.DataFrame(
        {
            "flops": [10, 20, 20, 30, 40, 50],
            "accuracy": [0.5, 0.7, 0.6, 0.7, 0.9, None],
        }
    )
    front = pareto_front(trials)
    assert front.index.tolist() == [0, 1, 4]  # 2 and 3 cost as much and more, for no more


def test_no_trial_of_the_front_is_beaten_and_every_other_is():
    trials = pd.DataFrame({"flops": [7, 3, 5, 5, 9, 1], "accuracy": [0.8, 0.2, 0.6, 0.6, 0.7, 0.1]})
    front = pareto_front(trials)
    assert front["flops"].is_monotonic_increasing
    for i, trial in trials.iterrows():
        rivals = front[
            (front["flops"] <= trial["flops"]) & (front["accuracy"] >= trial["accuracy"])
        ]
        assert (rivals.index.tolist() == [i]) == (i in front.index)


@pytest.mark.parametrize(("epochs", "tick"), [(4, 1), (60, None)])
def test_a_few_whole_numbers_have_a_tick_each_and_none_between(epochs, tick):
    curve = Marks("line", [1, math.nan, epochs], [0.1, math.nan, 0.2])
    chart = Chart("curves", Axis("epoch", whole=True), Axis(), (curve,))
    assert to_plotly(chart)["layout"]["xaxis"].get("dtick") == tick


def all_tables(run):
    tables = make_tables(run.folder)
    return tables | make_analysis(run.folder, tables["trials"])


def test_a_finished_run_has_a_figure_of_each_part(done):
    figures = make_figures(done.folder, all_tables(done))
    search = ["overview", "search_history", "flops_accuracy", "learning_curves"]
    assert list(figures) == [*search, "baseline", "surface", "coefficients", "family", "costs"]


def test_a_figure_is_a_png_and_an_svg_and_the_same_each_time(done):
    figure = make_figures(done.folder, all_tables(done))["family"]
    files = draw(figure)
    assert files["png"].startswith(PNG)
    assert ElementTree.fromstring(files["svg"]).tag.endswith("svg")
    assert draw(figure) == files


def test_a_figure_that_is_no_longer_true_is_taken_away(done):
    files = {"png": b"p", "svg": b"s"}
    write_figures(done.folder.figures, {"family": files, "costs": files})
    write_figures(done.folder.figures, {"costs": files})
    assert {f.name for f in done.folder.figures.iterdir()} == {"costs.png", "costs.svg"}
    assert (done.folder.figures / "costs.svg").read_bytes() == b"s"


def test_along_a_grey_line_the_reward_is_equal(searched):
    trials = make_tables(searched.folder)["trials"]
    section = searched.folder.config.search
    (chart,) = flops_accuracy(
        trials[trials["state"] == "complete"], section=section, metric="accuracy"
    ).panels
    line = next(marks for marks in chart.marks if marks.name == "equal reward")
    rewards = line.y * (line.x / section.known_target) ** section.known_exponent
    assert rewards == pytest.approx(rewards[0])
    level = next(float(note.text) for note in chart.notes)
    assert rewards[0] == pytest.approx(level, rel=1e-3)


def test_the_axis_is_the_objectives_cost(searched):
    trials = make_tables(searched.folder)["trials"]
    done = trials[trials["state"] == "complete"].assign(latency=0.0021)
    section = searched.folder.config.search.replace(cost="latency", target=0.002)
    (chart,) = flops_accuracy(done, section=section, metric="accuracy").panels
    assert chart.x.label == "latency of a step, in seconds"
    assert chart.title == "Search: accuracy against latency"
    low, high = chart.x.limits
    assert low < 0.002 < 0.0021 < high
    assert chart.rules == (("x", 0.002, "target T = 2 ms"),)


def test_ram_and_flash_stand_against_accuracy_with_their_limits(searched):
    trials = make_tables(searched.folder)["trials"].dropna(subset=["accuracy"])
    trials = trials.assign(peak_ram=40_000, flash=90_000)
    section = searched.folder.config.search.replace(max_peak_ram="48KiB")
    how = {"metric": "accuracy", "baseline": trials["key"].iloc[0]}
    (chart,) = limits_accuracy(trials, section=section, **how).panels
    assert chart.rules == (("x", 49_152, "limit: 48 KiB"),)
    assert chart.x.limits[0] < 40_000 < 49_152 < chart.x.limits[1]
    names = [marks.name for marks in chart.marks]
    assert names == ["stopped early (1)", "finished (1)", "Pareto front", "the baseline"]
    assert limits_accuracy(trials, section=searched.folder.config.search, **how) is None


def test_the_points_of_the_search_carry_their_trials_numbers(searched):
    figures = make_figures(searched.folder, all_tables(searched))
    marks = {m.name: m for m in figures["flops_accuracy"].panels[0].marks}
    assert marks["finished (1)"].numbers == [0]
    assert marks["stopped early (1)"].numbers == [1]


def test_curves_of_stopped_trials_are_grey_and_parted(sampled):
    trials = load_trials(sampled.path)
    (chart,) = learning_curves(trials, load_curves(sampled.path), metric="accuracy").panels
    stopped, finished, best = chart.marks
    assert (stopped.colour, stopped.name) == ("grey", "stopped early (20)")
    assert sum(math.isnan(x) for x in finished.x) == 40
    assert max(y for y in best.y if not math.isnan(y)) > 0.69


def test_a_direction_lies_where_its_growth_goes(repeated):
    table = make_tables(repeated.folder)["coefficients"].head(3)
    table = table.assign(alpha=[2.0, 1.0, 1.0], beta=[1.0, 2**0.5, 1.0], gamma=[1.0, 1.0, 2**0.5])
    (chart,) = surface(table, winner=True, metric="accuracy").panels
    dots = next(marks for marks in chart.marks if marks.values is not None)
    assert list(dots.x) == pytest.approx([0, 1, 0.5])
    assert list(dots.y) == pytest.approx([0, 0, 0.75**0.5])


def test_the_layers_of_the_drawing_add_up_to_the_network(small):
    layers = layers_table(small, num_classes=10, in_channels=1)
    assert layers["stage"].tolist() == ["stem", "0", "0", "1", "1", "head"]
    assert layers["output_resolution"].tolist() == [16, 16, 16, 8, 8, 8]
    assert layers["flops"].sum() == measure_cost(small, num_classes=10, in_channels=1).flops


def test_the_family_stands_beside_the_published_line(done):
    figures = make_figures(done.folder, all_tables(done))
    theirs, ours = figures["family"].panels[1].marks
    assert len(theirs.x) == 8
    assert (theirs.x[0], theirs.y[0]) == (1, 1)
    assert theirs.y[-1] == pytest.approx((100 - 84.26) / (100 - 77.11))
    assert list(ours.x) == pytest.approx([1, 2.1])
    assert list(ours.y) == pytest.approx([1, 0.9])  # test errors of 0.10 and 0.09


@pytest.mark.parametrize(
    ("value", "format", "text"),
    [
        (846_336, ".3s", "846k"),
        (1.5e6, ".3s", "1.5M"),
        (0.025, ".1~%", "2.5%"),
        (0.1, ".1~%", "10%"),
    ],
)
def test_numbers_are_written_as_plotly_writes_them(value, format, text):  # noqa: A002
    assert readable_number(value, format) == text


@pytest.mark.parametrize("tested", [True, False])
def test_a_family_is_drawn_with_means_of_one_part(small, tested, by_hand, config):
    other = small.replace(head={"channels": 64})
    store = by_hand(config, None).store
    for network, accuracy, test in ((small, 0.5, 0.3), (small, 0.7, 0.4), (other, 0.9, None)):
        extra = {"test_accuracy": test} if tested and test else {}
        trial = Trial(Candidate(network, Cost(1, 1, 1), seed=0, suggestion=0))
        store.record("family", trial.ended("complete", accuracy, extra=extra).frozen())
    store.finish()
    seen = trained_accuracies(config.run)
    wanted = {small.key: 0.35} if tested else {small.key: 0.6, other.key: 0.9}
    assert {key: each.mean for key, each in seen.items()} == pytest.approx(wanted)
    bars = drawn_bars([small, other], seen)
    assert bars == ([(0.3, 0.4)] if tested else [(0.5, 0.7)])


def drawn_bars(networks, seen):
    """The intervals in the panel of accuracy."""
    rows = [
        {"baseline": "b", "flops": flops, "params": 1, "activations": 1}
        | dict(zip(("accuracy", "least", "most"), seen.get(n.key, [float("nan")] * 3), strict=True))
        for flops, n in enumerate(networks, start=1)
    ]
    panel = scaling(pd.DataFrame(rows), trained=True).panels[0]
    return [
        span for m in panel.marks if m.low is not None for span in zip(m.low, m.high, strict=True)
    ]
