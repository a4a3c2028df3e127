"""Training on masks: losses, weights, metrics, augmentation that moves masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as moved

from experiments.config.recipe import Augmentation, RandAugment, TrainConfig
from experiments.config.schema import DataConfig
from experiments.data.images import ImageData, Split, fingerprint
from experiments.data.sources import load_data
from experiments.training.augmentation import Preparation, crop_and_resize, vary
from experiments.training.batches import DeviceSplit, measure_confusion, place
from experiments.training.gradients import make_mask_loss, weights_of
from experiments.training.metrics import METRICS, confusion, metric_of
from experiments.training.training import Training, check_space
from experiments.training.windows import averaged, crop, random_patches, windows
from search_spaces import Architecture, InputError, load_space

SMALL = Architecture.parse(
    {
        "resolution": 16,
        "stem": {"channels": 8, "stride": 1, "block": {"kind": "conv", "kernel_size": 3}},
        "stages": [
            {"channels": 16, "layers": 1, "stride": 2, "block": {"kind": "conv", "kernel_size": 3}}
        ],
        "head": {"kind": "unet", "widths": [8], "layers": 1},
        "conventions": {"batch_norm_momentum": 0.1},
    },
    source="test",
)


def squares(count=48, side=16):
    """Bright squares on dark ground: class 1 on class 0, and a row of 255 below."""
    draw = np.random.RandomState(0)
    images = draw.randint(0, 60, (count, 3, side, side)).astype(np.uint8)
    masks = np.zeros((count, side, side), dtype=np.uint8)
    for image, mask in zip(images, masks, strict=True):
        top, left = draw.randint(0, side - 6, 2)
        image[:, top : top + 6, left : left + 6] += 120
        mask[top : top + 6, left : left + 6] = 1
        mask[-1] = 255
    whole = Split(images, np.zeros(count, dtype=np.int64), None, masks)
    parts = [whole.take(slice(start, start + count // 3)) for start in range(0, count, count // 3)]
    classes = ("ground", "square")
    return ImageData("squares", classes, *parts, fingerprint(classes, *parts))


def test_a_training_learns_masks_and_is_judged_by_dice():
    config = TrainConfig(batch_size=8, loss="cross_entropy_dice", device="cpu")
    training = Training(SMALL, squares(), DataConfig(), config, epochs=12, seed=0)
    results = list(training.run())
    assert results[-1].accuracy > 0.95 > results[0].accuracy
    assert training.test(results[-1].network) > 0.95
    assert training.metadata()["metric"] == "dice"


def test_at_another_resolution_it_is_judged_at_the_masks_own_pixels():
    config = TrainConfig(batch_size=8, device="cpu")
    training = Training(SMALL, squares(), DataConfig(), config, epochs=1, seed=0, resolution=24)
    assert 0 < next(iter(training.run())).accuracy < 1


SCORES = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
MASKS = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
MASKS[0, 0] = 255


def test_cross_entropy_is_torchs_with_weights_and_ignored_pixels():
    weights = torch.tensor([0.5, 1.0, 3.0])
    for own in (None, weights):
        loss = make_mask_loss(TrainConfig(label_smoothing=0), own)
        expected = F.cross_entropy(SCORES, MASKS.long(), weight=own, ignore_index=255)
        assert torch.allclose(loss(SCORES, MASKS), expected)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "mse", "dice", "cross_entropy_dice"])
def test_pixels_without_a_class_change_no_loss_and_a_batch_of_them_is_zero(name):
    loss = make_mask_loss(TrainConfig(loss=name))
    other = SCORES.clone()
    other[0, :, 0] += 5
    assert torch.equal(loss(SCORES, MASKS), loss(other, MASKS))
    nothing = loss(SCORES, torch.full_like(MASKS, 255))
    assert float(nothing) == pytest.approx({"dice": 1, "cross_entropy_dice": 1}.get(name, 0))


def test_dice_loss_is_nothing_where_all_is_right_and_nearly_one_where_all_is_wrong():
    loss, truth = make_mask_loss(TrainConfig(loss="dice")), MASKS.masked_fill(MASKS == 255, 0)
    sure = 100 * F.one_hot(truth.long(), 3).movedim(-1, 1).float()
    assert float(loss(sure, truth)) == pytest.approx(0, abs=1e-6)
    assert float(loss(sure.roll(1, 1), truth)) > 0.85


def test_a_smaller_target_is_read_at_the_middle_of_each_pixel():
    loss = make_mask_loss(TrainConfig(label_smoothing=0))
    target = torch.zeros(1, 6, 6, dtype=torch.uint8)
    target[0, 1::3, 1::3] = 1  # the middles alone
    sure = torch.tensor([-50.0, 50.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    assert float(loss(sure, target)) < 1e-6


@pytest.mark.parametrize("loss", ["focal", "mse", "dice"])
def test_class_weights_without_cross_entropy_are_refused(loss):
    with pytest.raises(InputError, match=rf"class_weights: inverse is for .* the loss is {loss};"):
        TrainConfig.parse({"loss": loss, "class_weights": "inverse"}, source="train")
    TrainConfig(loss="cross_entropy_dice", class_weights="inverse")


def test_class_weights_are_of_the_training_pixels():
    data = squares()
    pixels = data.class_counts()  # ground and square
    inverse = weights_of(TrainConfig(class_weights="inverse"), data)
    assert inverse.tolist() == pytest.approx([pixels.sum() / 2 / each for each in pixels])
    median = weights_of(TrainConfig(class_weights="median_frequency"), data)
    assert median.tolist() == pytest.approx([np.median(pixels) / each for each in pixels])
    assert weights_of(TrainConfig(), data) is None


def test_metrics_by_hand():
    """4 pixels of class 0, one told as 1; 2 of class 1, one told as 0; one of 255; none of 2."""
    truth = torch.tensor([[[0, 0, 0, 0, 1, 1, 255]]])
    told = torch.tensor([[[0, 0, 0, 1, 1, 0, 1]]])
    matrix = confusion(F.one_hot(told, 3).movedim(-1, 1).float(), truth)
    assert matrix.tolist() == [[3, 1, 0], [1, 1, 0], [0, 0, 0]]
    values = {name: METRICS[name].of(matrix) for name in ("dice", "miou", "pixel_accuracy")}
    assert values["dice"] == pytest.approx((6 / 8 + 2 / 4) / 2)
    assert values["miou"] == pytest.approx((3 / 5 + 1 / 3) / 2)
    assert values["pixel_accuracy"] == pytest.approx(4 / 6)
    assert METRICS["balanced_accuracy"].of(matrix) == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_a_part_without_a_known_pixel_is_worth_nothing():
    empty = confusion(SCORES, torch.full((2, 4, 5), 255))
    assert empty.sum() == 0
    told = {metric.of(empty) for metric in METRICS.values() if metric.task != "detection"}
    assert told == {0.0}


def test_batches_of_a_part_are_summed_before_the_metric_is_taken():
    data, network = squares(), Training(SMALL, squares(), DataConfig(), TrainConfig(), 1, 0)
    network = network.network()
    prepare = Preparation.of(data.statistics, resolution=16, device=torch.device("cpu"))
    placed = place(data.test, torch.device("cpu"))
    whole = measure_confusion(network, placed, prepare=prepare)
    one_by_one = [
        measure_confusion(network, placed.part(number, 16), prepare=prepare) for number in range(16)
    ]
    assert torch.equal(sum(one_by_one), whole)
    assert whole.sum() == (data.test.masks != 255).sum()


def test_masks_for_which_a_card_has_no_room_stay_beside_their_images(monkeypatch):
    part, card = squares().test, torch.device("cuda")
    room = 2.5 * part.images.nbytes  # for the images, but not for their masks too
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (room, room))
    moved = []
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_, **__: moved.append(1) or tensor)
    assert DeviceSplit.of(part, card).labels.device.type == "cpu"
    assert not moved


def test_a_metric_or_a_head_of_another_task_is_refused():
    assert metric_of("auto", "segmentation").label == "Dice"
    with pytest.raises(InputError, match=r"train.metric accuracy is for classification, but the"):
        metric_of("accuracy", "segmentation")
    pooled = SMALL.replace(head={"kind": "pooled"}, name="small")
    with pytest.raises(InputError, match=r"head of 'small' is for classification .*unet, fcn or"):
        Training(pooled, squares(), DataConfig(), TrainConfig(), epochs=1, seed=0)
    with pytest.raises(
        InputError, match=r"space 'mbconv_small' are for classification.*mbconv_dense"
    ):
        check_space(load_space("mbconv_small"), TrainConfig(), squares(), varied=Augmentation())
    check_space(load_space("mbconv_dense"), TrainConfig(), squares(), varied=Augmentation())


def test_mixed_labels_have_no_masks():
    config = TrainConfig(augmentation=Augmentation(mixup=0.2), device="cpu")
    training = Training(SMALL, squares(), DataConfig(), config, epochs=1, seed=0)
    with pytest.raises(InputError, match="mixup and cutmix mix the labels of whole images"):
        next(iter(training.run()))


VARIED = [
    {"crop_padding": 3},
    {"translate": 0.2},
    {"cutout": 0.5},
    {"randaugment": RandAugment(count=3, magnitude=15)},
]


@pytest.mark.parametrize("settings", VARIED, ids=lambda settings: next(iter(settings)))
def test_a_mask_moves_with_its_image_and_what_comes_in_has_no_class(settings):
    """Masks that equal one grey level of their image, so that the image tells where each went."""
    generator = torch.Generator().manual_seed(3)
    masks = torch.randint(1, 200, (64, 12, 12), generator=generator).to(torch.uint8)
    images = masks[:, None].repeat(1, 3, 1, 1)
    settings = Augmentation(**settings)
    if settings.randaugment:  # colours change there: compare with a mask that is an image
        draws = [torch.Generator().manual_seed(5) for _ in range(2)]
        _, new = vary(images, masks, augmentation=settings, generator=draws[0])
        _, same = vary(images, masks // 2, augmentation=settings, generator=draws[1])
        inside = new != 255
        assert torch.equal(inside, same != 255)
        assert (~inside).any()
        assert torch.equal(new[inside] // 2, same[inside])
        return
    shown, new = vary(images, masks, augmentation=settings, generator=generator)
    came_in = new == 255
    assert came_in.any()
    assert (shown[:, 0][came_in] == 0).all()
    assert torch.equal(shown[:, 0][~came_in], new[~came_in])


def test_rotation_of_a_mask_is_torchvisions_with_255_around():
    masks = torch.randint(0, 5, (1, 20, 20), generator=torch.Generator().manual_seed(0))
    masks = masks.to(torch.uint8)
    expected = moved.rotate_mask(masks, 17.0, fill=255)
    turned = 255 - moved.rotate(255 - masks, 17.0)  # as `vary` does
    assert torch.equal(turned, expected)


def test_a_crop_of_a_mask_is_torchvisions_nearest():
    masks = torch.randint(0, 5, (1, 1, 20, 20), generator=torch.Generator().manual_seed(0))
    masks = masks.to(torch.uint8)
    ours = crop_and_resize(masks, torch.tensor([[3, 4, 10, 10]]), mode="nearest")
    theirs = v2.functional.resized_crop(
        masks, 3, 4, 10, 10, [20, 20], interpolation=v2.InterpolationMode.NEAREST_EXACT
    )
    assert torch.equal(ours, theirs)


def test_without_masks_images_vary_as_before():
    images = squares().train.images[:8]
    settings = Augmentation(crop_padding=2, translate=0.1, cutout=0.3)
    alone, beside = (
        vary(
            torch.from_numpy(images),
            masks,
            augmentation=settings,
            generator=torch.Generator().manual_seed(0),
        )[0]
        for masks in (None, torch.zeros(8, 16, 16, dtype=torch.uint8))
    )
    assert torch.equal(alone, beside)


def test_masks_travel_to_workers_and_are_part_of_the_fingerprint():
    import pickle

    data = squares()
    again = pickle.loads(pickle.dumps(data.train))
    assert np.array_equal(again.masks, data.train.masks)
    other = replace(data.train, masks=1 - data.train.masks.clip(0, 1))
    assert fingerprint(data.classes, other) != fingerprint(data.classes, data.train)


def test_a_patch_holds_the_same_place_of_image_and_mask_and_none_of_the_black_beside():
    masks = torch.full((200, 12, 12), 255, dtype=torch.uint8)
    masks[:, 3:9] = torch.arange(72).view(6, 12).to(torch.uint8)  # a picture of 6 x 12, padded
    images = masks[:, None].repeat(1, 3, 1, 1)
    generator = torch.Generator().manual_seed(0)
    some, own = random_patches(images, masks, side=5, generator=generator)
    assert some.shape == (200, 3, 5, 5)
    assert torch.equal(some, own[:, None].expand_as(some))
    assert own.max() < 72
    assert {(int(n) // 12, int(n) % 12) for n in own[:, 0, 0]} == {
        (row, column) for row in range(2) for column in range(8)
    }
    whole, _ = random_patches(images, masks, side=12, generator=generator)
    assert whole is images


def test_with_patches_a_training_sees_pieces_and_is_judged_on_the_whole_images():
    data = replace(squares(side=24), patches=True)
    config = TrainConfig(batch_size=8, loss="cross_entropy_dice", device="cpu")
    training = Training(SMALL, data, DataConfig(fit="patches"), config, epochs=12, seed=0)
    shapes = set()
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, args: shapes.add(args[0].shape[2:]) if hasattr(module, "stem") else None
    )
    seen = list(training.run())
    judged = training.judged(seen[-1].network)
    hook.remove()
    assert shapes == {(16, 16)}
    assert judged.matrix.sum() == (data.test.masks != 255).sum()
    assert judged.value > 0.95
    assert training.metadata()["fit"] == "patches"


def test_windows_give_what_one_pass_gives_but_near_their_inner_edges():
    """A network that sees three pixels far: four or more from an inner edge all is equal."""
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 2, 7, padding=3)
    images = torch.randn(1, 3, 20, 20)
    whole = network(images)
    boxes = windows(20, 20, side=12)
    assert boxes == [(x, y, x + 12, y + 12) for y in (0, 8) for x in (0, 8)]
    sizes = {"width": 20, "height": 20, "side": 12}
    told = averaged(lambda box: network(crop(images, box)), boxes, **sizes)
    assert torch.allclose(told[..., :5, :5], whole[..., :5, :5], atol=1e-6)  # the border included
    assert torch.allclose(told[..., -5:, -5:], whole[..., -5:, -5:], atol=1e-6)
    ideal = averaged(lambda box: crop(whole, box), boxes, **sizes)
    assert torch.allclose(ideal, whole, atol=1e-6)


def test_patches_without_masks_are_refused():
    with pytest.raises(InputError, match=r"but 'digits' is for classification; use crop, stretch"):
        load_data(DataConfig(fit="patches"), seed=0)
