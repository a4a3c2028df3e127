import shutil

import pytest

from experiments.config.schema import DataConfig
from experiments.data.folder import list_folder
from experiments.data.sources import load_data
from search_spaces.records import InputError


def test_other_files_and_hidden_files_are_ignored(flat):
    for name in ("cat/notes.txt", "cat/.0.png", "dog/Thumbs.db", "readme.md"):
        (flat / name).write_text("no image")
    (flat / ".git").mkdir()
    listing = list_folder(flat)
    assert listing.classes == ("cat", "dog")
    assert len(listing.files) == 20


def test_parts_are_their_folders(parted):
    listing = list_folder(parted)
    counts = {part: len(files) for part, files in listing.parts.items()}
    assert counts == {"train": 8, "validation": 2, "test": 4}
    (parted / "validation").rename(parted / "val")
    assert set(list_folder(parted).parts) == {"train", "validation", "test"}


def test_images_deeper_in_a_class_folder_belong_to_it(flat, paint):
    paint(flat / "cat" / "indoors" / "0.png")
    files = list_folder(flat).files
    assert [file.label for file in files if "indoors" in file.relative] == [0]


def test_a_class_may_be_named_train(flat, paint):
    paint(flat / "train" / "0.png")
    assert list_folder(flat).classes == ("cat", "dog", "train")


def empty_file(folder):
    (folder / "train/cat/0.png").write_bytes(b"")


def no_images_in_a_class(folder):
    for file in (folder / "train/cat").iterdir():
        file.rename(file.with_suffix(".txt"))


def one_class(folder):
    shutil.rmtree(folder / "train/cat")


def missing_class_in_test(folder):
    shutil.rmtree(folder / "test/cat")


def other_class_in_validation(folder):
    (folder / "validation/dog").rename(folder / "validation/hound")


def no_train(folder):
    shutil.rmtree(folder / "train")


def two_validations(folder):
    shutil.copytree(folder / "validation", folder / "val")


def broken_link(folder):
    (folder / "train/cat/9.png").symlink_to("nowhere.png")


def endless_link(folder):
    (folder / "train/cat/again").symlink_to(folder / "train/cat")


def everything_gone(folder):
    shutil.rmtree(folder)
    folder.mkdir()


MISTAKES = {
    empty_file: "train/cat/0.png' is an empty file .* replace it or remove it",
    no_images_in_a_class: "class folder '.*train/cat' holds no images .* remove the folder",
    one_class: "train' holds 1 class folders, and at least 2 are needed",
    missing_class_in_test: "classes of '.*test' must be .*'cat' is missing; rename or complete",
    other_class_in_validation: "'dog' is missing and 'hound' is not among them",
    no_train: "holds test/ and validation/ but no train/; put",
    two_validations: "holds both val/ and validation/ for the validation part; remove",
    broken_link: "cannot read '.*9.png'",
    endless_link: "cannot read '.*again'",
    everything_gone: "parted' holds 0 class folders, .*put the images in",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_in_the_folder_is_told_in_one_line(parted, mistake):
    mistake(parted)
    with pytest.raises(InputError, match=MISTAKES[mistake]) as told:
        load_data(DataConfig(source=str(parted)), seed=0)
    assert "\n" not in str(told.value)
