"""Sheets of images as the network saw them: its surest mistakes, or true and own masks or boxes.

They are made at the end of a training, when the images are loaded, so that a report needs no data.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor, nn

from experiments.data.images import IGNORED, ImageData, Part
from experiments.training.augmentation import Preparation
from experiments.training.batches import place
from experiments.training.detection import measure_detections, sure_ones
from experiments.training.hardware import autocast
from experiments.training.judging import Judged
from experiments.training.windows import pixel_scores, resized

MISTAKES = 24  # images on a sheet; with labels about 300 kB
_COLUMNS = 6
_SIDE = 1.5  # inches of an image; at 100 dots an inch
_MASKED = 3  # images each of the best, the middle and the worst
_BOXED = 2.6  # inches of an image with boxes


def make_sheet(
    network: nn.Module,
    part: Part,
    judged: Judged,
    *,
    data: ImageData,
    prepare: Preparation,
    precision: torch.dtype | None = None,
) -> bytes | None:
    """PNG of the most telling images; None if there are none. `precision` as in `judge`."""
    how: dict[str, Any] = {"prepare": prepare, "precision": precision}
    if data.task == "segmentation":
        return _masks(network, part, judged, data=data, **how)
    if data.task == "detection":
        return _boxes(network, part, judged, data=data, **how)
    wrong = np.flatnonzero(judged.told.numpy() != part.labels)
    order = np.argsort(-judged.sure.numpy()[wrong], kind="stable")
    chosen = wrong[order][:MISTAKES].tolist()
    if not chosen:
        return None
    inputs, _ = _seen(part, chosen, prepare)
    rows = -(-len(chosen) // _COLUMNS)
    figure = _figure(_COLUMNS * _SIDE, rows * (_SIDE + 0.45))
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, image, number in zip(grid, inputs, chosen, strict=False):
        _show(axes, image)
        truth, told = data.classes[part.labels[number]], data.classes[judged.told[number]]
        score = f"{_short(told)}, {judged.sure[number]:.0%}"
        axes.set_title(f"{_short(truth)}\ntaken for {score}", fontsize=7, pad=2)
    return _png(figure)


def _masks(
    network: nn.Module, part: Part, judged: Judged, *, data: ImageData, **how: Any
) -> bytes | None:
    """A row for each image: input, truth, prediction; the best, middle and worst by Dice."""
    kinds = _ranked(judged)
    chosen = list(kinds)
    if not chosen:
        return None
    inputs, masks = _seen(part, chosen, how["prepare"])
    told = _predicted(network, part, chosen, **how)
    colours = [*_colours(data.num_classes), (1.0, 1.0, 1.0)]
    shades = ListedColormap(colours)
    figure = _figure(3 * _SIDE + 2.6, len(chosen) * (_SIDE + 0.05) + 0.3)
    grid = figure.subplots(len(chosen), 3, squeeze=False)
    for row, number, image, mask, guess in zip(grid, chosen, inputs, masks, told, strict=True):
        _show(row[0], image)
        row[0].set_ylabel(f"{kinds[number]}\nDice {judged.sure[number]:.2f}", fontsize=8)
        for axes, drawn in ((row[1], mask), (row[2], guess)):
            drawn = np.where(drawn == IGNORED, data.num_classes, drawn)
            axes.imshow(drawn, cmap=shades, vmin=-0.5, vmax=data.num_classes + 0.5)
    names = [*data.classes, "no class"]
    keys = [Patch(color=c, label=_short(n)) for c, n in zip(colours, names, strict=True)]
    keys[-1].set_edgecolor("grey")
    return _framed(figure, grid, ("input", "truth", "prediction"), keys[-40:])


def _ranked(judged: Judged) -> dict[int, str]:
    """{number of an image: best, median or worst}, in this order."""
    ranked = np.argsort(-judged.sure.numpy(), kind="stable")
    middle = max(0, len(ranked) // 2 - _MASKED // 2)
    kinds: dict[int, str] = {}
    for name, some in (
        ("best", ranked[:_MASKED]),
        ("median", ranked[middle : middle + _MASKED]),
        ("worst", ranked[-_MASKED:]),
    ):
        kinds |= {int(n): name for n in some if int(n) not in kinds}
    return kinds


def _boxes(
    network: nn.Module, part: Part, judged: Judged, *, data: ImageData, **how: Any
) -> bytes | None:
    """A row for each image: true boxes, and those found with a score of `judged.score` or more."""
    kinds = _ranked(judged)
    chosen = list(kinds)
    if not chosen:
        return None
    inputs, _ = _seen(part, chosen, how["prepare"])
    own = place(part.take(np.array(chosen)), how["prepare"].scale.device, workers=0)
    found = measure_detections(network, own, **how)
    shades = _colours(data.num_classes)
    figure = _figure(2 * _BOXED + 1.6, len(chosen) * (_BOXED + 0.05) + 0.3)
    grid = figure.subplots(len(chosen), 2, squeeze=False)
    for row, number, image, (truth, told) in zip(grid, chosen, inputs, found, strict=True):
        row[0].set_ylabel(f"{kinds[number]}\nF1 {judged.sure[number]:.2f}", fontsize=8)
        for axes, boxes in zip(row, (truth, sure_ones(told, judged.score)), strict=True):
            _show(axes, image)
            _draw_boxes(axes, boxes, shades)
    keys = [Patch(color=c, label=_short(n)) for c, n in zip(shades, data.classes, strict=True)]
    titles = ("truth", f"found, scores of {judged.score:g} or more")
    return _framed(figure, grid, titles, keys[:40])


def _framed(figure: Figure, grid: Any, titles: Sequence[str], keys: list[Patch]) -> bytes:
    """A sheet as PNG: its columns have titles, its images no axes, its colours a legend."""
    for axes in grid.ravel():
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    figure.legend(handles=keys, loc="outside right upper", fontsize=7, frameon=False)
    return _png(figure)


def _draw_boxes(axes: Any, boxes: dict[str, Tensor], shades: list[Any]) -> None:
    """Outlines in the colours of their classes; found boxes have their score."""
    for i, (left, top, right, bottom) in enumerate(boxes["boxes"].tolist()):
        colour = shades[int(boxes["labels"][i])]
        size = (right - left, bottom - top)
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), *size, fill=False, ec=colour, lw=1.2))
        if "scores" in boxes:
            score = f"{float(boxes['scores'][i]):.2f}"
            axes.text(left, top, score, fontsize=5, color=colour, va="bottom", clip_on=True)


def _seen(part: Part, chosen: Sequence[int], prepare: Preparation) -> tuple[Any, Any]:
    """The network's input, back in 0 to 1, float32 (n, R, R, C), and labels or masks."""
    placed = place(part.take(np.array(chosen)), prepare.scale.device, workers=0)
    images, labels = next(iter(placed.batches([torch.arange(len(chosen))])))
    raw = (prepare(images) - prepare.shift) / prepare.scale / 255
    return raw.clamp(0, 1).movedim(1, -1).cpu().numpy(), labels.cpu().numpy()


@torch.inference_mode()
def _predicted(
    network: nn.Module,
    part: Part,
    chosen: Sequence[int],
    *,
    prepare: Preparation,
    precision: torch.dtype | None,
) -> Any:
    """The classes of each pixel of the masks, (n, H, W)."""
    placed = place(part.take(np.array(chosen)), prepare.scale.device, workers=0)
    network.eval()
    told = []
    for images, masks in placed.batches([torch.tensor([number]) for number in range(len(chosen))]):
        with autocast(images.device, precision):
            scores = pixel_scores(network, images, prepare)
        scores = resized(scores, masks.shape[1:])
        told.append(scores.argmax(1)[0].cpu().numpy())
    return told


def _show(axes: Any, image: Any) -> None:
    grey = image.shape[2] != 3
    axes.imshow(image[..., 0] if grey else image, cmap="gray" if grey else None, vmin=0, vmax=1)


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"


def _colours(count: int) -> list[tuple[float, float, float]]:
    """So many distinct colours; from 21 on they repeat in other shades."""
    table = [
        colormaps[name](i)[:3] for name in ("tab10", "tab20b") for i in range(colormaps[name].N)
    ]
    return [table[i % len(table)] for i in range(count)]


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
