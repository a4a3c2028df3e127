"""Detectors: the boxes and losses are torchvision's, what training is given, what is refused."""

import copy

import pytest
import torch
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList

from search_spaces import Architecture, InputError, build_network, load_architecture, load_space
from tests.search_spaces.test_heads import random_statistics, taught

CLASSES = 5
TARGETS = [
    {
        "boxes": torch.tensor([[10.0, 10, 60, 50], [40, 30, 64, 60]]),
        "labels": torch.tensor([0, 4]),
    },
    {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
]


class AsTheyAre(nn.Module):
    """In place of torchvision's transform: no resizing, no normalisation."""

    def forward(self, images, targets=None):
        size = (images.shape[-2], images.shape[-1])
        return ImageList(images, [size] * len(images)), targets

    def postprocess(self, found, *_):
        return found


def pair(name, classes=CLASSES, background=0, **options):
    """Our network and torchvision's, with the same weights."""
    torch.manual_seed(0)
    make = getattr(detection, name)
    oracle = make(weights=None, weights_backbone=None, num_classes=classes + background, **options)
    oracle = random_statistics(oracle)
    oracle.transform = AsTheyAre()
    return taught(build_network(load_architecture(name), num_classes=classes), oracle), oracle


def small(seed=0, **changes):
    member = load_space("mbconv_detect").at(64).members(1, seed=seed)[0]
    return member.replace(**changes)


@torch.no_grad()
def test_with_the_same_weights_fcos_finds_torchvisions_boxes_and_has_its_losses():
    network, oracle = pair("fcos_resnet50_fpn")
    network.head.detector.score_thresh = oracle.score_thresh = 0.0
    x = torch.randn(2, 3, 64, 96)
    for mine, theirs in zip(network(x), oracle(x), strict=True):
        assert len(theirs["boxes"]) > 20
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert network.train()(x, TARGETS) == oracle.train()(x, TARGETS)


def test_a_fresh_detector_scores_every_class_at_one_in_a_hundred():
    network = build_network(small(), num_classes=3).eval()
    scores = network.raw(torch.randn(1, 3, 64, 64))["cls_logits"].sigmoid()
    assert scores.mean().item() == pytest.approx(0.01, rel=0.1)


def test_a_step_of_training_lowers_the_losses_of_images_with_and_without_boxes():
    torch.manual_seed(0)
    network = build_network(small(), num_classes=CLASSES).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    x, sums = torch.randn(2, 3, 64, 64), []
    for _ in range(12):
        losses = sum(network(x, TARGETS).values())
        optimizer.zero_grad()
        losses.backward()
        optimizer.step()
        sums.append(losses.item())
    assert sums[-1] < 0.8 * sums[0]
    assert all(p.grad is not None for p in network.parameters())


@torch.no_grad()
def test_a_copy_of_a_detector_finds_what_it_finds():
    network = build_network(small(), num_classes=CLASSES).eval()
    network.head.detector.score_thresh = 0.0
    x = torch.randn(1, 3, 64, 64)
    other = copy.deepcopy(network)
    for weight in network.parameters():
        weight.zero_()
    again = build_network(small(), num_classes=CLASSES).eval()
    again.load_state_dict(other.state_dict())
    again.head.detector.score_thresh = 0.0
    assert torch.equal(other(x)[0]["boxes"], again(x)[0]["boxes"])


def test_training_without_targets_is_refused():
    network = build_network(small(), num_classes=2).train()
    with pytest.raises(ValueError, match=r"target for each of the 2 images, .*but got none"):
        network(torch.randn(2, 3, 64, 64))


POINTS = {"kind": "points"}
REFUSED = [
    ({"levels": [8, 32]}, r"each twice the one before, but got \[8, 32\]"),
    ({"levels": [1, 2, 4, 8, 16, 32]}, r"stride 1, but the body has 5 maps, at strides 2, 4"),
    ({"levels": [8, 16]}, r"must hold the body's last stride, 32"),
    ({"levels": [64, 128]}, r"must hold the body's last stride, 32"),
    ({"levels": []}, r"levels: .*at least 1 item"),
    ({"levels": [32], "predictor": {"kind": "point"}}, r"predictor"),
    ({"levels": [2**k for k in range(3, 10)]}, r"head.level_512: stride 2 must not exceed .*1 px"),
]


@pytest.mark.parametrize(("head", "words"), REFUSED)
def test_an_error_names_the_stride_or_the_level(head, words):
    data = load_architecture("resnet18").model_dump(mode="json")
    data["head"] = {"kind": "fpn", "predictor": POINTS, **head}
    with pytest.raises(InputError, match=words):
        Architecture.parse(data, source="net.yaml")


def test_keys_tell_detectors_apart_that_have_the_same_layers():
    member = small()
    patient = member.head.predictor.replace(nms_iou=0.5)
    another = member.replace(head=member.head.replace(predictor=patient))
    assert another.key != member.key == member.replace(name="another").key


def test_no_classes_have_no_meaning_for_boxes():
    with pytest.raises(InputError, match="num_classes must be at least 1 for a head that finds"):
        build_network(small(), num_classes=0)
