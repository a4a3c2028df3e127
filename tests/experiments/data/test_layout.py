"""Which folders are parts and which are classes: told in a line, or refused with a way out."""

import os
import shutil
from pathlib import Path

import pytest

from experiments.config.schema import DataConfig, PartNames
from experiments.data.folder import list_folder
from experiments.data.layout import named_part
from experiments.data.sources import load_data
from search_spaces.records import InputError


@pytest.fixture
def tree(tmp_path, paint):
    """tree("train/cat", "train/dog", ...): a folder with two images in each of these."""

    def make(*folders: str) -> Path:
        for folder in folders:
            for number in range(2):
                paint(tmp_path / "root" / folder / f"{number}.png")
        return tmp_path / "root"

    return make


def classes_in(*parts: str) -> list[str]:
    return [f"{part}/{name}" for part in parts for name in ("cat", "dog")]


USUAL = [
    ("Training", "Testing", "Validation"),
    ("TRAIN", "TEST", "VAL"),
    ("training_set", "test_set", "valid"),
    ("trainset", "testset", "valset"),
    ("Train Data", "Test Data", "Dev"),
    ("TrainImages", "TestImages", "EvalImages"),
    ("train2017", "test2017", "val2017"),
    ("seg_train", "seg_test", "evaluation"),
]


@pytest.mark.parametrize("names", USUAL)
def test_parts_have_any_of_their_usual_names(tree, names):
    listing = list_folder(tree(*classes_in(*names)))
    assert listing.classes == ("cat", "dog")
    assert listing.places == dict(
        zip(("train", "test", "validation"), (f"{name}/" for name in names), strict=True)
    )


@pytest.mark.parametrize("name", ["trainer", "cat", "station", "test tube", "validity", "device"])
def test_other_words_are_no_parts(name):
    assert named_part(name) is None


def test_a_part_in_a_folder_of_its_name_is_found(tree):
    listing = list_folder(tree(*classes_in("training_set/training_set", "test_set/test_set")))
    assert listing.places["test"] == "test_set/test_set/"


def test_a_stray_image_beside_the_class_folders_is_left_out(tree, paint):
    root = tree(*classes_in("train", "test"))
    paint(root / "train" / "sheet.png")
    paint(root / "test" / "sheet.png")
    listing = list_folder(root)
    assert (listing.classes, set(listing.parts)) == (("cat", "dog"), {"train", "test"})
    assert listing.left_out == {"images in no class folder": ["train/sheet.png", "test/sheet.png"]}


def test_a_stray_image_makes_no_class_of_a_part_with_an_own_name(tree, paint):
    root = tree(*classes_in("A", "B"))
    paint(root / "A" / "sheet.png")
    with pytest.raises(InputError, match=r"'A', 'B' .* are they parts or classes"):
        list_folder(root)


UNCLEAR = {
    ("train/cat", "train/dog", "holdout_test/cat"): "holdout_test/ beside.* `data.parts: {tr",
    ("train/cat", "train/dog", "test/cat", "test/dog", "more/cat"): "more/ beside",
    ("train/steam", "train/diesel", "bus", "car"): "bus/ beside: is that a part, a class",
    ("train/cat", "train/dog", "test"): "test/ beside",
    ("train", "test"): "'test', 'train' of .* hold images and no class folders; sort .*: classes`",
    ("A/cat", "A/dog", "B/cat", "B/dog"): "'A', 'B' .* `data.parts: {train: A, test: B}`, or set",
    ("my_test/cat", "my_test/dog", "my_train/cat", "my_train/dog"): "{train: my_train, test: my_t",
    ("cat/train", "cat/test", "dog/train", "dog/test"): "parts within classes are not read",
    ("train/cat", "train/dog", "Training/cat"): "both Training/ and train/ for the train part",
    ("valid/cat", "valid/dog"): "holds valid/ but no train/; .*: classes`",
    ("data/cat", "data/dog"): "holds 1 class folders, .*, or give '.*root/data' if they lie there",
}


@pytest.mark.parametrize("folders", UNCLEAR)
def test_what_the_names_leave_open_is_refused_in_one_line_with_a_way_out(tree, folders):
    with pytest.raises(InputError, match=UNCLEAR[folders]) as told:
        list_folder(tree(*folders))
    assert "\n" not in str(told.value)


def test_layout_classes_settles_it(tree):
    config = DataConfig(layout="classes")
    assert list_folder(tree(*classes_in("train", "test")), config).classes == ("test", "train")


def test_layout_parts_leaves_the_others_out(tree):
    root = tree(*classes_in("train"), "test", "bus")
    listing = list_folder(root, DataConfig(layout="parts"))
    assert (listing.classes, set(listing.parts)) == (("cat", "dog"), {"train"})
    assert listing.left_out == {"folders": ["bus", "test"]}


def test_named_parts_settle_it(tree):
    root = tree(*classes_in("A", "B/deep"), "train/zebra")
    config = DataConfig(source=str(root), parts=PartNames(train="A", test="B/deep"))
    listing = list_folder(root, config)
    assert listing.places == {"train": "A/", "test": "B/deep/"}
    assert listing.left_out == {"folders": ["train"]}
    shutil.rmtree(root / "B")
    with pytest.raises(InputError, match=r"the test part is 'B/deep', but .* holds A/, train/"):
        list_folder(root, config)


def test_settings_that_say_two_things_are_refused():
    with pytest.raises(ValueError, match="each part must have its own name"):
        PartNames(train="A", test="A")
    with pytest.raises(ValueError, match="has no parts"):
        DataConfig(layout="classes", parts=PartNames(train="A"))
    with pytest.raises(InputError, match="'digits' has its own parts; leave them out"):
        load_data(DataConfig(parts=PartNames(train="A")), seed=0)


def test_parts_classes_images_and_what_is_left_out_are_told_before_decoding(tree, capsys):
    root = tree(*classes_in("train", "test"), "train/owl", "test/owl", "extra")
    for name in ("cat/b.heic", "cat/a.HEIC", "dog/c.jfif", "dog/note", "dog/Thumbs.db"):
        (root / "train" / name).write_text("no image")
    (root / "train" / "cat" / "old").symlink_to("gone")
    (root / "train" / "cat" / "broken.png").write_text("no image")
    with pytest.raises(InputError, match=r"broken\.png"):
        load_data(DataConfig(source=str(root)), seed=0)
    assert capsys.readouterr().err.splitlines()[0] == (
        "data: 'root': train 7 images ('train/'), test 6 images ('test/'), validation is cut from "
        "train; 3 classes: cat (5), dog (4), owl (4); left out: .heic 2 ('train/cat/a.HEIC'), "
        ".jfif 1 ('train/dog/c.jfif'), broken links 1 ('train/cat/old'), files without ending 1 "
        "('train/dog/note'), folders 1 ('extra')"
    )


def test_the_first_five_classes_are_told(capsys):
    load_data(DataConfig(), seed=0)
    assert capsys.readouterr().err.splitlines()[0] == (
        "data: 'digits': train 1,797 images, validation is cut from train, test is cut from train; "
        "10 classes: 0 (178), 1 (182), 2 (177), 3 (183), 4 (181), and 5 more"
    )


@pytest.mark.parametrize("link", ["train/owl", "test"])
def test_a_link_to_a_folder_that_is_away_is_refused(tree, link):
    root = tree(*classes_in("train"))
    (root / link).symlink_to("/no/such/disk")
    with pytest.raises(InputError, match=f"{link}' is a link to '/no/such/disk', which is not th"):
        list_folder(root)


def test_a_class_of_unread_files_alone_says_what_it_holds(tree):
    root = tree("cat", "dog")
    (root / "owl").mkdir()
    (root / "owl" / "0.avif").write_text("x")
    with pytest.raises(InputError, match=r"owl' holds no images .*, but \.avif 1 \('owl/0"):
        list_folder(root)


def test_one_file_in_two_classes_is_refused(tree):
    root = tree("cat", "dog")
    (root / "dog" / "9.png").symlink_to(root / "cat" / "0.png")
    with pytest.raises(InputError, match=r"'cat/0.png' and 'dog/9.png' of .* are one file in two"):
        list_folder(root)


def test_a_class_in_two_unicode_forms_is_one_class_of_two_parts(tree):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    root = tree(f"train/{composed}", "train/dog", f"test/{decomposed}", "test/dog")
    assert list_folder(root).classes == (composed, "dog")
    os.mkdir(root / "train" / decomposed)
    with pytest.raises(InputError, match=r"twice, in two Unicode forms .*'caf\\xe9'"):
        list_folder(root)
