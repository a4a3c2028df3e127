import numpy as np
import pytest
import torch
from scipy.stats import kstest

from experiments.config.recipe import Augmentation, RandAugment
from experiments.training.augmentation import draw_beta, mix
from experiments.training.checkpoint import read_state, write_state

LABELS = torch.arange(64) % 5


def levels(side: int = 10) -> torch.Tensor:
    """64 flat images: 0, 200, 0, 200, ..."""
    values = (torch.arange(64) % 2 * 200).to(torch.uint8)
    return values.view(64, 1, 1, 1).expand(-1, 3, side, side).contiguous()


def mixed(images: torch.Tensor, **settings: float) -> tuple[torch.Tensor, torch.Tensor]:
    return mix(
        images,
        LABELS,
        num_classes=5,
        augmentation=Augmentation(**settings),
        generator=torch.Generator().manual_seed(0),
    )


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_are_beta_distributed(alpha):
    shares = draw_beta(20_000, alpha, generator=torch.Generator().manual_seed(0))
    assert kstest(shares.double().numpy(), "beta", args=(alpha, alpha)).statistic < 0.02
    assert float(shares.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 1, "cutmix": 1}])
def test_targets_are_the_shares_that_the_pixels_have(settings):
    images, targets = mixed(levels(), **settings)
    assert (images.dtype, targets.dtype, targets.shape) == (torch.uint8, torch.float32, (64, 5))
    assert torch.allclose(targets.sum(1), torch.ones(64))
    own = targets[torch.arange(64), LABELS]
    bright = torch.where(torch.arange(64) % 2 == 1, own, 1 - own)  # the other is always unlike
    assert torch.allclose(images.float().mean((1, 2, 3)), 200 * bright, atol=0.51)
    assert len(own.unique()) > 20  # each image has its own share


def test_mixup_blends_every_pixel_and_cutmix_pastes_a_box():
    blended, _ = mixed(levels(), mixup=1.0)
    assert (blended == blended[:, :1, :1, :1]).all()
    pasted, _ = mixed(levels(), cutmix=1.0)
    assert set(pasted.unique().tolist()) == {0, 200}
    for image, before in zip(pasted, levels(), strict=True):
        inside = (image != before)[0]
        assert inside.sum() == inside.any(0).sum() * inside.any(1).sum()


def test_with_both_each_image_takes_one_of_them():
    images, _ = mixed(levels(), mixup=1.0, cutmix=1.0)
    flat = (images == images[:, :1, :1, :1]).all(3).all(2).all(1)
    between = (images[:, 0, 0, 0] != 0) & (images[:, 0, 0, 0] != 200)
    assert 16 < int((flat & between).sum()) < 48


def test_without_either_images_and_labels_come_back_and_nothing_is_drawn():
    images, generator = levels(), torch.Generator().manual_seed(0)
    before = generator.get_state()
    found = mix(
        images, LABELS, num_classes=5, augmentation=Augmentation(cutout=0.5), generator=generator
    )
    assert found[0] is images
    assert found[1] is LABELS
    assert torch.equal(generator.get_state(), before)


def test_mixing_follows_the_generator_alone():
    images = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (64, 3, 6, 6)))
    images = images.to(torch.uint8)
    once = mixed(images, mixup=0.3, cutmix=1.0)
    torch.manual_seed(5)
    again = mixed(images, mixup=0.3, cutmix=1.0)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


def test_a_training_with_everything_goes_on_from_its_state_bit_for_bit(build, train, tmp_path):
    everything = Augmentation(
        random_resized_crop=0.5,
        crop_padding=1,
        brightness=0.2,
        randaugment=RandAugment(count=1),
        cutout=0.3,
        mixup=0.2,
        cutmix=1.0,
    )
    whole = list(train(build(), augmentation=everything))
    plain = list(train(build()))
    first = next(train(build(), augmentation=everything))
    write_state(tmp_path / "training.safetensors", first.state())
    state = read_state(tmp_path / "training.safetensors")
    rest = list(train(build(seed=9), augmentation=everything, state=state))
    assert [r.train_loss for r in [first, *rest]] == [result.train_loss for result in whole]
    assert [result.train_loss for result in plain] != [result.train_loss for result in whole]
