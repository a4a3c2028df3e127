"""Detectors: the boxes and losses are torchvision's, what training is given, what is refused."""

import copy

import pytest
import torch
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign, RoIPool
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from search_spaces import Architecture, InputError, build_network, load_architecture, load_space
from search_spaces.heads import BiFPNHead, FPNHead
from tests.search_spaces.test_heads import random_statistics, taught

CLASSES = 5
POINTS = {"kind": "points", "layers": 1}
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


def pair(body, head, make, levels, beyond, **options):
    """Our network with this head, and torchvision's, with the same weights."""
    torch.manual_seed(0)
    backbone = resnet_fpn_backbone(
        backbone_name=body,
        weights=None,
        norm_layer=nn.BatchNorm2d,
        trainable_layers=5,
        returned_layers=levels,
        extra_blocks=beyond,
    )
    oracle = random_statistics(make(backbone, **options))
    oracle.transform = AsTheyAre()
    network = build_network(load_architecture(body).replace(head=head), num_classes=CLASSES)
    return taught(network, oracle), oracle


def small(seed=0, **changes):
    member = load_space("mbconv_detect").at(64).members(1, seed=seed)[0]
    return member.replace(**changes)


@torch.no_grad()
@pytest.mark.parametrize("body", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "make"),
    [("fcos_resnet50_fpn", detection.FCOS), ("retinanet_resnet50_fpn", detection.RetinaNet)],
)
def test_with_the_same_weights_boxes_and_losses_are_torchvisions(name, make, body):
    further = LastLevelP6P7(256, 256)
    head = load_architecture(name).head
    network, oracle = pair(body, head, make, [2, 3, 4], further, num_classes=CLASSES)
    network.head.detector.score_thresh = oracle.score_thresh = 0.0
    x = torch.randn(2, 3, 64, 96)
    for mine, theirs in zip(network(x), oracle(x), strict=True):
        assert len(theirs["boxes"]) > 20
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert network.train()(x, TARGETS) == oracle.train()(x, TARGETS)


def small_second_stage(classes):
    """40 proposals and layers of 32: the same code for less."""
    most = {f"rpn_{when}_nms_top_n_test": 40 for when in ("pre", "post")}
    most |= {f"rpn_{when}_nms_top_n_train": 80 for when in ("pre", "post")}
    second = {"box_head": TwoMLPHead(256 * 49, 32), "box_predictor": FastRCNNPredictor(32, classes)}
    return {**most, **second, "box_score_thresh": 0.0}


@torch.no_grad()
def test_with_the_same_weights_faster_r_cnn_is_torchvisions_whose_class_0_is_the_background():
    make, further = detection.FasterRCNN, LastLevelMaxPool()
    head = load_architecture("fasterrcnn_resnet50_fpn").head
    head = head.replace(predictor=head.predictor.replace(count=40, widths=(32, 32)))
    options = small_second_stage(CLASSES + 1)
    network, oracle = pair("resnet18", head, make, [1, 2, 3, 4], further, **options)
    network.head.boxes.score_thresh = 0.0
    x = torch.randn(2, 3, 64, 96)
    for mine, theirs in zip(network(x), oracle(x), strict=True):
        assert len(theirs["boxes"]) > 20
        assert torch.equal(mine["boxes"], theirs["boxes"])
        assert torch.equal(mine["labels"], theirs["labels"] - 1)
        assert torch.equal(mine["scores"], theirs["scores"])
    shifted = [{**target, "labels": target["labels"] + 1} for target in TARGETS]
    drawn = []
    for detector, targets in ((network, TARGETS), (oracle, shifted)):
        torch.manual_seed(2)  # both draw anchors and regions
        drawn.append(detector.train()(x, targets))
    assert drawn[0] == drawn[1]


def regions(count):
    """So many regions for each of two images of 64 x 96 px."""
    torch.manual_seed(3)
    corners = torch.rand(2, count, 2, 2) * torch.tensor([40.0, 24])
    return [torch.cat([c[:, 0], c[:, 0] + 8 + c[:, 1]], 1) for c in corners]


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["align", "max"])
def test_fast_r_cnn_gives_of_given_regions_what_torchvisions_heads_give_with_the_same_weights(
    pooling,
):
    kind = (
        {"kind": "map", "levels": [32]} if pooling == "max" else {"kind": "fpn", "levels": [16, 32]}
    )
    predictor = {"kind": "given", "count": 40, "widths": [32, 24], "pooling": pooling}
    head = {**kind, "predictor": {**predictor, "score_threshold": 0.0}}
    torch.manual_seed(0)
    network = build_network(load_architecture("resnet18").replace(head=head), num_classes=CLASSES)
    random_statistics(network)
    x = torch.randn(2, 3, 64, 96)
    levels = network.head.pyramid(network.read(x))
    named = {str(n): level for n, level in enumerate(levels)}
    pool = MultiScaleRoIAlign(list(named), 7, 2)
    if pooling == "max":
        pool = lambda maps, boxes, _: RoIPool(7, 1 / 32)(maps["0"], boxes)  # noqa: E731
    features, wide = levels[0].shape[1] * 49, FastRCNNPredictor(24, CLASSES + 1)
    oracle = RoIHeads(
        pool, TwoMLPHead(features, 32), wide, 0.5, 0.5, 512, 0.25, None, 0.0, 0.5, 100
    )
    oracle.box_head.fc7 = nn.Linear(32, 24)
    weights = network.head.boxes.state_dict().values()
    oracle.load_state_dict(dict(zip(oracle.state_dict(), weights, strict=True)))
    given = regions(40)
    found, _ = oracle.eval()(named, given, [(64, 96)] * 2)
    for mine, theirs in zip(network(x, None, given), found, strict=True):
        assert len(theirs["boxes"]) > 20
        assert torch.equal(mine["boxes"], theirs["boxes"])
        assert torch.equal(mine["labels"], theirs["labels"] - 1)
        assert torch.equal(mine["scores"], theirs["scores"])


def test_fast_r_cnn_trains_on_given_regions_and_says_what_it_lacks():
    predictor = {"kind": "given", "count": 20, "widths": [8]}
    network = build_network(small(head=fpn(predictor)), num_classes=CLASSES)
    x = torch.randn(2, 3, 64, 96)
    losses = network.train()(x, TARGETS, regions(20))
    sum(losses.values()).backward()
    assert set(losses) == {"loss_classifier", "loss_box_reg"}
    assert all(w.grad is not None for w in network.head.boxes.parameters())
    with pytest.raises(ValueError, match="kind given needs regions for each of the 2 images"):
        network.eval()(x)
    with pytest.raises(ValueError, match=r"at most 20 regions, but got 21: raise .* count"):
        network(x, None, regions(21))
    with pytest.raises(ValueError, match="regions are for a predictor of kind given"):
        build_network(small(), num_classes=CLASSES).eval()(x, None, regions(20))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["points", "anchors", "proposals"])
def test_planes_are_the_raw_outputs_level_by_level(kind):
    small_one = {"proposals": {"count": 4, "widths": [8]}}.get(kind, {"layers": 1})
    network = build_network(
        small(head=fpn({"kind": kind, **small_one})), num_classes=CLASSES
    ).eval()
    maps = network.read(torch.randn(1, 3, 64, 64))
    raw = torch.cat([part.flatten() for part in network.head.raw(maps).values()])
    planes = torch.cat([plane.flatten() for plane in network.head.planes(maps)])
    if kind == "points":  # whose sides are rectified in place
        raw, planes = raw.relu(), planes.relu()
    assert torch.equal(raw.sort().values, planes.sort().values)


def fpn(predictor):
    """A small pyramid with this predictor."""
    data = {"kind": "fpn", "channels": 16, "levels": [8, 16, 32], "predictor": predictor}
    return FPNHead.model_validate(data)


def heads():
    """The small network's head, and the same levels by a BiFPN with EfficientDet's predictor."""
    first = fpn(POINTS)
    anchors = {"kind": "anchors", "layers": 1, "convolution": "separable", "norm": "batch_norm"}
    second = {"kind": "bifpn", "channels": 16, "layers": 2, "levels": first.levels}
    return [first, BiFPNHead.model_validate({**second, "predictor": anchors})]


@pytest.mark.parametrize("head", heads(), ids=["fpn", "bifpn"])
def test_a_fresh_detector_scores_every_class_at_one_in_a_hundred(head):
    torch.manual_seed(0)
    network = build_network(small(head=head), num_classes=3).eval()
    scores = network.raw(torch.randn(1, 3, 64, 64))["cls_logits"].sigmoid()
    assert scores.mean().item() == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("head", heads(), ids=["fpn", "bifpn"])
def test_a_step_of_training_lowers_the_losses_of_images_with_and_without_boxes(head):
    torch.manual_seed(0)
    network = build_network(small(head=head), num_classes=CLASSES).train()
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
@pytest.mark.parametrize("kind", ["points", "anchors", "proposals"])
def test_places_of_boxes_have_32_bits_where_the_network_has_16(kind):
    torch.manual_seed(0)
    options = {"proposals": {"count": 5, "widths": [8]}}.get(kind, {})
    predictor = {"kind": kind, "layers": 1, "score_threshold": 0.0, **options}
    network = build_network(small(head=fpn(predictor)), num_classes=CLASSES)
    x = torch.randn(2, 3, 64, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses, found = network.train()(x, TARGETS), network.eval()(x)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert {(len(one["boxes"]) > 0, one["boxes"].dtype) for one in found} == {(True, torch.float32)}


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


REFUSED = [
    ({"levels": [8, 32]}, r"each twice the one before, but got \[8, 32\]"),
    ({"levels": [1, 2, 4, 8, 16, 32]}, r"stride 1, but the body has 5 maps, at strides 2, 4"),
    ({"levels": [8, 16]}, r"must hold the body's last stride, 32"),
    ({"levels": [64, 128]}, r"must hold the body's last stride, 32"),
    ({"levels": []}, r"levels: .*at least 1 item"),
    ({"predictor": {"kind": "point"}}, r"predictor: unknown kind 'point'; did you mean 'points'"),
    ({"predictor": {}}, r"'head.fpn.predictor.kind' is required and is missing"),
    (
        {"predictor": {"kind": "points", "layer": 2}},
        r"'head.fpn.predictor.points.layer'; did you mean 'layers'",
    ),
    ({"width": 64}, r"unknown key 'head.fpn.width'; .*known: .*channels"),
    ({"predictor": {"kind": "anchors", "convolution": "separable"}}, r"norm must be batch_norm"),
    ({"kind": "bifpn", "levels": [32]}, r"levels: .*at least 2 items"),
    ({"levels": [2**k for k in range(3, 10)]}, r"head.level_512: stride 2 must not exceed .*1 px"),
]


@pytest.mark.parametrize(("head", "words"), REFUSED)
def test_an_error_names_the_stride_or_the_level(head, words):
    data = load_architecture("resnet18").model_dump(mode="json")
    data["head"] = {"kind": "fpn", "levels": [32], "predictor": POINTS, **head}
    with pytest.raises(InputError, match=words):
        Architecture.parse(data, source="net.yaml")


def test_keys_tell_detectors_apart_that_have_the_same_layers():
    member = small()
    patient = member.head.predictor.replace(nms_iou=0.4)
    another = member.replace(head=member.head.replace(predictor=patient))
    assert another.key != member.key == member.replace(name="another").key


def test_no_classes_have_no_meaning_for_boxes():
    with pytest.raises(InputError, match="num_classes must be at least 1 for a head that finds"):
        build_network(small(), num_classes=0)
