"""A network that scores pixels, taken away: folder, exchange formats, what cannot hold it."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig
from experiments.export import load_exported, network_code, predict
from experiments.export.folder import write_exported
from experiments.export.model import checkpoint_model
from experiments.export.segmenting import segment_code
from experiments.training.checkpoint import save_checkpoint
from experiments.training.training import Training
from search_spaces import Architecture, InputError
from tests.experiments.training.test_masks import SMALL, squares

UNET = {"kind": "unet", "widths": [8], "layers": 1, "up": "deconvolution"}
HEADS = [
    UNET,
    pytest.param({"kind": "fcn", "widths": [8], "skips": 2}, marks=pytest.mark.slow),
    pytest.param({"kind": "deeplab", "channels": 8, "rates": [1, 2]}, marks=pytest.mark.slow),
]


def checkpoint(folder, head, **data_config):
    """A segmenter's checkpoint with statistics of its own, in eval mode beside it."""
    data, table = squares(), Architecture.parse({**SMALL.model_dump(), "head": head}, source="test")
    training = Training(
        table, data, DataConfig(**data_config), TrainConfig(device="cpu"), epochs=1, seed=0
    )
    network = training.network()
    network.train()(torch.randn(4, 3, 16, 16))
    path = folder / "best.safetensors"
    save_checkpoint(path, network, metadata=training.metadata(accuracy=0.5, test_accuracy=0.25))
    return path, network.eval()


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head["kind"])
def test_folder_program_and_onnx_give_the_eager_scores(tmp_path, head):
    import onnxruntime

    path, network = checkpoint(tmp_path, head)
    folder = tmp_path / "out"
    write_exported(checkpoint_model(path), folder, formats=["torch", "onnx"], folded=True)
    loaded = load_exported(folder)
    inputs = loaded.preprocessing(torch.from_numpy(squares().test.images[:3]))
    with torch.no_grad():
        expected = network(inputs)
        program = torch.export.load(folder / "model.pt2").module()(inputs)
        again = loaded.network(inputs)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (scores,) = session.run(None, {"images": inputs.numpy()})
    assert expected.shape == (3, 2, 16, 16)
    for found in (program, again, torch.from_numpy(scores)):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def photo(folder):
    """A picture that is no square."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    return folder / "a.png"


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop", "patches"])
def test_the_file_beside_the_formats_gives_the_mask_that_predict_gives(tmp_path, fit):
    path, network = checkpoint(tmp_path, UNET, fit=fit, image_size=24)
    text = segment_code(checkpoint_model(path))
    assert "experiments" not in text
    code = {"__name__": "segment"}
    exec(text, code)
    assert code["SETTINGS"]["fit"] == fit
    image = photo(tmp_path)
    with torch.no_grad():
        mask = code["segment"](Image.open(image), lambda x: (network(x),), code["SETTINGS"])
    predict(path, [image], output=tmp_path / "told")
    told = np.asarray(Image.open(tmp_path / "told" / "masks" / "a.png"))
    assert mask.shape == told.shape == (40, 30)
    assert 0 < told.mean() < 1
    assert (mask == told).mean() > 0.999


@pytest.mark.slow
def test_the_file_beside_the_formats_needs_none_of_this_package(tmp_path):
    path, _ = checkpoint(tmp_path, UNET)
    folder, image = tmp_path / "out", photo(tmp_path)
    write_exported(checkpoint_model(path), folder, formats=["torch", "onnx"], folded=True)
    table = predict(path, [image], output=tmp_path / "told")
    told = np.asarray(Image.open(tmp_path / "told" / "masks" / "a.png"))
    for _ in ("model.onnx", "model.pt2"):
        run = [sys.executable, "-I", folder / "segment.py", image, "-o", tmp_path / "masks"]
        printed = subprocess.run(run, check=True, capture_output=True, text=True).stdout
        assert printed.splitlines()[0] == "file,ground,square"
        mask = np.asarray(Image.open(tmp_path / "masks" / "a.png"))
        assert (mask == told).mean() > 0.99
        shares = [float(value) for value in printed.splitlines()[1].split(",")[1:]]
        assert np.allclose(shares, table[["ground", "square"]].values[0], atol=0.02)
        (folder / "model.onnx").unlink(missing_ok=True)  # then by the program


def test_the_card_names_the_classes_and_the_metric_and_nothing_of_timm(tmp_path):
    path, _ = checkpoint(tmp_path, UNET)
    write_exported(checkpoint_model(path), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "tells the class of each pixel, of 2 classes" in card
    assert "| Dice on the test part, looked at once | 0.2500 |" in card
    assert "- classes: ground, square" in card
    assert "timm" not in card
    assert load_exported(tmp_path / "out").classes == ("ground", "square")


def test_what_cannot_hold_a_segmenter_is_refused_in_a_line(tmp_path):
    from experiments.export.timm import scaler_network

    path, _ = checkpoint(tmp_path, UNET)
    model = checkpoint_model(path)
    with pytest.raises(InputError, match=r"^timm's layout is for classification"):
        scaler_network(architecture=model.architecture)
    with pytest.raises(InputError, match=r"^code that needs torch alone is for classification"):
        network_code(model.architecture)
