import pandas as pd
import pytest
from matplotlib.figure import Figure

from experiments.report.figures import make_figures, write_figures
from experiments.report.pareto import pareto_front
from experiments.report.search_figures import draw_flops_accuracy
from experiments.report.tables import make_tables

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


def test_a_finished_run_has_a_figure_of_each_part(done):
    figures = make_figures(done.folder, make_tables(done.folder))
    assert set(figures) == {"flops_accuracy", "search_history", "coefficients", "family"}
    assert all(data.startswith(PNG) for data in figures.values())


def test_a_figure_that_is_no_longer_true_is_taken_away(done):
    figures = make_figures(done.folder, make_tables(done.folder))
    write_figures(done.folder, figures)
    del figures["family"]
    write_figures(done.folder, figures)
    assert not (done.folder.figures / "family.png").exists()
    assert (done.folder.figures / "search_history.png").read_bytes() == figures["search_history"]


def test_along_a_grey_line_the_reward_is_equal(searched):
    trials = make_tables(searched.folder)["trials"]
    section = searched.folder.config.search
    axes = Figure().add_subplot()
    draw_flops_accuracy(axes, trials[trials["state"] == "complete"], section=section)
    line = next(line for line in axes.lines if line.get_label() == "equal reward")
    rewards = line.get_ydata() * (line.get_xdata() / section.target) ** section.exponent
    assert rewards == pytest.approx(rewards[0])


def test_the_axis_is_the_objectives_cost(searched):
    trials = make_tables(searched.folder)["trials"]
    done = trials[trials["state"] == "complete"].assign(latency=0.0021)
    section = searched.folder.config.search.replace(cost="latency", target=0.002)
    axes = Figure().add_subplot()
    draw_flops_accuracy(axes, done, section=section)
    assert axes.get_xlabel() == "latency of a step"
    assert axes.get_title() == "Search: accuracy against latency"
    low, high = axes.get_xlim()
    assert low < 0.002 < 0.0021 < high
    assert any(line.get_label() == "target T = 2 ms" for line in axes.lines)
