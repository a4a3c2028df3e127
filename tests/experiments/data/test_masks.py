"""Images with masks: what is found, what each pixel is, how they are divided, what is refused."""

import threading

import numpy as np
import pytest
from PIL import Image

from experiments.config.schema import DataConfig
from experiments.data import decoding
from experiments.data import masks as reading
from experiments.data.masks import fit_mask, read_mask, strata
from experiments.data.sources import load_data
from search_spaces import InputError
from tests.png import png


def picture(path, *, size=(24, 24), colour=(90, 120, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def mask(path, values, *, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, dtype=np.uint8), "RGB" if mode == "RGB" else None)
    if mode == "P":
        image = image.copy()
        image.putpalette([x % 256 for x in range(768)])
    image.save(path)


def quarters(*values, size=24):
    """A mask of four squares, row by row."""
    return np.kron(np.reshape(values, (2, 2)), np.ones((size // 2, size // 2)))


def folder(tmp_path, *, count=12, parts=("train",), mode="L"):
    for part in parts:
        for number in range(count):
            picture(tmp_path / part / "images" / f"{number:02}.jpg", colour=(number, 9, number))
            values = quarters(0, 1, 2 if number % 3 == 0 else 0, 255)
            mask(tmp_path / part / "masks" / f"{number:02}.png", values, mode=mode)
    return tmp_path


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_folder_of_images_and_masks_is_segmentation_and_is_told(tmp_path, capsys, mode):
    data = load_data(DataConfig(source=str(folder(tmp_path, mode=mode))), seed=0)
    assert (data.task, data.classes, data.image_size) == ("segmentation", ("0", "1", "2"), 24)
    assert np.array_equal(
        data.train.masks[0][::12, ::12], [[0, 1], [data.train.masks[0][12, 0], 255]]
    )
    told = capsys.readouterr().err
    assert "segmentation, as images lie beside masks: train 12 images" in told
    assert "no class 25.0%" in told


def test_the_same_folder_is_two_classes_where_the_config_says_so(tmp_path):
    source = str(folder(tmp_path))
    data = load_data(DataConfig(source=source, task="classification"), seed=0)
    assert (data.task, data.classes) == ("classification", ("images", "masks"))


def test_parts_are_cut_so_that_each_has_the_rare_class(tmp_path):
    data = load_data(DataConfig(source=str(folder(tmp_path, count=30))), seed=0)
    sizes = [len(part) for part in (data.train, data.validation, data.test)]
    assert sum(sizes) == 30
    assert min(sizes) > 4
    for part in (data.train, data.validation, data.test):
        assert (part.masks == 2).any()


def test_parts_may_lie_below_images_and_masks(tmp_path):
    for part in ("train", "val"):
        for number in range(6):
            picture(tmp_path / "images" / part / f"{number}.png", colour=(number, 1, part == "val"))
            mask(tmp_path / "masks" / part / f"{number}.png", quarters(0, 1, 1, 0))
    data = load_data(DataConfig(source=str(tmp_path)), seed=0)
    assert len(data.validation) == 6
    assert data.task == "segmentation"


def test_colours_stand_in_the_table(tmp_path):
    (tmp_path / "classes.csv").write_text("name,r,g,b\nland,1,2,3\nvoid,9,9,9\nwater,4,5,6\n")
    colours = np.array([[1, 2, 3], [4, 5, 6], [9, 9, 9]], dtype=np.uint8)
    for number in range(8):
        picture(tmp_path / "images" / f"{number}.png", colour=(number, 0, 0))
        values = colours[quarters(0, 1, 2, 0).astype(int)]
        mask(tmp_path / "masks" / f"{number}.png", values, mode="RGB")
    data = load_data(DataConfig(source=str(tmp_path)), seed=0)
    assert data.classes == ("land", "water")
    assert data.train.masks[0][::12, ::12].tolist() == [[0, 1], [255, 0]]
    assert data.class_counts().tolist() == [288 * len(data.train), 144 * len(data.train)]


def test_a_mask_is_fitted_as_its_image_and_is_255_beside_it():
    wide = np.repeat([[3, 3, 7, 7]], 2, axis=0).astype(np.uint8)  # 4 x 2 px
    assert fit_mask(wide, 4, fit="pad").tolist() == [
        [255] * 4,
        [3, 3, 7, 7],
        [3, 3, 7, 7],
        [255] * 4,
    ]
    assert fit_mask(wide, 2, fit="crop").tolist() == [[3, 7], [3, 7]]
    assert fit_mask(wide, 2, fit="stretch").tolist() == [[3, 7], [3, 7]]


def test_a_smaller_mask_is_read_at_the_middle_of_each_pixel_as_its_image():
    mask = np.arange(36, dtype=np.uint8).reshape(6, 6)
    assert fit_mask(mask, 2, fit="crop").tolist() == [[7, 10], [25, 28]]


@pytest.mark.parametrize(
    ("bits", "row", "numbers"),
    [(1, b"\x60", [0, 1, 1, 0]), (2, b"\x1b", [0, 1, 2, 3]), (4, b"\x05\xaf", [0, 5, 10, 15])],
)
def test_grey_masks_of_few_bits_keep_their_numbers(tmp_path, bits, row, numbers):
    path = tmp_path / "mask.png"
    path.write_bytes(png(depth=bits, row=row))
    assert read_mask(str(path), None, max_pixels=99).tolist() == 4 * [numbers]


def test_a_class_that_only_the_test_part_has_counts(tmp_path):
    source = folder(tmp_path, parts=("train", "test"))
    mask(source / "test" / "masks" / "05.png", quarters(0, 1, 4, 255))
    data = load_data(DataConfig(source=str(source)), seed=0)
    assert data.classes == ("0", "1", "2", "3", "4")
    assert data.class_counts()[3:].tolist() == [0, 0]


def test_masks_are_read_in_threads_where_images_are(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "_THREADED_BYTES", 0)
    threads = set()
    read = reading.read_mask

    def noted(*of, **how):
        threads.add(threading.get_ident())
        return read(*of, **how)

    monkeypatch.setattr(reading, "read_mask", noted)
    data = load_data(DataConfig(source=str(folder(tmp_path))), seed=0)
    assert threading.get_ident() not in threads
    assert data.train.masks[0][0, 12] == 1


def test_strata_are_by_the_rarest_class_and_have_three_images_each():
    masks = np.zeros((10, 2, 2), dtype=np.uint8)
    masks[:4, 0, 0] = 1
    masks[0, 1, 1] = 2  # alone: joins the next common class
    assert strata(masks, 3).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert strata(np.full((4, 2, 2), 255, dtype=np.uint8), 3).tolist() == [0] * 4


def broken(tmp_path, kind):
    root = folder(tmp_path)
    first = root / "train" / "masks" / "00.png"
    if kind == "image":
        (root / "train" / "images" / "00.jpg").unlink()
    elif kind == "mask":
        first.unlink()
    elif kind == "size":
        mask(first, quarters(0, 1, 0, 1, size=20))
    elif kind == "colours":
        mask(first, np.zeros((24, 24, 3)), mode="RGB")
    else:
        (root / "classes.csv").write_text(kind)
        if "r,g,b" in kind:
            values = np.zeros((24, 24, 3))
            values[5, 7] = (8, 8, 9)
            mask(first, values, mode="RGB")
    return root


REFUSED = [
    ("image", r"mask '.*00.png' has no image '.*00\.\*'; add it, or remove the mask"),
    ("mask", r"image '.*00.jpg' has no mask '.*00.png'"),
    ("size", r"mask '.*00.png' is 20 x 20 px, but its image '.*00.jpg' is 24 x 24"),
    ("colours", r"mask '.*00.png' is in colours; say which class each is in classes.csv"),
    ("name\nland\nwater\n", r"00.png' has the class 2 at column 0, row 12, .*names 2: 0 to 1"),
    ("name,r,g,b\na,0,0,0\nb,1,1,1\n", r"colour \(8, 8, 9\) at column 7, row 5, which is not in"),
    ("name,r,g,b\na,0,0,0\nb,1,x,1\n", r"classes.csv', row 3: r, g and b must be whole numbers"),
    ("name\nland\n", r"names 1 classes, and at least 2 are needed"),
    ("name\nland\nland\n", r"row 3: name must be given and differ from the others, but is 'land'"),
]


@pytest.mark.parametrize(("kind", "words"), REFUSED)
def test_what_is_wrong_is_named_with_its_file_and_value(tmp_path, kind, words):
    with pytest.raises(InputError, match=words):
        load_data(DataConfig(source=str(broken(tmp_path, kind))), seed=0)


def test_zero_and_255_alone_are_no_two_classes(tmp_path):
    for number in range(8):
        picture(tmp_path / "images" / f"{number}.png")
        mask(tmp_path / "masks" / f"{number}.png", quarters(0, 255, 0, 255))
    with pytest.raises(InputError, match="hold the values 0, 255, and 255 means no class"):
        load_data(DataConfig(source=str(tmp_path)), seed=0)


def test_other_masks_are_other_data(tmp_path):
    config = DataConfig(source=str(folder(tmp_path)))
    before = load_data(config, seed=0).fingerprint
    mask(tmp_path / "train" / "masks" / "00.png", quarters(1, 1, 2, 255))
    assert load_data(config, seed=0).fingerprint != before


def test_segmentation_is_not_found_where_there_are_no_masks(tmp_path):
    picture(tmp_path / "train" / "a" / "0.png")
    with pytest.raises(
        InputError, match=r"data.task is segmentation, but .* has no images/ beside"
    ):
        load_data(DataConfig(source=str(tmp_path), task="segmentation"), seed=0)


def test_images_of_a_part_without_masks_are_refused_not_their_own_masks(tmp_path):
    for number in range(8):
        picture(tmp_path / "images" / "train" / f"{number}.png")
        picture(tmp_path / "images" / "test" / f"{number}.png")
        mask(tmp_path / "masks" / "train" / f"{number}.png", quarters(0, 1, 0, 255))
    with pytest.raises(InputError, match=r"images/test' has no masks: there is no '.*masks/test'"):
        load_data(DataConfig(source=str(tmp_path)), seed=0)


def test_notes_beside_masks_are_no_boxes(tmp_path):
    folder(tmp_path)
    masks = tmp_path / "train" / "masks"
    masks.rename(tmp_path / "train" / "annotations")
    (tmp_path / "train" / "annotations" / "README.txt").write_text("made by hand\n")
    assert load_data(DataConfig(source=str(tmp_path)), seed=0).task == "segmentation"


def test_a_part_without_masks_is_told_or_refused_where_it_was_named(tmp_path, capsys):
    source = folder(tmp_path)
    picture(tmp_path / "test" / "images" / "0.png")
    load_data(DataConfig(source=str(source)), seed=0)
    assert "test' is left out: no masks lie beside its images" in capsys.readouterr().err
    parts = {"train": "train", "test": "test"}
    with pytest.raises(InputError, match=r"the test part is '.*test', but no masks lie beside"):
        load_data(DataConfig(source=str(source), parts=parts), seed=0)
