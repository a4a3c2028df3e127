"""An exported network sees the very pixels that it was trained and tested on."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig
from experiments.data.sources import load_data
from experiments.export import load_exported, network_code
from experiments.export.folder import write_exported
from experiments.export.model import Preprocessing, checkpoint_model
from experiments.training.augmentation import Preparation
from experiments.training.batches import place
from experiments.training.checkpoint import save_checkpoint
from experiments.training.training import Training

FITS = ("crop", "stretch", "pad")
SIDEWAYS = 6  # EXIF's orientation of an image that is stored on its side


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """Two classes of noise that is wide, high, square, and stored on its side."""
    monkeypatch.setenv("SCALER_CACHE", str(tmp_path / "cache"))
    noise = np.random.RandomState(0)
    for name in ("cat", "dog"):
        for number, (width, height) in enumerate([(37, 24), (25, 61), (30, 30), (44, 23)] * 2):
            image = Image.fromarray(noise.randint(0, 256, (height, width, 3)).astype(np.uint8))
            exif = Image.Exif()
            exif[0x0112] = SIDEWAYS if number % 2 else 1
            path = tmp_path / "data" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path, exif=exif)
    return tmp_path / "data"


def exported(training, folder):
    """The export of an untrained network whose checkpoint says what it was to be trained on."""
    path = folder / "weights.safetensors"
    save_checkpoint(path, training.network(), metadata=training.metadata())
    write_exported(checkpoint_model(path), folder / "out")
    return folder / "out"


def training_on(photographs, small, **settings):
    config = DataConfig(source=str(photographs), **settings)
    data = load_data(config, seed=0)
    return Training(small, data, config, TrainConfig(), epochs=1, seed=0)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("image_size", [16, 21, None])
@pytest.mark.parametrize("placement", ["device", "stream"])
def test_every_way_out_prepares_the_test_images_to_the_pixel(
    photographs, small, tmp_path, fit, image_size, placement
):
    settings = {"image_size": image_size, "fit": fit, "placement": placement}
    training = training_on(photographs, small, **settings)
    data, cpu = training.data, torch.device("cpu")
    (images, _), *_ = place(data.test, cpu).batches([torch.arange(len(data.test))])
    tested = Preparation.of(data.statistics, resolution=small.resolution, device=cpu)(images)
    folder = exported(training, tmp_path)
    preprocessing = load_exported(folder).preprocessing
    code: dict = {"__name__": "printed"}
    exec(network_code(small, num_classes=2), code)
    saved = json.loads((folder / "preprocessing.json").read_text())
    for path, expected in zip(data.test.paths, tested, strict=True):
        image = Image.open(path)
        assert torch.equal(preprocessing(image)[0], expected)
        assert torch.equal(code["prepare"](image, saved)[0], expected)


def noise(width, height, channels=3):
    return np.random.RandomState(1).randint(0, 256, (height, width, channels)).astype(np.uint8)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_tensor_of_pixels_is_prepared_as_the_image_is(fit, channels):
    half = (0.5,) * channels
    preprocessing = Preprocessing(
        size=16, channels=channels, mean=half, std=half, fit=fit, image_size=21
    )
    pixels = noise(37, 24, channels)
    image = Image.fromarray(pixels.squeeze())
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    assert torch.equal(preprocessing(tensor), preprocessing(image))


@pytest.mark.parametrize("fit", FITS)
def test_timms_transform_gives_the_same_pixels(photographs, small, tmp_path, fit):
    """At the network's own size, where the sides divide evenly; timm pads with the mean."""
    timm = pytest.importorskip("timm")
    import experiments.export.timm  # noqa: F401, it registers the network

    folder = exported(training_on(photographs, small, image_size=16, fit=fit), tmp_path)
    network = timm.create_model(f"local-dir:{folder}", pretrained=True)
    config = timm.data.resolve_model_data_config(network)
    transform = timm.data.create_transform(**config, is_training=False)
    image = Image.fromarray(noise(64, 32))
    ours, theirs = load_exported(folder).preprocessing(image)[0], transform(image)
    seen = slice(4, 12) if fit == "pad" else slice(None)  # 64 x 32 is 16 x 8 between the bars
    assert torch.allclose(ours[:, seen], theirs[:, seen], atol=1e-5)


def test_an_export_of_an_earlier_version_crops_as_its_training_did():
    settings = {"size": 8, "channels": 1, "mean": [0.5], "std": [0.5]}
    inputs = Preprocessing.parse(settings, source="preprocessing.json")(
        torch.arange(96, dtype=torch.uint8).view(1, 1, 8, 12)
    )
    expected = torch.arange(96.0).view(1, 1, 8, 12)[..., 2:10] / 127.5 - 1
    assert torch.allclose(inputs, expected, atol=1e-5)
