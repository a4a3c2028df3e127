"""Detectors: boxes move with their images, mean average precision, and a short training."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from experiments.config.recipe import Augmentation, TrainConfig
from experiments.config.schema import DataConfig
from experiments.data.boxes import Boxes
from experiments.data.images import ImageData, Split
from experiments.training import detection
from experiments.training.augmentation import draw_crops, draw_moves, vary
from experiments.training.checkpoint import TrainingState, read_metadata
from experiments.training.detection import SURE, average_precision, best_score, f1_of
from experiments.training.moving import Moves, crop_boxes, move_boxes, targets_of
from experiments.training.training import Training, check_space
from experiments.training.trial import TrainingEvaluation
from search_spaces import Architecture, InputError, SearchSpace

SIDE = 32
_MBCONV = {"kind": "mbconv", "expand_ratio": 2, "kernel_size": 3, "se_ratio": 0}
DETECTOR = Architecture.parse(
    {
        "name": "tiny",
        "resolution": SIDE,
        "stem": {"channels": 8, "stride": 2, "block": {"kind": "conv", "kernel_size": 3}},
        "stages": [
            {"channels": 16, "layers": 1, "stride": 2, "block": _MBCONV},
            {"channels": 32, "layers": 1, "stride": 2, "block": _MBCONV},
        ],
        "head": {
            "kind": "fpn",
            "channels": 32,
            "levels": [4, 8],
            "predictor": {"kind": "points", "layers": 1, "score_threshold": 0.05},
        },
        "conventions": {"batch_norm_momentum": 0.1},
    },
    source="tiny",
)


def batch(count=16, *, seed=0):
    """uint8 images, and four boxes in each, one of them missing in every second."""
    draws = np.random.default_rng(seed)
    images = torch.from_numpy(draws.integers(0, 256, (count, 3, SIDE, SIDE), dtype=np.uint8))
    first = draws.uniform(0, SIDE - 8, (count, 4, 2))
    corners = np.concatenate([first, first + draws.uniform(2, 8, (count, 4, 2))], axis=2)
    classes = draws.integers(0, 2, (count, 4, 1))
    classes[::2, 3] = -1
    return images, torch.from_numpy(np.concatenate([corners, classes], axis=2)).float()


def seen(boxes, *, number):
    """The boxes of one image after SanitizeBoundingBoxes, as torchvision has them."""
    told = targets_of(boxes)[number]
    return tv_tensors.BoundingBoxes(told["boxes"], format="XYXY", canvas_size=(SIDE, SIDE))


def kept(before, after, *, scale=1.0):
    """Of v2's boxes those of which more than a tenth is left; `before` are not clipped."""
    clipped = F.clamp_bounding_boxes(after)
    area = (clipped[:, 2:] - clipped[:, :2]).prod(1)
    whole = (before[:, 2:] - before[:, :2]).prod(1) * scale
    return clipped[area > 0.1 * whole]


def test_cropped_boxes_lie_where_torchvision_puts_them():
    images, boxes = batch()
    crops = draw_crops(images, least=0.2, generator=torch.Generator().manual_seed(1))
    own = targets_of(crop_boxes(boxes, crops, height=SIDE, width=SIDE))
    for number, (top, left, tall, wide) in enumerate(crops.tolist()):
        before = seen(boxes, number=number)
        cut = before.as_subclass(torch.Tensor) - torch.tensor([left, top, left, top])
        factor = torch.tensor([SIDE / wide, SIDE / tall] * 2)
        free = tv_tensors.BoundingBoxes(cut * factor, format="XYXY", canvas_size=(SIDE, SIDE))
        expected = kept(before, free, scale=SIDE * SIDE / wide / tall)
        theirs = v2.functional.resized_crop(before, top, left, tall, wide, [SIDE, SIDE])
        assert torch.allclose(F.clamp_bounding_boxes(free), theirs, atol=1e-3)
        assert torch.allclose(own[number]["boxes"], expected, atol=1e-3)


def test_moved_and_mirrored_boxes_lie_where_torchvision_puts_them():
    images, boxes = batch()
    settings = Augmentation(flip=True, crop_padding=6, translate=0.1)
    moves = draw_moves(images, settings, generator=torch.Generator().manual_seed(2))
    own = targets_of(move_boxes(boxes, moves, height=SIDE, width=SIDE))
    for number in range(len(images)):
        before = seen(boxes, number=number)
        down, right = int(moves.down[number]), int(moves.right[number])
        after = v2.functional.crop(F.pad(before, [16] * 4), 16 - down, 16 - right, SIDE, SIDE)
        if moves.mirrored[number]:
            after = F.horizontal_flip(after)
        expected = kept(before, after)
        assert torch.allclose(own[number]["boxes"], expected, atol=1e-4)


def test_a_bright_square_stays_in_its_box_whatever_is_drawn():
    images, boxes = torch.zeros((64, 3, SIDE, SIDE), dtype=torch.uint8), torch.zeros((64, 1, 5))
    images[:, :, 8:20, 4:12], boxes[:, 0, :4] = 255, torch.tensor([4.0, 8.0, 12.0, 20.0])
    settings = Augmentation(random_resized_crop=0.5, crop_padding=5, translate=0.1)
    generator = torch.Generator().manual_seed(3)
    varied, moved = vary(images, boxes, augmentation=settings, generator=generator)
    for image, told in zip(varied, targets_of(moved), strict=True):
        rows, columns = torch.nonzero(image[0] > 127, as_tuple=True)
        if not len(told["boxes"]):
            assert len(rows) <= 12
            continue
        bounds = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert (told["boxes"][0] - bounds).abs().max() <= 1


def test_boxes_of_which_little_is_left_are_dropped():
    boxes = torch.tensor([[[-9.5, 0, 0.5, 10, 1], [-8, 0, 2, 10, 1], [5, 5, 5, 9, -1]]])
    still = torch.zeros((1, 1), dtype=torch.int64)
    moves = Moves(still, still, still == 1, most=(0, 0))
    assert targets_of(move_boxes(boxes, moves, height=SIDE, width=SIDE))[0]["boxes"].tolist() == [
        [0, 0, 2, 10]
    ]


def one(*boxes, labels=None, scores=None):
    found = {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels or [0] * len(boxes)),
    }
    return found if scores is None else {**found, "scores": torch.tensor(scores)}


def test_average_precision_by_hand():
    truth = one([0, 0, 10, 10], [20, 20, 30, 30], [0, 20, 10, 30], labels=[0, 0, 1])
    # One of two of class 0 at an IoU of 0.9, one wrong of a lower score; class 1 is not found.
    told = one([0, 0, 10, 9], [40, 40, 50, 50], labels=[0, 0], scores=[0.9, 0.8])
    found = average_precision([(truth, told)], num_classes=3)
    half = 51 / 101  # precision 1 at the recalls 0, 0.01 to 0.5
    assert found[0].tolist()[:2] == pytest.approx([half, 0])
    assert found[1].tolist()[:2] == pytest.approx([0.9 * half, 0])  # of ten IoUs nine are met
    assert found[:, 2].isnan().all()
    nothing = average_precision([(one(), told)], num_classes=2)
    assert nothing.isnan().all()


def test_the_f1_of_an_image_counts_each_box_once():
    truth = one([0, 0, 10, 10], [20, 20, 30, 30], labels=[0, 1])
    told = one([0, 0, 10, 9], [0, 0, 9, 10], [20, 20, 30, 30], [20, 20, 30, 30],
               labels=[0, 0, 0, 1], scores=[0.9, 0.8, 0.7, 0.1])  # fmt: skip
    # The second is twice, the third another's.
    assert f1_of(truth, told, score=0.3) == pytest.approx(2 / 5)
    assert f1_of(truth, told, score=0.1) == pytest.approx(4 / 6)
    assert f1_of(one(), one(scores=[]), score=0.3) == 1
    assert f1_of(truth, one(scores=[]), score=0.3) == 0


def test_the_best_score_is_that_of_the_best_f1_over_all_images():
    first, second = ([0, 0, 10, 10], [20, 20, 30, 30])
    truth = one(first, second, labels=[0, 1])
    far = [50, 50, 60, 60]
    told = one(first, second, far, far, labels=[0, 1, 0, 1], scores=[0.945, 0.267, 0.15, 0.1])
    assert best_score([(truth, told)]) == 0.26  # both and nothing else: F1 1
    many = [(one(), one(far, labels=[0], scores=[0.5]))] * 4
    assert best_score([(truth, told), *many]) == 0.94  # 2 / 3; down to the second it is 4 / 8
    assert best_score([(truth, one(scores=[]))]) == best_score([]) == SURE


def test_without_torchmetrics_the_error_names_the_way_out(monkeypatch):
    monkeypatch.setattr(detection, "find_spec", lambda _: None)
    with pytest.raises(
        InputError,
        match=r"torchmetrics is not installed; run `pip install 'scaler-nas\[detection\]'",
    ):
        detection.check_metric()


def squares(count, *, seed):
    """Dark pictures with one bright square each, red or blue."""
    draws = np.random.default_rng(seed)
    images = draws.integers(0, 40, (count, 3, SIDE, SIDE), dtype=np.uint8)
    corners, classes = [], []
    for image in images:
        (x, y), side, label = draws.integers(0, 18, 2), draws.integers(8, 14), draws.integers(2)
        image[2 * label, y : y + side, x : x + side] = 230
        corners.append(np.array([[x, y, x + side, y + side]]))
        classes.append(np.array([label]))
    return Split(images, np.zeros(count, dtype=np.int64), boxes=Boxes.of(corners, classes))


@pytest.fixture(scope="module")
def training():
    parts = {"train": squares(96, seed=0), "validation": squares(24, seed=1)}
    return Training(
        architecture=DETECTOR,
        data=ImageData("squares", ("red", "blue"), **parts, test=parts["validation"],
                       fingerprint="squares"),
        data_config=DataConfig(),
        config=TrainConfig(optimizer="adamw", learning_rate=0.01, batch_size=16, epsilon=1e-8,
                           label_smoothing=0, layout="contiguous", ema_decay=0.8),
        epochs=6,
        seed=0,
    )  # fmt: skip


def test_a_detector_learns_squares_and_goes_on_as_if_never_stopped(training):
    results = list(training.run())
    accuracies = [result.accuracy for result in results]
    assert accuracies[-1] > 0.6
    assert training.test(results[-1].network) == pytest.approx(accuracies[-1])
    assert results[0].train_accuracy is None
    first = next(iter(training.run()))
    state: TrainingState = first.state()
    second = next(iter(training.run(state=state)))
    assert second.accuracy == accuracies[1]
    assert second.train_loss == results[1].train_loss


def test_a_trial_of_a_detector_keeps_its_best_weights_and_tests_them(training, tmp_path):
    evaluation = TrainingEvaluation(
        training.data, training.data_config, training.config, epochs=3, final=True
    )
    told = {}
    figures = evaluation(
        training.architecture,
        report=lambda epoch, accuracy, more=None: told.update({epoch: (accuracy, more)}),
        seed=0,
        checkpoint_dir=tmp_path,
    )
    assert figures["accuracy"] == max(accuracy for accuracy, _ in told.values())
    assert figures["test_accuracy"] == pytest.approx(figures["accuracy"])  # the same images
    assert set(told[1][1]) == {"train_loss"}
    facts = read_metadata(tmp_path / "weights.safetensors")
    table = pd.read_csv(tmp_path / "classes.csv")
    assert table["ap50"].mean() == pytest.approx(figures["test_accuracy"])
    curves = pd.read_csv(tmp_path / "precision_recall.csv").groupby("class")["precision"]
    assert curves.count().tolist() == [101, 101]
    assert curves.mean()[table["class"]].tolist() == pytest.approx(table["ap50"].tolist())
    assert (facts["metric"], facts["fit"], facts["classes"]) == ("map50", "pad", ["red", "blue"])
    assert 0 <= facts["score"] == round(facts["score"], 2) < 1


def test_what_boxes_cannot_do_is_refused(training):
    config = training.config.replace(augmentation=Augmentation(mixup=0.2, cutout=0.3))
    with pytest.raises(InputError, match="cutout and mixup cannot be used with boxes"):
        replace(training, config=config)
    with pytest.raises(InputError, match=r"train\.metric dice is for segmentation"):
        replace(training, config=training.config.replace(metric="dice"))
    with pytest.raises(InputError, match=r"train\.loss focal"):
        replace(training, config=training.config.replace(loss="focal"))


def test_regions_that_no_data_hold_are_refused_before_a_search(training):
    given = {"kind": "given", "widths": [8]}
    head = DETECTOR.head.model_dump()
    architecture = DETECTOR.replace(head={**head, "predictor": given})
    with pytest.raises(InputError, match="a head of 'tiny' needs regions from the caller, and"):
        replace(training, architecture=architecture)
    tree = DETECTOR.model_dump(mode="json", exclude={"name"})
    tree["head"]["predictor"] = {"choice": [tree["head"]["predictor"], given]}
    space = SearchSpace("own", tree)
    with pytest.raises(InputError, match="a head of 'own' needs regions from the caller, and"):
        check_space(space, training.config, training.data, varied=Augmentation())
