"""Metrics and tables a class against scikit-learn, and the metrics that data cannot have."""

import numpy as np
import pytest
import torch
from sklearn import metrics as theirs

from experiments.training.judging import class_table, confused_pairs, never_predicted
from experiments.training.metrics import METRICS, confusion, metric_of
from search_spaces import InputError

DRAW = np.random.RandomState(0)
SCORES = DRAW.rand(200, 9)
SCORES[:, 4] = 0  # never predicted
TRUTH = DRAW.randint(0, 8, 200)  # class 8 does not occur
SCORES[np.arange(200), TRUTH] += 0.4
TOLD = SCORES.argmax(1)
NAMES = tuple("abcdefghi")


def matrix(first=1):
    return confusion(torch.from_numpy(SCORES), torch.from_numpy(TRUTH), first=first)


@pytest.mark.filterwarnings("ignore")  # theirs speaks of classes without a label
def test_metrics_of_images_are_scikit_learns():
    names = ("accuracy", "balanced_accuracy", "macro_f1", "top5")
    ours = {name: METRICS[name].of(matrix(METRICS[name].first)) for name in names}
    assert ours["accuracy"] == pytest.approx(theirs.accuracy_score(TRUTH, TOLD))
    assert ours["balanced_accuracy"] == pytest.approx(theirs.balanced_accuracy_score(TRUTH, TOLD))
    assert ours["macro_f1"] == pytest.approx(theirs.f1_score(TRUTH, TOLD, average="macro"))
    expected = theirs.top_k_accuracy_score(TRUTH, SCORES, k=5, labels=range(9))
    assert ours["top5"] == pytest.approx(expected)
    assert ours["top5"] > ours["accuracy"]


def test_metrics_of_pixels_are_scikit_learns():
    assert METRICS["dice"].of(matrix()) == pytest.approx(
        theirs.f1_score(TRUTH, TOLD, average="macro")
    )
    assert METRICS["miou"].of(matrix()) == pytest.approx(
        theirs.jaccard_score(TRUTH, TOLD, average="macro")
    )


def test_the_table_a_class_is_scikit_learns():
    table = class_table(matrix(), NAMES, "classification")
    expected = theirs.precision_recall_fscore_support(
        TRUTH, TOLD, labels=range(9), zero_division=np.nan
    )
    for name, values in zip(("precision", "recall", "f1", "images"), expected, strict=True):
        there = ~np.isnan(values)  # theirs calls the F1 of a class that is never told 0, as we do
        assert table[name].to_numpy()[there] == pytest.approx(values[there])
    assert table["class"].tolist() == list(NAMES)


def test_a_class_that_is_never_predicted_is_said_and_one_that_does_not_occur_is_not():
    table = class_table(matrix(), NAMES, "classification")
    said = never_predicted(table)
    missed = [NAMES[c] for c in range(8) if c not in set(TOLD)]
    assert missed
    verb = "is" if len(missed) == 1 else "are"
    assert said == f"{len(missed)} of 8 classes {verb} never predicted: {', '.join(missed)}."
    assert never_predicted(table[~table["class"].isin(missed)]) == ""


def test_who_is_taken_for_whom_holds_the_whole_matrix():
    pairs = confused_pairs(matrix(), NAMES)
    assert pairs["count"].sum() == 200
    assert (pairs["count"] > 0).all()
    expected = theirs.confusion_matrix(TRUTH, TOLD, labels=range(9))
    found = {(t, p): n for t, p, n in pairs.itertuples(index=False)}
    assert found == {
        (NAMES[t], NAMES[p]): expected[t, p] for t, p in zip(*np.nonzero(expected), strict=True)
    }


def test_top_5_of_five_classes_is_refused():
    with pytest.raises(InputError, match="top5 needs at least 6 classes, but the data have 5"):
        metric_of("top5", "classification", classes=5)
    assert metric_of("top5", "classification", classes=6).label == "top-5 accuracy"
