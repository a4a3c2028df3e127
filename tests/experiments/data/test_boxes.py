"""Images with boxes: what is found, where the boxes lie in the stored images, what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments.config.schema import DataConfig
from experiments.data.boxes import Boxes
from experiments.data.fitting import fit_boxes, unfit_boxes
from experiments.data.sources import load_data
from search_spaces import InputError

SIZE = (40, 20)
CELLS = [("red", (0, 0, 20, 10)), ("white", (30, 5, 40, 15))]  # of every second image


def picture(path, number, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (number, 90, 255 - number)).save(path)


def coco(path, boxes, *, size=SIZE, categories=("red", "white")):
    """{file name: boxes} as COCO's JSON."""
    ids = {name: 7 + number for number, name in enumerate(categories)}
    images = [{"id": i, "file_name": n, "width": size[0], "height": size[1]}
              for i, n in enumerate(boxes)]  # fmt: skip
    found = [
        {"image_id": i, "category_id": ids[name], "bbox": [x, y, right - x, bottom - y]}
        for i, own in enumerate(boxes.values())
        for name, (x, y, right, bottom) in own
    ]
    named = [{"id": number, "name": name} for name, number in ids.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": found, "categories": named}))


def voc(path, boxes, *, size=SIZE):
    sides = ("xmin", "ymin", "xmax", "ymax")
    things = [
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{side}>{value}</{side}>" for side, value in zip(sides, corners, strict=True))
        + "</bndbox></object>"
        for name, corners in boxes
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        f"{''.join(things)}</annotation>"
    )


def yolo(path, boxes):
    (wide, tall), numbers = SIZE, {"red": 0, "white": 1}
    lines = [
        " ".join(map(str, [numbers[name], (x + r) / 2 / wide, (y + b) / 2 / tall,
                           (r - x) / wide, (b - y) / tall]))
        for name, (x, y, r, b) in boxes
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


def cells(count=12):
    return {f"{number:02}.png": CELLS if number % 2 == 0 else [] for number in range(count)}


def folder(tmp_path, form, *, boxes=None, part="train"):
    """One part; every second image has no boxes."""
    root, boxes = tmp_path / part, cells() if boxes is None else boxes
    for number, name in enumerate(boxes):
        picture(root / "images" / name, number)
    if form == "coco":
        coco(root / "instances.json", boxes)
    for name, own in boxes.items():
        if form == "voc":
            voc(root / "annotations" / name.replace("png", "xml"), own)
        elif form == "yolo" and own:
            yolo(root / "labels" / name.replace("png", "txt"), own)
    if form == "yolo":
        (tmp_path / "data.yaml").write_text("names: {0: red, 1: white}")
    return tmp_path


def load(root, **settings):
    return load_data(DataConfig(source=str(root), image_size=20, **settings), seed=0)


@pytest.mark.parametrize("form", ["coco", "voc", "yolo"])
def test_each_form_is_found_told_and_gives_the_same_boxes(tmp_path, capsys, monkeypatch, form):
    monkeypatch.chdir(folder(tmp_path, form))
    data = load(".")
    assert (data.task, data.classes) == ("detection", ("red", "white"))
    full = int(np.flatnonzero(data.train.boxes.counts)[0])
    own = data.train.boxes.take(slice(full, full + 1))
    # 40 x 20 px become 20 x 10 px, with 5 px of black above and below.
    assert own.corners.tolist() == [[0, 5, 10, 10], [15, 7.5, 20, 12.5]]
    assert own.classes.tolist() == [0, 1]
    told = capsys.readouterr().err
    name = {"coco": "COCO JSON", "voc": "Pascal VOC XML", "yolo": "YOLO txt"}[form]
    assert f"detection, as {name} lies beside images: train 12 images" in told
    assert "12 boxes of 2 classes: red 6, white 6; images become square by fit: pad" in told
    assert told.splitlines()[-1].endswith("': 6 images without boxes, kept")


def test_every_part_that_is_cut_has_images_with_and_without_boxes(tmp_path):
    data = load(folder(tmp_path, "coco", boxes=cells(30)))
    parts = (data.train, data.validation, data.test)
    assert sum(len(part) for part in parts) == 30
    for part in parts:
        assert {0, 2} == set(part.boxes.counts.tolist())


def test_parts_lie_below_images_and_labels_as_yolo_has_them(tmp_path):
    for part in ("train", "val"):
        for number, (name, own) in enumerate(cells(6).items()):
            picture(tmp_path / "images" / part / name, number + 10 * (part == "val"))
            yolo(tmp_path / "labels" / part / name.replace("png", "txt"), own)
    data = load(tmp_path)
    assert (len(data.validation), data.classes) == (6, ("0", "1"))


def test_cocos_own_files_name_the_parts(tmp_path):
    for part in ("train2017", "val2017"):
        for number, name in enumerate(cells(6)):
            picture(tmp_path / part / name, number + 10 * (part == "val2017"))
        coco(tmp_path / "annotations" / f"instances_{part}.json", cells(6))
        (tmp_path / "annotations" / f"captions_{part}.json").write_text("{}")
    data = load(tmp_path)
    assert (data.task, len(data.validation)) == ("detection", 6)


def test_pascal_vocs_own_lists_name_the_parts(tmp_path):
    for number, (name, own) in enumerate(cells().items()):
        picture(tmp_path / "JPEGImages" / name, number)
        voc(tmp_path / "Annotations" / name.replace("png", "xml"), own)
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    names = [f"{number:02}" for number in range(12)]
    (lists / "train.txt").write_text("\n".join(names[:8]))
    (lists / "val.txt").write_text("\n".join(names[8:]))
    data = load(tmp_path)
    assert len(data.validation) == 4
    assert len(data.train) + len(data.test) == 8


def test_boxes_follow_each_fit():
    box = np.array([[10.0, 0.0, 30.0, 20.0]])  # the middle of 40 x 20 px
    where = {"width": 40, "height": 20, "size": 10}
    assert fit_boxes(box, fit="crop", **where).tolist() == [[0, 0, 10, 10]]
    assert fit_boxes(box, fit="stretch", **where).tolist() == [[2.5, 0, 7.5, 10]]
    assert fit_boxes(box, fit="pad", **where).tolist() == [[2.5, 2, 7.5, 7]]


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("shape", [(40, 20), (17, 31), (25, 25)])
def test_boxes_come_back_from_each_fit(fit, shape):
    where = {"width": shape[0], "height": shape[1], "size": 13, "fit": fit}
    box = np.array([[3.0, 4.0, 15.5, 18.0]])
    assert np.allclose(unfit_boxes(fit_boxes(box, **where), **where), box)


def test_padding_fills_each_image_up_with_no_class():
    boxes = Boxes.of([np.zeros((0, 4)), np.array([[1, 2, 3, 4]])], [np.zeros(0), np.array([2])])
    assert boxes.padded().tolist() == [[[0, 0, 0, 0, -1]], [[1, 2, 3, 4, 2]]]
    assert boxes.by_class(3).tolist() == [[0, 0, 0], [0, 0, 1]]


def test_boxes_beyond_the_image_and_without_area_are_told(tmp_path, capsys):
    boxes = cells()
    boxes["00.png"] = [("red", (-5, 0, 10, 10)), ("white", (8, 8, 8, 12)), ("red", (5, 5, 9, 9))]
    data = load(folder(tmp_path, "voc", boxes=boxes), fit="stretch")
    told = capsys.readouterr().err
    assert "boxes clipped to their image 1 ('train/images/00.png')" in told
    assert "boxes without area 1 ('train/images/00.png')" in told
    whole = sum(len(part.boxes.classes) for part in (data.train, data.validation, data.test))
    assert whole == 12  # 10 of the other images, and 2 of this one


def test_moved_boxes_are_other_data(tmp_path):
    first = load(folder(tmp_path, "voc")).fingerprint
    voc(tmp_path / "train" / "annotations" / "00.xml", [("red", (0, 0, 20, 11)), CELLS[1]])
    assert load(tmp_path).fingerprint != first


@pytest.mark.parametrize(
    ("form", "change", "words"),
    [
        ("voc", [("red", (50, 0, 60, 10))], "'00.xml' has the box 50 0 60 10"),
        ("voc", [("red", ("a", 0, 60, 10))], "object 0: bndbox must be 4 numbers, but is a 0 60"),
        ("yolo", "5 .5 .5 .1 .1", "'00.txt', line 1: the class must be a whole number from 0 and"),
        ("yolo", "0 .5 .5 .1", "line 1: class and box must be 5 numbers, but is 0 .5 .5 .1"),
        (
            "coco",
            '{"images": [{}], "annotations": [], "categories": []}',
            "is no COCO file (KeyError: 'id')",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_file_and_value(tmp_path, form, change, words):
    root = folder(tmp_path, form)
    if form == "voc":
        voc(root / "train" / "annotations" / "00.xml", change)
    elif form == "yolo":
        (root / "train" / "labels" / "00.txt").write_text(change)
    else:
        (root / "train" / "instances.json").write_text(change)
    with pytest.raises(InputError) as error:
        load(root)
    assert words in str(error.value).replace(f"{root}/train/annotations/", "").replace(
        f"{root}/train/labels/", ""
    )
    assert "\n" not in str(error.value)


def test_boxes_without_image_or_of_another_size_are_refused(tmp_path):
    root = folder(tmp_path, "voc")
    voc(root / "train" / "annotations" / "00.xml", CELLS, size=(80, 40))
    with pytest.raises(InputError, match=r"for an image of 80 x 40 px, but .* is 40 x 20"):
        load(root)
    (root / "train" / "images" / "00.png").unlink()
    with pytest.raises(InputError, match=r"00\.xml' has no image .*00\.\*'"):
        load(root)
    with pytest.raises(InputError, match=r"data\.task is detection, but .* has no COCO JSON"):
        load(tmp_path / "train" / "images", task="detection")


def test_an_image_that_stands_twice_is_refused_as_its_boxes_would_be_lost(tmp_path):
    root = folder(tmp_path, "coco")
    path = root / "train" / "instances.json"
    content = json.loads(path.read_text())
    content["images"].append({**content["images"][0], "id": 99})
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"has the image '00.png' more than once"):
        load(root)


def test_two_images_of_one_name_are_refused(tmp_path):
    root = folder(tmp_path, "voc")
    picture(root / "train" / "images" / "00.jpg", 3)
    with pytest.raises(InputError, match=r"00.jpg' and '.*00.png' have one name"):
        load(root)


@pytest.mark.parametrize(("name", "text"), [("annotations_train.json", "{}"), ("coco.json", "no")])
def test_what_has_only_the_name_of_coco_ends_no_classification(tmp_path, capsys, name, text):
    for number in range(8):
        for kind in ("a", "b"):
            picture(tmp_path / "train" / kind / f"{number}.png", number)
    (tmp_path / name).write_text(text)
    assert load(tmp_path).task == "classification"
    if name.startswith("annotations"):
        assert f"{name}' is left out: it is no COCO file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "cut", "words"),
    [
        ("instances.json", "{", r"instances.json' is no COCO file: it is no JSON .*line 1 column"),
        ("_annotations.coco.json", '{"images": []}', "no list `annotations` and no list `categor"),
    ],
)
def test_a_damaged_file_of_boxes_is_named_and_not_taken_for_no_boxes(tmp_path, name, cut, words):
    root = folder(tmp_path, "coco")
    for part in ("train", "validation"):
        (root / part).mkdir(exist_ok=True)
        picture(root / part / "images" / "0.png", 0)
        (root / part / name).write_text(cut)
        with pytest.raises(InputError, match=words):
            load(root)
        (root / part / name).unlink()


def test_a_part_without_boxes_is_told_or_refused_where_it_was_named(tmp_path, capsys):
    root = folder(tmp_path, "yolo")
    picture(root / "test" / "images" / "0.png", 0)
    assert len(load(root).train) < 12  # the test part is cut from it
    assert "test' is left out: no boxes lie beside its images" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"the test part is '.*test', but no boxes lie beside"):
        load(root, parts={"train": "train", "test": "test"})
    with pytest.raises(InputError, match=r"the test part is 'other', but .* has no such folder"):
        load(root, parts={"train": "train", "test": "other"})


def test_two_files_of_boxes_of_one_part_are_refused(tmp_path):
    for year in ("2014", "2017"):
        coco(tmp_path / "annotations" / f"instances_train{year}.json", cells())
    with pytest.raises(InputError, match="both have boxes of the train part"):
        load(tmp_path)
