"""A network that scores pixels, taken away: folder, exchange formats, what cannot hold it."""

import pytest
import torch

from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig
from experiments.export import load_exported, network_code
from experiments.export.folder import write_exported
from experiments.export.model import checkpoint_model
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


def checkpoint(folder, head):
    """A segmenter's checkpoint with statistics of its own, in eval mode beside it."""
    data, table = squares(), Architecture.parse({**SMALL.model_dump(), "head": head}, source="test")
    training = Training(table, data, DataConfig(), TrainConfig(device="cpu"), epochs=1, seed=0)
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
