"""Every code block and command of the README and of docs/ runs, or says beside it why not."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.store.store import Store
from experiments.store.trial import architecture_of
from scaler import CompoundCoefficients, scale_to_flops
from tests import pages
from tests.experiments.report.conftest import HandMadeRun, sample

ROOT = Path(__file__).parents[1]
# analysis.md has a test of its own, which looks at what its code finds
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if page.name != "analysis.md" and pages.blocks(page)]
SLOW = [page for page in PAGES if any(block.slow for block in pages.blocks(page))]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """What the pages speak of: finished runs, and a folder of class folders with images."""
    folder = tmp_path_factory.mktemp("shelf")
    for name in ("digits", "other"):
        run = sample(folder / "runs" / name, trials=12)
        store = Store(run.study)
        smallest = min(store.trials("search"), key=lambda trial: trial.user_attrs["flops"])
        baseline = architecture_of(smallest).replace(name=f"{name}_baseline")
        run.write_baseline(baseline)
        HandMadeRun(run, baseline).confirm()
        run.write_coefficients(CompoundCoefficients())
        bigger = scale_to_flops(
            baseline, target_flops=2e7, coefficients=CompoundCoefficients(), tolerance=0.1
        )
        run.write_member(bigger.architecture.replace(name=f"{name}_b2"))
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        images = folder / "path" / "to" / "images" / label
        images.mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(images / f"{number}.png")
    _draw_boxes(folder / "path" / "to" / "boxes")
    _draw_masks(folder / "path" / "to" / "masks")
    return folder


def _draw_boxes(folder):
    """Twenty pictures, each with a bright square that COCO's file knows."""
    (folder / "images").mkdir(parents=True)
    images, boxes = [], []
    for number in range(20):
        pixels = np.full((48, 64, 3), number, dtype=np.uint8)
        pixels[10:30, number : number + 24, number % 2] = 220
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 48})
        box = [number, 10, 24, 20]
        boxes.append({"image_id": number, "category_id": number % 2, "bbox": box})
    categories = [{"id": 0, "name": "red"}, {"id": 1, "name": "green"}]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))


def _draw_masks(folder):
    """Twenty pictures, each with a bright square that its mask knows."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(20):
        mask = np.zeros((48, 48), dtype=np.uint8)
        mask[10:30, number : number + 24] = 1
        Image.fromarray(200 * mask).convert("RGB").save(folder / "images" / f"{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")


@pytest.fixture
def scratch(shelf, tmp_path, monkeypatch):
    """An empty folder but for what stands on the shelf; `scaler` and `python` are ours there."""
    shutil.copytree(shelf, tmp_path, dirs_exist_ok=True)
    (tmp_path / "bin").mkdir()
    for name, begins in (("scaler", "-m experiments"), ("python", "")):
        command = tmp_path / "bin" / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {begins} "$@"\n')
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("SCALER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page, scratch):  # noqa: ARG001
    pages.run(page, slow=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", SLOW, ids=lambda page: page.stem)
def test_the_long_blocks_of_a_page_run(page, scratch):  # noqa: ARG001
    pages.run(page, slow=True)


def test_a_block_that_is_not_run_says_why():
    reasons = [b.skip for page in PAGES for b in pages.blocks(page) if b.skip is not None]
    assert all(len(reason.split()) >= 3 for reason in reasons)


def test_a_block_that_fails_is_named_by_its_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\n1 / 0\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:3: ZeroDivisionError"):
        pages.run(page, slow=False)
    page.write_text("```bash\nscaler show no_such_network\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:1: .*ends with status 2"):
        pages.run(page, slow=False)
