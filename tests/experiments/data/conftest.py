"""Small image folders, and a cache of decoded images that no other test sees."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Paint = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SCALER_DATA", raising=False)


@pytest.fixture
def paint() -> Paint:
    """paint(path, level=, size=): write a grey PNG and return its path."""

    def write(path: Path, *, level: int = 0, size: tuple[int, int] = (8, 8)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full(size[::-1], level, dtype=np.uint8)).save(path)
        return path

    return write


@pytest.fixture
def flat(tmp_path, paint) -> Path:
    """flat/<cat|dog>/: 10 images each, whose grey levels are 0..9 and 100..109."""
    for label, name in enumerate(("cat", "dog")):
        for number in range(10):
            paint(tmp_path / "flat" / name / f"{number}.png", level=100 * label + number)
    return tmp_path / "flat"


@pytest.fixture
def parted(tmp_path, paint) -> Path:
    """parted/<train|validation|test>/<cat|dog>/0.png, with more in train/."""
    for part, count in (("train", 4), ("validation", 1), ("test", 2)):
        for name in ("cat", "dog"):
            for number in range(count):
                paint(tmp_path / "parted" / part / name / f"{number}.png")
    return tmp_path / "parted"
