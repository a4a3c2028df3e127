"""A detector, taken away: the folder, exchange formats, the file that chooses the best boxes."""

import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from experiments.config.schema import DataConfig
from experiments.export import load_exported, predict
from experiments.export.detecting import EveryPlace, detect_code
from experiments.export.folder import write_exported
from experiments.export.model import checkpoint_model, untrained_model
from search_spaces import Architecture, InputError
from tests.experiments.export.test_predicting import POINTS, boxed, detector
from tests.experiments.training.test_detection import DETECTOR

ANCHORS = {"kind": "anchors", "layers": 1, "score_threshold": 0.001}
BIFPN = {"kind": "bifpn", "channels": 16, "layers": 1, "levels": [4, 8, 16]}
HEADS = {
    "points": POINTS,
    "anchors": {**POINTS, "predictor": ANCHORS},
    "efficientdet": {**BIFPN, "predictor": {**ANCHORS, "norm": "batch_norm"}},
}


def exported(folder, head=POINTS, **options):
    """A detector's checkpoint, its export, and the images of its test part."""
    source = boxed(folder / "data")
    config = DataConfig(source=str(source), image_size=24)
    path, _, network = detector(folder, config, head)
    write_exported(checkpoint_model(path), folder / "export", **options)
    return path, network, sorted((source / "test" / "images").iterdir())


def test_a_folder_loads_bit_for_bit_and_its_card_tells_map50(tmp_path):
    _, network, _ = exported(tmp_path)
    loaded, x = load_exported(tmp_path / "export"), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        for ours, theirs in zip(network(x), loaded.network(x), strict=True):
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    card = (tmp_path / "export" / "README.md").read_text()
    assert "A detector, which finds boxes of 2 classes." in card
    assert "| mAP50 on the test part, looked at once | 0.2500 |" in card
    assert "timm" not in card
    assert "detect.py" not in card


def agree(table, told):
    """Two tables of boxes have the same ones, up to rounding."""
    figures = ["score", "x1", "y1", "x2", "y2"]
    assert len(table) == len(told) > 20
    assert table["class"].tolist() == told["class"].tolist()
    assert np.allclose(table[figures], told[figures], atol=5e-3)


def test_the_file_that_chooses_finds_what_the_network_itself_does(tmp_path):
    path, network, images = exported(tmp_path)
    text = detect_code(checkpoint_model(path), EveryPlace(network, torch.zeros(2, 3, 32, 32)))
    assert "experiments" not in text
    code = {"__name__": "detect"}
    exec(text, code)
    every = EveryPlace(network, torch.zeros(2, 3, 32, 32))
    rows = [
        (name, score, *box)
        for image in images
        for name, score, box in code["detect"](Image.open(image), every, code["SETTINGS"])
    ]
    told = pd.DataFrame(rows, columns=["class", "score", "x1", "y1", "x2", "y2"])
    agree(predict(path, images, output=tmp_path / "out", score=0), told)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "folded"), [("points", True), ("anchors", False), ("efficientdet", True)]
)
def test_onnx_and_the_program_find_what_the_network_does_without_this_package(
    tmp_path, kind, folded
):
    import onnxruntime

    path, network, images = exported(
        tmp_path, HEADS[kind], formats=["torch", "onnx"], folded=folded
    )
    folder, x = tmp_path / "export", torch.randn(3, 3, 32, 32)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    program = torch.export.load(folder / "model.pt2").module()
    with torch.no_grad():
        expected = EveryPlace(network, x)(x)
        for found in (program(x), map(torch.from_numpy, session.run(None, {"images": x.numpy()}))):
            for ours, theirs, atol in zip(expected, found, (1e-4, 1e-3), strict=True):
                torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=atol)  # scores, pixels
    table = predict(path, images, output=tmp_path / "out", score=0)
    for _ in ("model.onnx", "model.pt2"):
        run = [sys.executable, "-I", folder / "detect.py", *images]
        all_of_them, sure = (
            pd.read_csv(io.StringIO(subprocess.check_output([*run, *options], text=True)))
            for options in (("--score", "0"), ())
        )
        agree(table, all_of_them)
        assert len(sure) == (table.score >= checkpoint_model(path).score).sum()
        (folder / "model.onnx").unlink(missing_ok=True)  # then by the program


def test_int8_is_refused_in_a_line_that_names_the_task(tmp_path):
    from experiments.export.calibration import calibration_data
    from tests.experiments.training.test_masks import squares

    config = DataConfig(source=str(boxed(tmp_path / "data")), image_size=24)
    path, _, _ = detector(tmp_path, config)
    message = "^int8 is for classification and segmentation, but '.*' is for detection"
    with pytest.raises(InputError, match=message):
        calibration_data(path, checkpoint_model(path), None)
    with pytest.raises(InputError, match=message):
        write_exported(checkpoint_model(path), tmp_path / "out", calibration=squares())
    assert not (tmp_path / "out").exists()


def test_two_stages_are_a_folder_and_no_exchange_format(tmp_path):
    head = {**POINTS, "predictor": {"kind": "proposals", "count": 20, "widths": [8]}}
    table = Architecture.parse({**DETECTOR.model_dump(), "head": head}, source="test")
    (tmp_path / "table.yaml").write_text(table.to_yaml())
    model = untrained_model(str(tmp_path / "table.yaml"), num_classes=2)
    with pytest.raises(InputError, match=r"detectors in one stage .* leave --format out: the fol"):
        write_exported(model, tmp_path / "out", formats=["onnx"])
    with pytest.raises(InputError, match="int8 is for classification"):
        write_exported(model, tmp_path / "out", calibration=object())
    assert not (tmp_path / "out").exists()
    write_exported(model, tmp_path / "out")
    assert "one image, at 20 proposals)" in (tmp_path / "out" / "README.md").read_text()
    (found,) = load_exported(tmp_path / "out").network(torch.zeros(1, 3, 32, 32))
    assert found["boxes"].shape[1] == 4
