"""What networks told of each class, in the report; and each trial's choices as a line."""

import base64

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.report.by_class import _one, look_by_class
from experiments.report.charts import classes
from experiments.report.charts.drawing import draw
from experiments.report.charts.parallel import parallel
from experiments.report.report import write_report
from experiments.report.tables import make_tables
from experiments.training.judging import class_table, confused_pairs, curve_table
from tests.experiments.report.conftest import PIXEL

NAMES = ("1", "NA", "<b>")  # text, whatever pandas would make of it
MATRIX = torch.tensor([[3, 1, 0], [2, 2, 0], [1, 3, 0]])


def leave(run, member, *, part="test", sheet=False):
    """What a training leaves beside its weights."""
    folder = run.folder.checkpoints / member
    folder.mkdir(parents=True)
    table, pairs = class_table(MATRIX, NAMES, "classification"), confused_pairs(MATRIX, NAMES)
    table.assign(part=part).to_csv(folder / "classes.csv", index=False)
    pairs.assign(part=part).to_csv(folder / "confusion.csv", index=False)
    if sheet:
        (folder / "sheet.png").write_bytes(base64.b64decode(PIXEL))


@pytest.mark.usefixtures("blank")
def test_the_page_shows_the_best_member_and_says_which_class_no_member_predicts(done):
    for member in ("hand_b0", "hand_b1"):
        leave(done, member, sheet=True)
    page = write_report(done.folder).read_text()
    assert "hand_b1: 1 of 3 classes is never predicted: &lt;b&gt;." in page
    assert "hand_b0 on the test part, class by class" in page  # equal in accuracy, and cheaper
    assert f'class="sheet" src="data:image/png;base64,{PIXEL}' in page
    assert 'id="plot-confusion-0"' in page
    kept = pd.read_csv(done.folder.tables / "mistakes.csv", keep_default_na=False)
    first = kept.iloc[0]
    assert (first["truth"], first["prediction"], first["count"]) == ("<b>", "NA", 3)
    assert first["share"] == pytest.approx(0.75)


def test_before_a_family_the_confirmed_networks_seeds_count_together(repeated):
    for seed in range(2):
        name = f"again-{seed}"
        attributes = {"contender": "#1", "round": 3, "search_reward": 0.95, "member": name}
        repeated.record("confirmation", accuracy=0.9, channels=40, attributes=attributes)
        leave(repeated, name, part="validation")
    told = look_by_class(repeated.folder, make_tables(repeated.folder))
    assert (told.name, told.part) == ("#1, 2 seeds together", "validation")
    assert told.table["images"].tolist() == [8, 8, 8]
    assert told.table["recall"].tolist() == pytest.approx([3 / 4, 2 / 4, 0])
    assert told.told == ("#1: 1 of 3 classes is never predicted: <b>.",)


def test_of_boxes_the_seeds_average_precisions_are_a_mean(tmp_path):
    for member, found in (("one", 0.1), ("two", 0.9)):
        (tmp_path / member).mkdir()
        rows = {"class": ["red", "1"], "boxes": [4, 2], "ap50": [found, 0.5], "part": "validation"}
        pd.DataFrame(rows).to_csv(tmp_path / member / "classes.csv", index=False)
        curve = {"class": ["red", "red", "1"], "recall": [0.0, 0.01, 0.0], "part": "validation"}
        curve["precision"] = [found, 0.0, 0.5]
        pd.DataFrame(curve).to_csv(tmp_path / member / "precision_recall.csv", index=False)
    told = _one(tmp_path, ["one", "two"], "#3, 2 seeds together", [])
    assert told.table["class"].tolist() == ["red", "1"]
    assert told.table["ap50"].tolist() == [0.5, 0.5]
    assert told.curves.to_numpy().tolist() == [["red", 0, 0.5], ["red", 0.01, 0], ["1", 0, 0.5]]


def curved(count):
    """The table and the curves of so many classes, which find more and more of their boxes."""
    names = tuple(f"c{i}" for i in range(count))
    found = torch.linspace(0, 1, 101)[:, None] <= torch.arange(count) / count
    precision = 0.9 * found.double()
    table = class_table(torch.stack([precision.mean(0)] * 2), names, "detection")
    return table, curve_table(precision, names)


def test_a_class_of_boxes_has_a_curve_that_ends_where_no_more_is_found():
    table, curves = curved(4)
    (chart,) = classes.precision_recall(curves, table, name="net", part="test").panels
    ends = [(marks.x[-1], marks.y[-2], marks.y[-1]) for marks in chart.marks]
    own = [(0.25 * i, 0.9, 0) for i in range(4)]
    assert ends == [pytest.approx(one) for one in [*own, (0.75, 0.225, 0)]]
    assert [marks.name for marks in chart.marks][-2:] == [
        "c3, AP50 0.68", "mean of all 4 classes, mAP50 0.34"]  # fmt: skip
    figure = classes.precision_recall(*curved(40)[::-1], name="net", part="test")
    assert len(figure.panels[0].marks) == classes.CURVES + 1
    assert "Of 40 classes the 12 of the lowest AP50 are drawn." in figure.caption
    assert draw(figure)["png"][:4] == b"\x89PNG"


@pytest.mark.usefixtures("blank")
def test_the_page_of_a_detector_shows_its_curves_and_its_boxes(done):
    folder = done.folder.checkpoints / "hand_b0"
    folder.mkdir(parents=True)
    table, curves = curved(2)
    table.assign(part="test").to_csv(folder / "classes.csv", index=False)
    curves.assign(part="test").to_csv(folder / "precision_recall.csv", index=False)
    (folder / "sheet.png").write_bytes(base64.b64decode(PIXEL))
    page = write_report(done.folder).read_text()
    assert 'id="plot-precision_recall-0"' in page
    assert "<h3>Boxes</h3>" in page
    assert "worst by the F1 of the image alone" in page
    assert "Predicted is how often" not in page


def test_a_run_without_such_files_has_no_classes(done):
    assert look_by_class(done.folder, make_tables(done.folder)) is None


def test_of_very_many_classes_those_told_worst_are_drawn_and_it_is_said():
    matrix = torch.diag(torch.full((1000,), 5))
    matrix[990:, 0] = 7
    names = tuple(f"c{i}" for i in range(1000))
    table, pairs = class_table(matrix, names, "classification"), confused_pairs(matrix, names)
    assert len(pairs) == 1010
    figure = classes.confusion_map(pairs, table, name="net", part="test")
    (chart,) = figure.panels
    shown = {text for _, text in chart.y.ticks}
    assert len(shown) == classes.MOST
    assert shown >= {"c0", *names[990:]}
    assert "Of 1000 classes the 30 that are told worst are drawn." in figure.caption


def test_a_line_goes_through_each_trials_choices_and_what_does_not_differ_is_left_out():
    columns = {"number": [0, 1, 2], "accuracy": [0.2, 0.8, 0.5]}
    trials = pd.DataFrame({**columns, "a": [3, 5, 7], "b": ["x", None, "x"], "same": [1, 1, 1]})
    figure = parallel(trials, order=["a", "same", "b"], metric="Dice")
    (chart,) = figure.panels
    assert [text for _, text in chart.x.ticks] == ["a", "b", "Dice"]
    lines = [m for m in chart.marks if m.name]
    assert [m.name for m in lines] == [f"Dice {v} to {v} (1)" for v in ("0.200", "0.500", "0.800")]
    assert np.allclose([m.y[:3] for m in lines], [[0, 1, 0], [1, 1, 0.5], [0.5, 0, 1]])
    assert "3 trials say little" in figure.caption
    assert draw(figure)["png"][:4] == b"\x89PNG"
    assert parallel(trials, order=["same"], metric="Dice") is None
