import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as oracle

from experiments.config.recipe import Augmentation
from experiments.data.images import channel_statistics
from experiments.training.augmentation import Preparation, resize_images, vary

CPU = torch.device("cpu")


def noise(count: int, channels: int = 3, side: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    shape = (count, channels, side, side)
    return torch.randint(1, 256, shape, dtype=torch.uint8, generator=generator)


def augmented(images: torch.Tensor, *, flip: bool, crop_padding: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    settings = Augmentation(flip=flip, crop_padding=crop_padding)
    return vary(images, None, augmentation=settings, generator=generator)[0]


def views(image: torch.Tensor, *, flip: bool, padding: int) -> dict[bytes, tuple]:
    """Every flip and crop of one image (C, H, W), made by torchvision: pixels -> which it is."""
    side = image.shape[-1]
    found = {}
    for mirrored in (False, True) if flip else (False,):
        padded = oracle.pad(oracle.hflip(image) if mirrored else image, padding)
        for y in range(2 * padding + 1):
            for x in range(2 * padding + 1):
                crop = oracle.crop(padded, y, x, side, side)
                found[crop.numpy().tobytes()] = (mirrored, y, x)
    return found


@pytest.mark.parametrize(("flip", "padding"), [(True, 0), (False, 2), (True, 2)])
def test_each_image_becomes_a_flip_and_crop_of_itself_and_all_of_them_occur(flip, padding):
    images = noise(1, side=5).expand(1000, -1, -1, -1)
    wanted = views(images[0], flip=flip, padding=padding)
    result = augmented(images, flip=flip, crop_padding=padding)
    kinds = [wanted[image.numpy().tobytes()] for image in result]
    assert set(kinds) == set(wanted.values())
    commonest = max(kinds.count(kind) for kind in set(kinds))
    assert commonest < 1000 / len(wanted) * 1.8  # about evenly


def test_each_image_comes_from_its_own_place_in_the_batch():
    images = noise(64)
    result = augmented(images, flip=True, crop_padding=1)
    for image, view in zip(images, result, strict=True):
        assert view.numpy().tobytes() in views(image, flip=True, padding=1)


def test_augmentation_follows_the_generator_alone():
    images = noise(64)
    once = augmented(images, flip=True, crop_padding=2, seed=1)
    torch.manual_seed(99)
    assert torch.equal(augmented(images, flip=True, crop_padding=2, seed=1), once)
    assert not torch.equal(augmented(images, flip=True, crop_padding=2, seed=2), once)


def test_nothing_to_do_changes_and_draws_nothing():
    images, generator = noise(4), torch.Generator().manual_seed(0)
    before = generator.get_state()
    settings = Augmentation(flip=False)
    assert vary(images, None, augmentation=settings, generator=generator)[0] is images
    assert torch.equal(generator.get_state(), before)


def test_prepared_training_images_have_mean_0_and_deviation_1():
    images = noise(200)
    images[:, 1] //= 3
    statistics = channel_statistics(images.numpy())
    inputs = Preparation.of(statistics, resolution=6, device=CPU)(images)
    assert inputs.dtype == torch.float32
    assert np.allclose(inputs.mean((0, 2, 3)), 0, atol=1e-5)
    assert np.allclose(inputs.std((0, 2, 3)), 1, atol=1e-3)


@pytest.mark.parametrize("resolution", [3, 5, 6, 11])
def test_resize_is_torchvisions(resolution):
    images = noise(4).float()
    wanted = oracle.resize(images, [resolution, resolution], antialias=True)
    assert torch.allclose(resize_images(images, resolution), wanted, atol=1e-3)


def test_equal_size_is_not_touched():
    images = noise(2).float()
    assert resize_images(images, 6) is images
