"""The pictures of a full training: curves, gradient norms by layer, images that excite maps."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor

from experiments.config.plot_style import BLUE, GREY, ORANGE
from experiments.data.images import ChannelStatistics, ImageData
from experiments.training.checkpoint import write_whole
from experiments.training.members.folder import TrainingFolder
from search_spaces.network import Network

_RATE = 0.1  # of Adam
_SMOOTHNESS = 0.2  # weight of the image's smoothness against the activation
_JITTER = 2  # pixels by which the image moves from step to step


@dataclass(frozen=True, eq=False)
class Maximised:
    """Images (N, C, R, R) in 0 to 1, one for each channel of the maps at one tap of `features`."""

    tap: int
    channels: tuple[int, ...]
    images: Tensor
    before: Tensor  # (N,) mean activation of the channel for the initial noise
    after: Tensor  # (N,) for the image


def maximise(
    network: Network,
    *,
    tap: int,
    channels: Sequence[int],
    statistics: ChannelStatistics,
    resolution: int,
    steps: int = 128,
    seed: int = 0,
) -> Maximised:
    """Gradient ascent from noise on the mean of each channel's map, in eval mode.

    Activation maximisation (Erhan et al., 2009), with the two regularisers that prevent
    noise: a penalty on neighbouring pixels' differences, and jitter (distill.pub/2017/
    feature-visualization). `statistics` are those that the network's inputs were normalised with.
    """
    device = next(network.parameters()).device
    network.eval()
    mean, std = (
        torch.tensor(values, device=device).float().view(1, -1, 1, 1)
        for values in (statistics.mean, statistics.std)
    )
    generator = torch.Generator().manual_seed(seed)
    shape = (len(channels), mean.shape[1], resolution, resolution)
    raw = (0.1 * torch.randn(shape, generator=generator)).to(device).requires_grad_(True)
    own = torch.arange(len(channels), device=device)
    wanted = torch.tensor(list(channels), device=device)

    def activations(pixels: Tensor) -> Tensor:
        maps = network.features((pixels - mean) / std)[tap]  # (N, channels, H, W)
        return maps[own, wanted].mean((1, 2))

    with torch.no_grad():
        before = activations(raw.sigmoid())
    unit = before.abs().mean().clamp(min=1e-3)
    optimizer = torch.optim.Adam([raw], lr=_RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        moved = torch.randint(-_JITTER, _JITTER + 1, (2,), generator=generator).tolist()
        pixels = raw.sigmoid().roll(moved, (2, 3))
        loss = -activations(pixels).sum() / unit + _SMOOTHNESS * _roughness(raw)
        torch.autograd.backward(loss, inputs=[raw])
        optimizer.step()
    with torch.no_grad():
        images = raw.sigmoid()
        after = activations(images)
    return Maximised(tap, tuple(channels), images.cpu(), before.cpu(), after.cpu())


def _roughness(images: Tensor) -> Tensor:
    """The sum over images of neighbouring pixels' mean squared difference, times the pixels."""
    rows = images.diff(dim=2).pow(2).mean((1, 2, 3))
    columns = images.diff(dim=3).pow(2).mean((1, 2, 3))
    return (rows + columns).sum() * images.shape[2]


_NORM = "gradient_norm."  # the prefix of the curve's columns of norms

_MAPS = 8  # maps of each tap with an image


def draw_training(
    network: Network,
    folder: TrainingFolder,
    *,
    data: ImageData,
    resolution: int,
    metric: str = "accuracy",
) -> None:
    """Write the pictures of a finished training into its folder; `metric` is its label."""
    rows = folder.rows()
    write_whole(folder.figures / "curves.png", curves_png(rows, metric=metric))
    norms = gradient_norms_png(rows)
    if norms is not None:
        write_whole(folder.figures / "gradient_norms.png", norms)
    with torch.no_grad():
        device = next(network.parameters()).device
        blank = torch.zeros(1, data.channels, resolution, resolution, device=device)
        maps = network.eval().features(blank)
    found, strides = [], []
    for tap, shown in enumerate(maps):
        some = np.linspace(0, shown.shape[1] - 1, min(_MAPS, shown.shape[1])).round().astype(int)
        found.append(
            maximise(
                network,
                tap=tap,
                channels=[int(channel) for channel in some],
                statistics=data.statistics,
                resolution=resolution,
            )
        )
        strides.append(round(resolution / shown.shape[2]))
    write_whole(folder.figures / "activations.png", activations_png(found, strides=strides))


def curves_png(rows: pd.DataFrame, *, metric: str) -> bytes:
    """By epoch: the loss, and the error in training and on the validation part.

    For a metric other than accuracy only its value on the validation part, as a training counts
    only the share of right labels.
    """
    figure = _figure(9.6, 4.2)
    loss, error = figure.subplots(1, 2)
    epochs = rows["epoch"].to_numpy()
    loss.plot(epochs, rows["train_loss"], color=BLUE, marker="o", markersize=3)
    loss.set(ylabel="training loss")
    told = {"accuracy": rows["accuracy"]}
    if metric == "accuracy":
        told = {"train_accuracy": 1 - rows["train_accuracy"], "accuracy": 1 - rows["accuracy"]}
    for column, values in told.items():
        colour, label = {
            "train_accuracy": (BLUE, "training (augmented)"),
            "accuracy": (ORANGE, "validation"),
        }[column]
        error.plot(epochs, values, c=colour, marker="o", markersize=3, label=label)
    error.set(ylabel="error" if metric == "accuracy" else metric)
    error.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    error.legend(frameon=False)
    for axes in (loss, error):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(color=GREY, alpha=0.25)
    return _png(figure)


def gradient_norms_png(rows: pd.DataFrame) -> bytes | None:
    """Layer by epoch, the norm of its weight's gradient as a colour; None if not recorded."""
    columns = [name for name in rows.columns if name.startswith(_NORM)]
    if not columns:
        return None
    norms = np.maximum(rows[columns].to_numpy(dtype=float).T, 1e-12)  # (layers, epochs)
    figure = _figure(9.6, min(12.0, 2.4 + 0.13 * len(columns)))
    axes: Axes = figure.subplots()
    first, last = rows["epoch"].iloc[0] - 0.5, rows["epoch"].iloc[-1] + 0.5
    extent = (first, last, len(columns) - 0.5, -0.5)
    shown = axes.imshow(
        norms, aspect="auto", norm=LogNorm(), cmap="viridis", extent=extent, interpolation="nearest"
    )
    names = [name.removeprefix(_NORM).removesuffix(".weight") for name in columns]
    step = max(1, len(names) // 60)
    axes.set_yticks(range(0, len(names), step), names[::step], fontsize=6)
    axes.set(xlabel="epoch", ylabel="layer, from the image to the scores")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.colorbar(shown, label="gradient norm at the epoch's first step")
    return _png(figure)


def activations_png(found: list[Maximised], *, strides: list[int]) -> bytes:
    """A row for each tap: the images that excite each of its chosen channels most."""
    columns = max(len(each.channels) for each in found)
    figure = _figure(1.15 * columns + 0.6, 1.35 * len(found) + 0.3)
    grid = figure.subplots(len(found), columns, squeeze=False)
    for row, each, stride in zip(grid, found, strides, strict=True):
        for axes in row:
            axes.set_axis_off()
        for axes, channel, image in zip(row, each.channels, each.images, strict=False):
            pixels = image.permute(1, 2, 0).numpy()  # (H, W, C)
            grey = pixels.shape[2] != 3
            axes.imshow(pixels[..., 0] if grey else pixels, cmap="gray" if grey else None)
            axes.set_title(f"{channel}", fontsize=7, pad=2)
        row[0].text(
            -0.12,
            0.5,
            f"stride {stride}",
            transform=row[0].transAxes,
            rotation=90,
            ha="center",
            va="center",
            fontsize=8,
        )
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
