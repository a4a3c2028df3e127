import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.v2 import functional as oracle

from experiments.config.schema import DataConfig
from experiments.data import decoding
from experiments.data.decoding import decode_files, default_size, to_rgb, to_square
from experiments.data.listing import list_folder
from experiments.data.sources import load_data
from search_spaces.records import InputError


def pixel(image: Image.Image) -> tuple[int, ...]:
    return to_rgb(image).getpixel((0, 0))


def test_grey_is_repeated():
    assert pixel(Image.new("L", (1, 1), 77)) == (77, 77, 77)


def test_palette_is_looked_up():
    image = Image.new("P", (1, 1), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    assert pixel(image) == (10, 20, 30)


def test_print_colours_become_rgb():
    assert pixel(Image.new("CMYK", (1, 1), (255, 0, 0, 0))) == (0, 255, 255)


def test_of_several_frames_the_first_counts(tmp_path):
    frames = [Image.new("L", (4, 4), level) for level in (10, 200)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert set(decoding.decode_file(str(tmp_path / "moving.gif"), image_size=4).ravel()) == {10}


def test_transparency_is_laid_over_white():
    assert pixel(Image.new("RGBA", (1, 1), (0, 0, 0, 0))) == (255, 255, 255)
    assert pixel(Image.new("RGBA", (1, 1), (10, 20, 30, 255))) == (10, 20, 30)


def test_of_16_bits_the_upper_8_are_kept(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.array([[0xABCD]], dtype=np.uint16)).save(path)
    with Image.open(path) as image:
        assert pixel(image) == (0xAB,) * 3


@pytest.mark.parametrize("size", [(40, 30), (30, 41), (24, 24)])
def test_square_is_the_resized_and_centre_cropped_image(size):
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    wanted = oracle.center_crop(oracle.resize(image, 12, antialias=True), 12)
    difference = to_square(image, 12).astype(int) - np.asarray(wanted)
    assert np.abs(difference).mean() < 6  # half a pixel, at most, lies between the two crops
    if size[0] == size[1]:
        assert not difference.any()


def test_default_size_is_the_common_square_or_the_median_side(flat, paint):
    assert default_size(list_folder(flat).files) == 8
    for number in range(25):
        paint(flat / "dog" / f"wide{number}.png", size=(20, 10))
    assert default_size(list_folder(flat).files) == 10
    for number in range(50):
        paint(flat / "dog" / f"large{number}.png", size=(500, 400))
    assert default_size(list_folder(flat).files) == 224


@pytest.mark.parametrize("threaded_bytes", [0, 10**9])
def test_damaged_image_is_named_in_one_line(flat, monkeypatch, threaded_bytes):
    monkeypatch.setattr(decoding, "_THREADED_BYTES", threaded_bytes)
    file = flat / "cat" / "3.png"
    file.write_bytes(file.read_bytes()[:45])
    with pytest.raises(InputError, match=f"'{file}' .* replace it or remove it") as told:
        load_data(DataConfig(source=str(flat), image_size=8), seed=0)
    assert "\n" not in str(told.value)


def test_floating_point_image_is_refused(flat):
    Image.fromarray(np.zeros((8, 8), dtype=np.float32)).save(flat / "cat" / "f.tif")
    with pytest.raises(InputError, match=r"f\.tif.*floating-point"):
        load_data(DataConfig(source=str(flat)), seed=0)


def test_threads_decode_the_same_in_the_same_order(flat, monkeypatch):
    files = list_folder(flat).files
    serial = decode_files(files, image_size=8)
    monkeypatch.setattr(decoding, "_THREADED_BYTES", 0)
    assert np.array_equal(decode_files(files, image_size=8), serial)
    assert serial[:, 0, 0, 0].tolist() == [*range(10), *range(100, 110)]
