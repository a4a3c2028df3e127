"""A classifier in an exchange format: the file beside it that tells the class of an image."""

import sys
from collections.abc import Callable
from pathlib import Path
from pprint import pformat
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from experiments.export.code import extracted, place_of, python_file
from experiments.export.model import Model, prepare

_TOLD = 3  # classes of an image
HOW = {"size", "mean", "std", "fit", "image_size"}  # of `Preprocessing`: what `prepare` reads


@torch.no_grad()
def classify(
    image: Any, run: Callable[[Tensor], tuple[Tensor, ...]], settings: dict[str, Any]
) -> list[tuple[str, float]]:
    """Each class and the share of belief in it (softmax, the sum is 1), the likeliest first.

    `image` is Pillow's; `run` gives the model's scores (1, K) of an input.
    """
    (scores,) = run(prepare(image, settings))
    values, order = scores[0].softmax(0).sort(descending=True)
    names = [settings["classes"][number] for number in order.tolist()]
    return list(zip(names, values.tolist(), strict=True))


def runner(folder: Path, outputs: tuple[str, ...]) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """The model beside this file, by ONNX Runtime; without model.onnx by torch.export."""
    if not (folder / "model.onnx").is_file():
        program: Any = torch.export.load(folder / "model.pt2").module()

        def run_program(inputs: Tensor) -> tuple[Tensor, ...]:
            given = program(inputs)
            return given if isinstance(given, tuple) else (given,)

        return run_program
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx")

    def run(inputs: Tensor) -> tuple[Tensor, ...]:
        given = session.run(list(outputs), {"images": inputs.numpy()})
        return tuple(torch.from_numpy(each) for each in given)

    return run


def main(settings: dict[str, Any]) -> None:
    """Print the likeliest classes of the images that the command line names, a row a class."""
    run = runner(Path(__file__).parent, ("scores",))
    print("file,class,belief")
    for path in sys.argv[1:]:
        for name, belief in classify(Image.open(path), run, settings)[:_TOLD]:
            print(f"{path},{name},{belief:.4f}")


_HEAD = '''\
"""Tells the class of images by the model beside it; needs torch, Pillow, numpy.

python classify.py IMAGE ... prints the three likeliest classes of each. With model.onnx it needs
onnxruntime too. Written by `scaler export`.
"""

from __future__ import annotations'''


def classify_code(model: Model) -> str:
    """The text of classify.py, which tells of an image what the network itself does."""
    classes = list(model.classes) or [str(n) for n in range(model.num_classes)]
    settings = {**model.preprocessing.model_dump(mode="json", include=HOW), "classes": classes}
    return standalone(_HEAD, main, settings)


def standalone(head: str, main: Callable[[dict[str, Any]], None], settings: dict[str, Any]) -> str:
    """A Python file that calls `main` with `settings`, and has all that it needs of ours."""
    imports, definitions = extracted([place_of(main)], replaced={})
    ends = [
        f"SETTINGS = {pformat(settings, width=100, compact=True, sort_dicts=False)}",
        'if __name__ == "__main__":\n    main(SETTINGS)',
    ]
    return python_file(head, imports, [*definitions, *ends])
