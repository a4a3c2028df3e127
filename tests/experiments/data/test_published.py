"""Data sets by name, from tiny files in the published formats."""

import gzip
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from experiments.config.schema import DataConfig
from experiments.data.images import ImageData
from experiments.data.sources import load_data
from search_spaces.records import InputError

RANDOM = np.random.RandomState(0)
PIXELS = RANDOM.randint(0, 256, (120, 3072)).astype(np.uint8)
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SCALER_DATA", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def loaded(name: str, **settings: object) -> ImageData:
    return load_data(DataConfig(source=name, validation_fraction=0.1, **settings), seed=0)


def labels_of(count: int, classes: int) -> np.ndarray:
    return np.arange(count) % classes


def write_binary(folder: Path) -> Path:
    """CIFAR-10's binary version: five batches of 20 images, and a test batch of 20."""
    folder.mkdir(parents=True)
    for number in range(6):
        rows = slice(20 * number, 20 * number + 20)
        content = np.column_stack([labels_of(20, 10).astype(np.uint8), PIXELS[rows]])
        name = f"data_batch_{number + 1}.bin" if number < 5 else "test_batch.bin"
        (folder / name).write_bytes(content.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return folder


def write_pickles(folder: Path, monkeypatch) -> Path:
    """The same as CIFAR-10's Python version, with the checksums of these files."""
    folder.mkdir(parents=True)

    def write(name: str, content: dict[str, object]) -> str:
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    sums = []
    for number in range(6):
        name = f"data_batch_{number + 1}" if number < 5 else "test_batch"
        rows = slice(20 * number, 20 * number + 20)
        batch = {"data": PIXELS[rows], "labels": labels_of(20, 10).tolist()}
        sums.append([name, write(name, batch)])
    meta = {**datasets.CIFAR10.meta, "md5": write("batches.meta", {"label_names": list(NAMES)})}
    monkeypatch.setattr(datasets.CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", sums[5:])
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    return folder


def write_idx(folder: Path, *, packed: bool = False) -> Path:
    folder.mkdir(parents=True)
    random = np.random.RandomState(1)
    for part, count in (("train", 100), ("t10k", 30)):
        images = random.randint(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = labels_of(count, 10).astype(np.uint8)
        for kind, values in (("images", images), ("labels", labels)):
            sizes = np.array(values.shape, dtype=">u4").tobytes()
            content = bytes((0, 0, 8, values.ndim)) + sizes + values.tobytes()
            path = folder / f"{part}-{kind}-idx{values.ndim}-ubyte"
            if packed:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content))
            else:
                path.write_bytes(content)
    return folder


def test_cifar10_is_read_as_torchvision_reads_it(home, monkeypatch):
    write_pickles(home / "cifar-10-batches-py", monkeypatch)
    data = loaded("cifar10")
    theirs = datasets.CIFAR10(home, train=False)
    assert np.array_equal(data.test.images, np.stack([theirs.data]).transpose(0, 1, 4, 2, 3)[0])
    assert data.test.labels.tolist() == theirs.targets
    assert data.classes == tuple(theirs.classes)
    assert (len(data.train) + len(data.validation), data.channels, data.image_size) == (100, 3, 32)


def test_both_versions_of_cifar10_are_the_same_data(home, monkeypatch):
    write_pickles(home / "cifar10" / "cifar-10-batches-py", monkeypatch)
    pickled = loaded("cifar10").fingerprint
    write_binary(home / "cifar10" / "cifar-10-batches-bin")
    (home / "cifar10" / "cifar-10-batches-py" / "batches.meta").unlink()  # is no longer needed
    assert loaded("cifar10").fingerprint == pickled


def test_a_pickle_that_is_not_the_published_one_is_not_opened(home, monkeypatch):
    folder = write_pickles(home / "cifar-10-batches-py", monkeypatch)
    (folder / "data_batch_3").write_bytes(pickle.dumps({"data": PIXELS[:20], "labels": [0] * 20}))
    monkeypatch.setattr(pickle, "Unpickler", None)
    with pytest.raises(InputError, match=r"data_batch_3' is not the published file .*MD5 differs"):
        loaded("cifar10")


def test_a_pickle_with_the_right_checksum_can_build_nothing_but_arrays(home, monkeypatch):
    folder = write_pickles(home / "cifar-10-batches-py", monkeypatch)
    evil = pickle.dumps({"label_names": Path("x")}, protocol=2)
    (folder / "batches.meta").write_bytes(evil)
    meta = {**datasets.CIFAR10.meta, "md5": hashlib.md5(evil).hexdigest()}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    with pytest.raises(pickle.UnpicklingError, match="pathlib"):
        loaded("cifar10")


def test_cifar100_has_its_fine_labels(home):
    folder = home / "cifar-100-binary"
    folder.mkdir()
    for name, each in (("train.bin", 3), ("test.bin", 1)):
        fine = np.tile(np.arange(100), each).astype(np.uint8)
        pixels = RANDOM.randint(0, 256, (len(fine), 3072)).astype(np.uint8)
        (folder / name).write_bytes(np.column_stack([fine // 5, fine, pixels]).tobytes())
    (folder / "fine_label_names.txt").write_text("\n".join(f"fine{n}" for n in range(100)))
    data = loaded("cifar100")
    assert (data.num_classes, data.classes[7]) == (100, "fine7")
    assert data.test.labels.tolist() == list(range(100))


@pytest.mark.parametrize(
    ("name", "published"), [("mnist", datasets.MNIST), ("fashion_mnist", datasets.FashionMNIST)]
)
def test_mnist_is_read_as_torchvision_reads_it(home, name, published):
    write_idx(home / published.__name__ / "raw")
    data = loaded(name)
    theirs = published(home, train=False)
    assert np.array_equal(data.test.images[:, 0], theirs.data.numpy())
    assert data.test.labels.tolist() == theirs.targets.tolist()
    assert data.channels == 1
    assert data.classes[:1] == (("0",) if name == "mnist" else ("T-shirt/top",))


def test_gzipped_mnist_is_the_same_data(home):
    raw = write_idx(home / "MNIST" / "raw")
    plain = loaded("mnist").fingerprint
    for file in raw.iterdir():
        file.unlink()
    raw.rmdir()
    write_idx(raw, packed=True)
    assert loaded("mnist").fingerprint == plain


def test_images_have_the_size_asked_for(home):
    write_idx(home / "MNIST" / "raw")
    assert loaded("mnist", image_size=14).test.images.shape == (30, 1, 14, 14)


def test_a_changed_pixel_or_label_is_other_data(home):
    raw = write_idx(home / "MNIST" / "raw")
    found = {loaded("mnist").fingerprint}
    for file in ("t10k-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        content = bytearray((raw / file).read_bytes())
        content[-1] ^= 1
        (raw / file).write_bytes(content)
        found.add(loaded("mnist").fingerprint)
    assert len(found) == 3


def test_an_image_folder_of_that_name_goes_first(home, paint):
    write_binary(home / "cifar-10-batches-bin")
    for name in ("cat", "dog"):
        for number in range(5):
            paint(home / "cifar10" / name / f"{number}.png", level=number)
    assert loaded("cifar10").classes == ("cat", "dog")


def test_without_files_the_error_names_the_place_and_the_ways_out(home):
    with pytest.raises(InputError) as told:
        loaded("fashion_mnist")
    for part in (f"'FashionMNIST/raw' in '{home}'", "SCALER_DATA", "--download", "download: true"):
        assert part in str(told.value)


def test_a_download_goes_to_scaler_data_and_is_asked_for_once(home, monkeypatch):
    asked = []

    def download(self) -> None:
        asked.append(Path(self.root))
        write_idx(Path(self.raw_folder))

    monkeypatch.setattr(datasets.MNIST, "download", download)
    assert loaded("mnist", download=True).fingerprint == loaded("mnist", download=True).fingerprint
    assert asked == [home]


def test_a_failed_download_is_told_in_one_line(home, monkeypatch):
    monkeypatch.setattr(datasets.CIFAR10, "url", "file:///nowhere/cifar.tar.gz")
    with pytest.raises(InputError, match=rf"cannot download CIFAR10 to '{home}' \(.*No such file"):
        loaded("cifar10", download=True)


def cut_short(home):
    file = home / "cifar-10-batches-bin/data_batch_2.bin"
    file.write_bytes(file.read_bytes()[:-7])


def label_too_high(home):
    file = home / "cifar-10-batches-bin/test_batch.bin"
    file.write_bytes(bytes([10]) + file.read_bytes()[1:])


def batch_missing(home):
    (home / "cifar-10-batches-bin/data_batch_4.bin").unlink()


MISTAKES = {
    cut_short: "data_batch_2.bin' has 61,453 bytes, which are no whole number of images of 3,073",
    label_too_high: "test_batch.bin' .* 20 images, 20 labels and labels up to 10 of 10 classes",
    batch_missing: "cannot read '.*data_batch_4.bin': No such file.*; unpack the whole archive",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_in_cifars_files_names_the_file(home, mistake):
    write_binary(home / "cifar-10-batches-bin")
    mistake(home)
    with pytest.raises(InputError, match=MISTAKES[mistake]):
        loaded("cifar10")


def labels_for_fewer(raw):
    file = raw / "train-labels-idx1-ubyte"
    file.write_bytes(bytes((0, 0, 8, 1, 0, 0, 0, 2, 0, 1)))


def images_cut_short(raw):
    file = raw / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])


def no_labels(raw):
    (raw / "t10k-labels-idx1-ubyte").unlink()


IDX_MISTAKES = {
    labels_for_fewer: "has 100 images and 2 labels up to 1 for train; there must be as many",
    images_cut_short: "t10k-images-idx3-ubyte' is no IDX file of 3 dimensions",
    no_labels: "cannot read '.*t10k-labels-idx1-ubyte' or 't10k-labels-idx1-ubyte.gz'",
}


@pytest.mark.parametrize("mistake", IDX_MISTAKES)
def test_mistake_in_mnists_files_names_the_file(home, mistake):
    mistake(write_idx(home / "MNIST" / "raw"))
    with pytest.raises(InputError, match=IDX_MISTAKES[mistake]):
        loaded("mnist")


def test_arrays_cannot_be_streamed(home):
    write_idx(home / "MNIST" / "raw")
    with pytest.raises(InputError, match="'mnist' comes as arrays"):
        loaded("mnist", placement="stream")
