"""What `predict` tells is what the training's own evaluation counted, and what it refuses."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig
from experiments.data.boxes import clip
from experiments.data.fitting import unfit_boxes
from experiments.data.sources import load_data
from experiments.export import load_exported, predict
from experiments.export.boxes import find_boxes
from experiments.export.folder import write_exported
from experiments.export.model import Preprocessing, checkpoint_model, prepare
from experiments.export.pixels import score_pixels
from experiments.training.augmentation import Preparation
from experiments.training.batches import place
from experiments.training.checkpoint import save_checkpoint
from experiments.training.detection import measure_detections
from experiments.training.metrics import METRICS
from experiments.training.moving import targets_of
from experiments.training.training import Training
from search_spaces import Architecture, InputError
from tests.experiments.training.test_detection import DETECTOR
from tests.experiments.training.test_masks import SMALL

COLOURS = np.array([[10, 20, 30], [200, 100, 50]], dtype=np.uint8)
RECIPE = TrainConfig(batch_size=4, device="cpu", precision="float32")


def trained(folder, source, architecture, **how):
    """A checkpoint after one epoch, the data, and what the training measured on the test part."""
    config = DataConfig(source=str(source), **how)
    data = load_data(config, seed=0)
    training = Training(architecture, data, config, RECIPE, epochs=1, seed=0)
    network = next(training.run()).network
    tested = training.test(network)
    path = folder / "checkpoints" / "best.safetensors"
    save_checkpoint(path, network, metadata=training.metadata(test_accuracy=tested))
    return path, data, tested


@pytest.fixture
def masked(tmp_path):
    """Bright squares on noise of 20 px, with masks in colours, and a segmenter of them."""
    draw = np.random.RandomState(0)
    for part, count in (("train", 8), ("test", 4)):
        for number in range(count):
            image = draw.randint(0, 90, (20, 20, 3)).astype(np.uint8)
            mask = np.zeros((20, 20), dtype=int)
            top, left = draw.randint(0, 12, 2)
            image[top : top + 8, left : left + 8] += 120
            mask[top : top + 8, left : left + 8] = 1
            for name, pixels in (("images", image), ("masks", COLOURS[mask])):
                path = tmp_path / "data" / part / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    lines = [f"{name},{','.join(map(str, c))}" for name, c in zip("ab", COLOURS, strict=True)]
    (tmp_path / "data" / "classes.csv").write_text("\n".join(["name,r,g,b", *lines]))
    return (tmp_path / "data", *trained(tmp_path, tmp_path / "data", SMALL))


def test_masks_that_are_told_have_the_trainings_test_dice_exactly(masked, tmp_path):
    source, path, data, tested = masked
    out = tmp_path / "out"
    table = predict(tmp_path, [source / "test" / "images"], output=out)
    told = [Image.open(out / "masks" / name) for name in table["file"]]
    cells = data.test.masks.astype(int) * 2 + np.stack([np.asarray(mask) for mask in told])
    matrix = np.bincount(cells.ravel(), minlength=4).reshape(2, 2)
    assert METRICS["dice"].of(torch.from_numpy(matrix)) == tested
    assert table["b"].tolist() == [(np.asarray(mask) == 1).mean() for mask in told]
    assert np.array_equal(np.asarray(told[0].convert("RGB")), COLOURS[np.asarray(told[0])])
    assert Image.open(out / "overlays" / "0.png").size == (20, 20)
    assert (out / "classes.csv").read_text().splitlines()[1] == "a,10,20,30"
    write_exported(checkpoint_model(path), tmp_path / "export")
    again = predict(tmp_path / "export", [source / "test" / "images"], output=tmp_path / "again")
    assert again.equals(table)
    assert load_exported(tmp_path / "export").colours == ((10, 20, 30), (200, 100, 50))


def test_masks_told_in_patches_have_the_trainings_test_dice_exactly(masked, tmp_path):
    """Images of 20 px, pieces of 16: what predict and the export do is what the training judged."""
    source = masked[0]
    path, data, tested = trained(tmp_path / "p", source, SMALL, fit="patches")
    write_exported(checkpoint_model(path), tmp_path / "export")
    how = load_exported(tmp_path / "export").preprocessing
    assert (how.fit, how.image_size, how.size) == ("patches", 20, 16)
    pixels = torch.from_numpy(data.test.images)
    assert how(pixels).shape == (4, 3, 20, 20)
    given = Image.fromarray(data.test.images[0].transpose(1, 2, 0))
    assert torch.equal(prepare(given, how.model_dump()), how(pixels[:1]))
    table = predict(tmp_path / "export", [source / "test" / "images"], output=tmp_path / "out")
    told = [np.asarray(Image.open(tmp_path / "out" / "masks" / name)) for name in table["file"]]
    cells = data.test.masks.astype(int) * 2 + np.stack(told)
    matrix = np.bincount(cells.ravel(), minlength=4).reshape(2, 2)
    assert METRICS["dice"].of(torch.from_numpy(matrix)) == tested
    wide = Image.new("RGB", (40, 25))
    assert score_pixels(checkpoint_model(path), wide, window=12).shape == (2, 25, 40)


def test_a_window_as_large_as_the_image_is_one_pass_and_smaller_ones_cover_all(masked):
    model = checkpoint_model(masked[1])
    pixels = torch.from_numpy(masked[2].test.images[0])
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    with torch.no_grad():
        whole = model.network(model.preprocessing(pixels[None]))
    resized = torch.nn.functional.interpolate(whole, size=(20, 20), mode="bilinear")[0]
    assert torch.equal(score_pixels(model, image), resized)
    wide = Image.fromarray(np.concatenate([np.asarray(image)] * 3, axis=1))
    scores = score_pixels(model, wide, window=13)
    assert scores.shape == (2, 20, 60)
    assert scores.isfinite().all()
    # The same square thrice: where a window holds just one of them, the scores are that pass's.
    assert torch.allclose(score_pixels(model, wide)[:, :, :4], resized[:, :, :4], atol=1e-5)


class AsItIs(torch.nn.Module):
    """Gives what it is shown."""

    def __init__(self):
        super().__init__()
        self.any = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return x


@pytest.mark.parametrize("image_size", [None, 20])
@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_scores_of_a_whole_image_lie_on_the_pixels_that_they_are_of(fit, image_size):
    x, y = np.meshgrid(np.arange(60), np.arange(37))
    image = Image.fromarray(np.stack([4 * x, 6 * y, 2 * (x + y)], axis=2).astype(np.uint8))
    how = Preprocessing(size=23, channels=3, mean=(0, 0, 0), std=(1, 1, 1), fit=fit,
                        image_size=image_size)  # fmt: skip
    model = SimpleNamespace(network=AsItIs(), preprocessing=how)
    scores = score_pixels(model, image).movedim(0, 2)[6:-6, 6:-6] * 255
    off = (scores - torch.from_numpy(np.array(image))[6:-6, 6:-6]).abs()
    assert off.max() < 2  # of 255; a pixel beside is 4, 6 and 2 off


def boxed(folder, *, count=4):
    """Bright squares on wide and high pictures, some of them lying, with their boxes as COCO."""
    draw = np.random.RandomState(0)
    for part in ("train", "test"):
        pictures, known = [], []
        for number in range(count):
            wide, tall = [(30, 19), (21, 33)][number % 2]
            pixels = draw.randint(0, 90, (tall, wide, 3)).astype(np.uint8)
            left, top = draw.randint(0, 10, 2)
            pixels[top : top + 8, left : left + 8] += 120
            exif = Image.Exif()
            if number == 1:  # 270 degrees, so that viewers turn it back by 90
                exif[ExifTags.Base.Orientation], pixels = 6, np.rot90(pixels)
            path = folder / part / "images" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, exif=exif)
            pictures.append({"id": number, "file_name": path.name, "width": wide, "height": tall})
            known.append({"image_id": number, "category_id": 1 + number % 2,
                          "bbox": [int(left), int(top), 8, 8]})  # fmt: skip
        content = {"images": pictures, "annotations": known,
                   "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}  # fmt: skip
        (folder / part / "instances.json").write_text(json.dumps(content))
    return folder


POINTS = {**DETECTOR.head.model_dump(), "predictor": {"kind": "points", "score_threshold": 0.01}}


def detector(folder, config, head=POINTS):
    """The checkpoint of a detector with scores of its own, its data, and the network itself."""
    data = load_data(config, seed=0)
    table = Architecture.parse({**DETECTOR.model_dump(), "head": head}, source="test")
    training = Training(table, data, config, RECIPE, epochs=1, seed=0)
    network = training.network()
    scores = network.head.detector.head.classification_head.cls_logits
    torch.nn.init.normal_(scores.conv.weight, std=0.1)
    network.train()(torch.randn(2, 3, 32, 32), targets_of(torch.ones(2, 0, 5)))  # statistics
    network.eval()
    path = folder / "checkpoints" / "best.safetensors"
    save_checkpoint(path, network, metadata=training.metadata(test_accuracy=0.25, score=0.1))
    return path, data, network


def test_boxes_that_are_told_are_those_that_the_training_judged(tmp_path):
    source = boxed(tmp_path / "data")
    config = DataConfig(source=str(source), image_size=24)
    path, data, network = detector(tmp_path, config)
    prepare = Preparation.of(data.statistics, resolution=32, device=torch.device("cpu"))
    judged = measure_detections(network, place(data.test, torch.device("cpu")), prepare=prepare)
    table = predict(path, [source / "test" / "images"], output=tmp_path / "out", score=0)
    assert list(table) == ["file", "class", "score", "x1", "y1", "x2", "y2"]
    images = [source / "test" / "images"]
    again = predict(path, images, output=tmp_path / "again", score=0, window=33)
    assert again.equals(table)  # a window as large as the image is the image
    write_exported(checkpoint_model(path), tmp_path / "export")
    for network, folder in ((path, "own"), (tmp_path / "export", "exported")):  # its own score
        own = predict(network, images, output=tmp_path / folder)
        assert 0 < len(own) < len(table)
        assert len(own) == (table["score"] >= 0.1).sum()
    for number, (_, found) in enumerate(judged):
        width, height = [(30, 19), (21, 33)][number % 2]
        where = {"width": width, "height": height, "size": 24, "fit": "pad"}
        own = table[table["file"] == f"{number}.png"]
        inside = clip(
            unfit_boxes(found["boxes"].numpy() * 24 / 32, **where), width=width, height=height
        )
        assert len(own) == len(inside.corners) > 5
        assert np.allclose(own[["x1", "y1", "x2", "y2"]], inside.corners, atol=2e-3)
        assert np.allclose(own["score"], found["scores"][inside.kept], atol=1e-3)
        assert own["class"].tolist() == [data.classes[n] for n in found["labels"][inside.kept]]
        with Image.open(tmp_path / "out" / "overlays" / f"{number}.png") as overlay:
            assert overlay.width * height == overlay.height * width


class Patches(torch.nn.Module):
    """Finds what is of one of these greys: a box each, as large as that."""

    def __init__(self, greys):
        super().__init__()
        self.greys = torch.nn.Parameter(torch.tensor(greys) / 255)

    def forward(self, x):
        boxes, labels = [], []
        for label, grey in enumerate(self.greys):
            rows, columns = ((x[0, 0] - grey).abs() < 0.001).nonzero().unbind(1)
            if len(rows):
                labels.append(label)
                corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                boxes.append(torch.stack(corners).float())
        scores = torch.linspace(0.9, 0.5, len(labels))
        return [{"boxes": torch.stack(boxes) if boxes else torch.zeros(0, 4),
                 "labels": torch.tensor(labels, dtype=torch.int64), "scores": scores}]  # fmt: skip


def test_windows_tell_each_box_once_wherever_it_lies():
    how = Preprocessing(size=20, channels=3, mean=(0, 0, 0), std=(1, 1, 1), fit="pad")
    model = SimpleNamespace(network=Patches([100, 200]), preprocessing=how, architecture=DETECTOR)
    for left in range(46):
        pixels = np.zeros((35, 50, 3), dtype=np.uint8)
        pixels[left % 31 :, left:][:4, :4] = 100  # as large as what windows share, less one
        pixels[30:33, 20:22] = 200
        found = find_boxes(model, Image.fromarray(pixels), window=20)
        order = np.argsort(found.classes)
        top = left % 31
        expected = [[left, top, left + 4, top + 4], [20, 30, 22, 33]]
        assert found.classes[order].tolist() == [0, 1]
        assert found.corners[order].tolist() == expected


def test_a_classifiers_table_has_the_trainings_test_accuracy(tmp_path, tiny):
    draw = np.random.RandomState(1)
    for part in ("train", "test"):
        for number in range(12):
            label = ("dark", "light")[number % 2]
            pixels = draw.randint(0, 150, (10, 14, 3)) + 60 * (number % 2)
            path = tmp_path / "data" / part / label / f"{label}{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    path, _, tested = trained(tmp_path, tmp_path / "data", tiny)
    table = predict(path, [tmp_path / "data" / "test"], output=tmp_path / "out")
    pairs = zip(table["file"], table["class"], strict=True)
    right = [file.split("/")[0] == told for file, told in pairs]
    assert np.mean(right) == tested
    assert np.allclose(table[["dark", "light"]].sum(axis=1), 1)
    assert (tmp_path / "out" / "predictions.csv").read_text().startswith("file,class,dark,light")


def test_what_cannot_be_told_is_refused_before_anything_is_written(masked, tmp_path):
    source, path, _, _ = masked
    out, images = tmp_path / "out", source / "test" / "images"
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.png").write_bytes(b"no image")
    (tmp_path / "0.jpg").write_bytes((images / "0.png").read_bytes())
    refused = [
        (path, [tmp_path / "empty"], "'.*empty' holds no images"),
        (path, [tmp_path / "bad.png"], r"cannot decode image '.*bad\.png'"),
        (path, [tmp_path / "none.png"], r"no image '.*none\.png': there is no such file"),
        (path, [images, tmp_path / "0.jpg"], r"'.*0\.png' and '.*0\.jpg' have one name"),
        ("efficientnet_b0", [images], "'efficientnet_b0' has no trained weights; name a folder"),
        (tmp_path / "empty", [images], "is a folder with no weights yet"),
    ]
    for network, some, words in refused:
        with pytest.raises(InputError, match=words):
            predict(network, some, output=out)
        assert not out.exists()
    with pytest.raises(InputError, match="a score is for networks that find boxes"):
        predict(path, [images], output=out, score=0.5)
    with pytest.raises(InputError, match=r"is not empty and holds no predictions\.csv"):
        predict(path, [images], output=source)
