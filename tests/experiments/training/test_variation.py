"""Translation, cutout, colour, resized crops and RandAugment, against torchvision and by hand."""

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as oracle

from experiments.config.recipe import Augmentation, RandAugment
from experiments.config.schema import DataConfig
from experiments.training import rand_augment
from experiments.training.augmentation import crop_and_resize, draw_crops, vary
from experiments.training.rand_augment import brighten, saturate, stretch


def noise(count: int, channels: int = 3, side: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    shape = (count, channels, side, side)
    return torch.randint(1, 256, shape, dtype=torch.uint8, generator=generator)


def varied(images: torch.Tensor, seed: int = 0, **settings: object) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    augmentation = Augmentation(**{"flip": False, **settings})
    return vary(images, None, augmentation=augmentation, generator=generator)[0]


def test_translation_is_torchvisions_by_every_whole_number_of_pixels():
    images = noise(1, side=10).expand(1000, -1, -1, -1)
    moves = [(x, y) for x in (-2, -1, 0, 1, 2) for y in (-2, -1, 0, 1, 2)]
    affine = {"angle": 0.0, "scale": 1.0, "shear": [0.0, 0.0]}
    wanted = {
        oracle.affine(images[0], translate=list(move), **affine).numpy().tobytes(): move
        for move in moves
    }
    found = [wanted[image.numpy().tobytes()] for image in varied(images, translate=0.2)]
    assert set(found) == set(moves)


def test_cutout_blackens_a_square_around_any_pixel():
    images = noise(2000, channels=1, side=8)
    black = varied(images, cutout=0.5)[:, 0] == 0
    assert torch.equal(varied(images, cutout=0.5)[:, 0][~black], images[:, 0][~black])
    sizes = {(int(b.any(1).sum()), int(b.any(0).sum())) for b in black}
    assert sizes == {(tall, wide) for tall in (2, 3, 4) for wide in (2, 3, 4)}  # cut at the edges
    assert all(int(b.sum()) == b.any(1).sum() * b.any(0).sum() for b in black)
    assert black.any(0).all()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (brighten, oracle.adjust_brightness),
        (stretch, oracle.adjust_contrast),
        (saturate, oracle.adjust_saturation),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_colour_factors_do_what_torchvisions_do(ours, theirs, channels):
    images = noise(4, channels)
    for factor in (0.0, 0.4, 1.0, 1.7):
        wanted = theirs(images, factor).float()
        found = ours(images.float(), torch.tensor(factor))
        assert (found - wanted).abs().max() < 1.6  # torchvision cuts off to whole numbers, twice


def test_each_image_has_its_own_colour_factors_within_the_strength():
    images = torch.full((500, 3, 2, 2), 100, dtype=torch.uint8)
    levels = varied(images, brightness=0.4)[:, 0, 0, 0]
    assert (int(levels.min()), int(levels.max())) == (60, 140)
    assert len(levels.unique()) > 70


def test_resized_crop_is_torchvisions():
    images = noise(6)
    crops = torch.tensor(
        [[0, 0, 12, 12], [3, 2, 7, 5], [11, 0, 1, 12], [0, 11, 12, 1], [5, 5, 7, 7], [2, 9, 6, 3]]
    )
    for image, crop, found in zip(images, crops, crop_and_resize(images, crops), strict=True):
        wanted = oracle.resized_crop(image, *crop.tolist(), size=[12, 12], antialias=False)
        assert (found.float() - wanted.float()).abs().max() <= 1
    assert torch.equal(crop_and_resize(images, crops)[0], images[0])


def test_drawn_crops_have_the_area_and_the_ratio_asked_for():
    images = torch.empty((4000, 1, 60, 60))
    generator = torch.Generator().manual_seed(0)
    top, left, tall, wide = draw_crops(images, least=0.25, generator=generator).T
    assert ((top >= 0) & (left >= 0) & (top + tall <= 60) & (left + wide <= 60)).all()
    area = tall * wide / 3600
    assert 0.24 < area.min() < 0.27
    assert area.max() > 0.95
    assert 0.70 < (wide / tall).min() < 0.80
    assert 1.25 < (wide / tall).max() < 1.43


@pytest.mark.parametrize("name", rand_augment.OPERATIONS)
@pytest.mark.parametrize("magnitude", [0, 9, 30])
def test_randaugments_operation_is_torchvisions(name, magnitude, monkeypatch):
    image = noise(1)
    theirs = v2.RandAugment(num_ops=1, magnitude=magnitude)
    theirs._AUGMENTATION_SPACE = {name: theirs._AUGMENTATION_SPACE[name]}
    torch.manual_seed(0)
    wanted = torch.stack([theirs(image[0]) for _ in range(20)]).float()  # both signs among them
    monkeypatch.setattr(
        rand_augment, "OPERATIONS", {name: rand_augment.OPERATIONS[name]}, raising=True
    )
    settings = RandAugment(count=1, magnitude=magnitude)
    found = varied(image.expand(20, -1, -1, -1), randaugment=settings).float()
    for one, others in ((found, wanted), (wanted, found)):
        distance = (one[:, None] - others[None]).abs().amax(dim=(2, 3, 4)).amin(dim=1)
        assert distance.max() <= 2  # torchvision cuts off, twice, where we round once


def test_randaugment_draws_every_operation_and_each_image_stays_in_its_place():
    images = torch.arange(1, 29, dtype=torch.uint8).view(28, 1, 1, 1).expand(-1, 3, 8, 8)
    seen: list[int] = []

    def spy(number: int):
        def operation(group: torch.Tensor, _strength: float, sign: int) -> torch.Tensor:
            seen.append(2 * number + (sign > 0))
            return group

        return operation

    with pytest.MonkeyPatch.context() as patch:
        names = list(rand_augment.OPERATIONS)
        patch.setattr(rand_augment, "OPERATIONS", {name: spy(i) for i, name in enumerate(names)})
        assert torch.equal(varied(images, randaugment=RandAugment(count=8)), images)
    assert set(seen) == set(range(28))


EVERYTHING = {
    "flip": True,
    "crop_padding": 2,
    "translate": 0.1,
    "random_resized_crop": 0.5,
    "brightness": 0.2,
    "contrast": 0.2,
    "saturation": 0.2,
    "randaugment": RandAugment(),
    "cutout": 0.3,
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("setting", EVERYTHING)
def test_every_setting_changes_images_and_follows_the_generator_alone(setting, channels):
    images = noise(32, channels)
    settings = {setting: EVERYTHING[setting]}
    once = varied(images, seed=1, **settings)
    assert (once.shape, once.dtype) == (images.shape, torch.uint8)
    assert torch.equal(once, images) == (setting == "saturation" and channels == 1)
    torch.manual_seed(99)
    assert torch.equal(varied(images, seed=1, **settings), once)


def test_everything_at_once_keeps_shape_and_range():
    images = noise(16)
    before = images.clone()
    result = varied(images, **EVERYTHING)
    assert (result.shape, result.dtype) == (images.shape, torch.uint8)
    assert torch.equal(images, before)


def test_what_the_data_forbid_holds_whatever_the_recipe_says():
    recipe = Augmentation(flip=True, cutout=0.5)
    assert DataConfig(flip=False, crop_padding=4).varied(recipe) == Augmentation(
        flip=False, crop_padding=4, cutout=0.5
    )
    own = DataConfig(augmentation={"crop_padding": 2, "mixup": 0.2}, crop_padding=4)
    assert own.varied(recipe) == Augmentation(crop_padding=2, mixup=0.2)
    assert DataConfig().varied() == Augmentation()
