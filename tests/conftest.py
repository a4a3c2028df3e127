"""Shared by all tests: small architectures, golden tables, and where real data may be."""

import csv
import os
import tempfile
import zipfile
from pathlib import Path

import pytest

from search_spaces import Architecture, Convolution, Head, MBConv, Stage, Stem

REFERENCE = Path(__file__).parent / "reference"


def golden(name: str) -> list[list[str]]:
    """The rows of a golden table, its comment line left out."""
    lines = (REFERENCE / name).read_text().splitlines()
    return list(csv.reader(line for line in lines if not line.startswith("#")))


@pytest.fixture
def small() -> Architecture:
    """Two MBConv stages on 16 px images: cheap to build, with every part in it."""
    return Architecture(
        name="small",
        resolution=16,
        stem=Stem(channels=8, stride=1, block=Convolution(kernel_size=3)),
        stages=(
            Stage(channels=8, layers=2, stride=1, block=MBConv(expand_ratio=1, kernel_size=3)),
            Stage(
                channels=16,
                layers=2,
                stride=2,
                block=MBConv(expand_ratio=3, kernel_size=5, se_ratio=0.25),
            ),
        ),
        head=Head(channels=32, dropout=0.1),
        drop_connect=0.2,
    )


def pytest_configure() -> None:
    """Where SCALER_DATA names no folder, unpack the data that lie beside the checkout, if any."""
    packed = Path(__file__).parents[2] / "shared" / "data" / "cifar10" / "cifar10-jpg.zip"
    if os.environ.get("SCALER_DATA") or not packed.is_file():
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "scaler-tests"
    folder = cache / "cifar10"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=cache))
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(fresh)
        fresh.rename(folder)
    os.environ["SCALER_DATA"] = str(cache)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first: two processes share the files out, and none waits at the end."""
    items.sort(key=lambda item: item.path.name != "test_line.py")


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """The CIFAR-10 folder under SCALER_DATA; the test is skipped where there is none."""
    folder = Path(os.environ.get("SCALER_DATA", "")) / "cifar10"
    if not (os.environ.get("SCALER_DATA") and folder.is_dir()):
        pytest.skip("SCALER_DATA names no folder with cifar10 in it")
    return folder
