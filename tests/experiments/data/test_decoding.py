import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin
from torchvision.transforms.v2 import functional as oracle

from experiments.config.schema import DataConfig
from experiments.data import decoding
from experiments.data.decoding import (
    decode_files,
    default_size,
    read_image,
    to_rgb,
    to_square,
    upright_size,
)
from experiments.data.folder import list_folder
from experiments.data.sources import load_data
from search_spaces.records import InputError
from tests.png import png

FITS = ("crop", "stretch", "pad")


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


@pytest.mark.parametrize(
    ("depth", "colour", "row", "transparent"),
    [
        (1, 0, b"\x00", (0,)),
        (2, 0, b"\x55", (1,)),
        (4, 0, b"\x88\x88", (8,)),
        (8, 0, b"\x4d" * 4, (0x4D,)),
        (16, 0, b"\x80\x40" * 4, (0x8040,)),
        (8, 2, b"\x01\x02\x03" * 4, (1, 2, 3)),
        (16, 2, b"\x80\x40\x12\x34\x56\x78" * 4, (0x8040, 0x1234, 0x5678)),
    ],
)
def test_a_transparent_colour_is_white_at_every_depth(tmp_path, depth, colour, row, transparent):
    path = tmp_path / "clear.png"
    path.write_bytes(png(depth=depth, colour=colour, row=row, transparent=transparent))
    assert set(decoding.decode_file(str(path), image_size=4).ravel()) == {255}
    other = tuple(value ^ 1 << depth - 1 for value in transparent)
    path.write_bytes(png(depth=depth, colour=colour, row=row, transparent=other))
    assert decoding.decode_file(str(path), image_size=4).min() < 255


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


def test_each_fit_keeps_the_part_of_the_image_that_it_says():
    """A white image of 8 x 4 pixels with two black columns at the left."""
    pixels = np.full((4, 8, 3), 255, dtype=np.uint8)
    pixels[:, :2] = 0
    fitted = {fit: to_square(Image.fromarray(pixels), 4, fit=fit)[..., 0] for fit in FITS}
    assert (fitted["crop"][:, 1:] == 255).all()  # the four columns in the middle
    assert (fitted["stretch"][:, 0] < 128).all()
    assert (fitted["stretch"][:, 2:] == 255).all()
    assert not fitted["pad"][[0, 3]].any()
    assert (fitted["pad"][1:3] == fitted["stretch"][1:3]).all()


def test_a_stream_and_the_cache_know_the_fit(flat, paint):
    paint(flat / "cat" / "wide.png", size=(30, 8), level=200)
    streamed = DataConfig(source=str(flat), image_size=8, placement="stream")
    held = streamed.replace(placement="device")
    configs = [config.replace(fit=fit) for fit in FITS for config in (streamed, held)]
    prints = [load_data(config, seed=0).fingerprint for config in configs]
    assert prints[::2] == prints[1::2]
    assert prints[0] != prints[4]  # cropped or padded


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


def test_a_file_with_a_newline_in_its_name_is_told_in_one_line(flat):
    (flat / "cat" / "new\nline.png").write_bytes(b"junk")
    with pytest.raises(InputError) as told:
        load_data(DataConfig(source=str(flat)), seed=0)
    assert "new\\nline.png'" in str(told.value)
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize("placement", ["device", "stream"])
def test_a_huge_image_is_refused_until_it_is_allowed(flat, monkeypatch, placement):
    monkeypatch.setattr(decoding, "LARGEST_IMAGE", 1000)  # of a process, as Pillow's
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # Pillow refuses above twice its limit
    Image.new("1", (60, 20)).save(flat / "cat" / "huge.png")
    config = DataConfig(source=str(flat), max_pixels=1000, placement=placement)
    with pytest.raises(InputError, match=r"huge\.png' has more than 1,000 pixels; shrink"):
        load_data(config, seed=0)
    assert load_data(config.replace(max_pixels=1200), seed=0).image_size == 8


def lying(path, *, late: bool) -> None:
    """A PNG of 4 x 2 px that is to be turned, which it says before or behind its pixels."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("L", (4, 2)).save(path, exif=exif)
    parts, rest = {}, path.read_bytes()[8:]
    while rest:
        end = int.from_bytes(rest[:4]) + 12
        parts[rest[4:8]], rest = rest[:end], rest[end:]
    order = [b"IHDR", b"IDAT", b"eXIf"] if late else [b"IHDR", b"eXIf", b"IDAT"]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts[k] for k in [*order, b"IEND"]))


def test_the_upright_size_of_a_png_is_read_without_its_pixels(tmp_path, monkeypatch):
    path = tmp_path / "lying.png"
    lying(path, late=True)
    assert read_image(str(path), upright_size) == (2, 4)
    assert read_image(str(path), lambda image: to_square(image, 2).shape) == (2, 2, 3)
    lying(path, late=False)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", None)
    assert read_image(str(path), upright_size) == (2, 4)
    Image.new("L", (4, 2)).save(path)
    assert read_image(str(path), upright_size) == (4, 2)


def test_a_file_that_no_config_speaks_of_is_refused_without_one(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "LARGEST_IMAGE", 100)
    Image.new("1", (60, 20)).save(tmp_path / "huge.png")
    with pytest.raises(
        InputError, match=r"more than 100 pixels; shrink it, or cut it into several"
    ):
        read_image(str(tmp_path / "huge.png"), upright_size)


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
