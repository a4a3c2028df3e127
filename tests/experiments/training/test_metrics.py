"""Metrics, tables a class and class weights against scikit-learn and torch; what a sheet shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as theirs

from experiments.config.recipe import TrainConfig
from experiments.training.augmentation import Preparation
from experiments.training.gradients import make_loss, weights_of
from experiments.training.judging import class_table, confused_pairs, never_predicted
from experiments.training.metrics import METRICS, confusion, metric_of
from experiments.training.sheets import _predicted, _seen
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


def test_class_weights_of_images_are_of_their_labels_and_cross_entropy_is_torchs(data):
    some = np.concatenate(
        [np.flatnonzero(data.train.labels == 0)[:5], np.flatnonzero(data.train.labels == 1)[:15]]
    )
    few = replace(data, train=data.train.take(some))
    recipe = TrainConfig(class_weights="inverse", label_smoothing=0)
    weights = weights_of(recipe, few)
    assert weights.tolist() == pytest.approx([2.0, 2 / 3])  # 20 / (2 * 5), 20 / (2 * 15)
    scores, labels = torch.from_numpy(SCORES[:, :2]), torch.from_numpy(TRUTH % 2)
    expected = torch.nn.CrossEntropyLoss(weight=weights.double())(scores, labels)
    assert torch.allclose(make_loss(recipe, weights.double())(scores, labels), expected)


def test_a_sheet_shows_what_the_network_saw(data):
    prepare = Preparation.of(data.statistics, resolution=5, device=torch.device("cpu"))
    shown, labels = _seen(data.test, [3, 1], prepare)
    raw = torch.from_numpy(data.test.images[[3, 1]]).float() / 255
    expected = F.interpolate(raw, size=(5, 5), mode="bilinear", antialias=True)
    assert torch.allclose(torch.from_numpy(shown).movedim(-1, 1), expected, atol=1e-5)
    assert labels.tolist() == data.test.labels[[3, 1]].tolist()


def test_a_sheet_computes_in_the_precision_of_the_training(data):
    dtypes = []
    layer = torch.nn.Conv2d(data.channels, 2, 1)
    layer.register_forward_hook(lambda *given: dtypes.append(given[2].dtype))
    prepare = Preparation.of(data.statistics, resolution=8, device=torch.device("cpu"))
    masks = np.zeros((len(data.test), *data.test.shape[1:]), dtype=np.uint8)
    part = replace(data.test, masks=masks)
    for precision in (None, torch.bfloat16):
        _predicted(layer, part, [0], prepare=prepare, precision=precision)
    assert dtypes == [torch.float32, torch.bfloat16]


def test_boxes_may_be_of_one_class_as_a_place_may_still_be_wrong():
    assert metric_of("auto", "detection", classes=1).name == "map50"
    with pytest.raises(InputError, match="at least 2 classes"):
        metric_of("auto", "segmentation", classes=1)
