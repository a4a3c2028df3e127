"""A network drawn stage by stage."""

import pandas as pd

from experiments.config.units import readable_count
from experiments.report.charts.chart import CYCLE, Axis, Chart, Figure, Marks, Note
from scaler.cost import measure_layers
from search_spaces.architecture import Architecture

_GAP = 3.0  # between stages, in the unit of the square root of a channel


def layers_table(network: Architecture, *, num_classes: int, in_channels: int) -> pd.DataFrame:
    """A row a layer from the image to the scores: stage, operator, map, channels, cost."""
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    costs = measure_layers(network, **sizes)
    rows, side = [], network.resolution
    for row in network.rows(**sizes):
        place = row.part.split(".")
        if place[0] == "auxiliary":
            continue
        if place[0] == "stages":
            stage, operator = int(place[1]) + 2, network.stages[int(place[1])].block.describe()
        elif place[0] == "stem":
            stage, operator = 1, network.stem.block.describe()
        else:
            stage, operator = len(network.stages) + 2, network.head.describe()
        side = row.layer.output_size(side) if place[0] != "head" else side
        cost = costs[row.part]
        channels = (
            row.layer.out_channels
            if place[0] != "head"
            else (network.head.channels or row.layer.in_channels)
        )
        rows.append((stage, operator, side, channels, cost.flops, cost.params))
    names = ["stage", "operator", "resolution", "channels", "flops", "params"]
    return pd.DataFrame(rows, columns=names)


def network_chart(layers: pd.DataFrame, *, name: str) -> Figure:
    """Each layer a box: as high as its map, as wide as the root of its channels."""
    left, at, before = [], 0.0, 1
    widths = layers["channels"].astype(float) ** 0.5
    for stage, width in zip(layers["stage"], widths, strict=True):
        at += _GAP * (stage != before)
        before = stage
        left.append(at)
        at += width + 0.4
    layers = layers.assign(left=left, width=widths)
    whole = layers["flops"].sum()
    operators = list(dict.fromkeys(layers["operator"]))
    marks = []
    for colour, operator in zip(CYCLE * 9, operators, strict=False):
        part = layers[layers["operator"] == operator]
        texts = [
            f"stage {r.stage}: {r.operator}\n{r.resolution} px, "
            f"{r.channels} channels\n"
            f"{readable_count(float(str(r.flops)))}FLOPs, {float(str(r.flops)) / whole:.1%} of all"
            for r in part.itertuples()
        ]
        middle = (part["left"] + part["width"] / 2).to_numpy()
        height = part["resolution"].to_numpy(dtype=float)
        marks.append(
            Marks(
                "bars",
                middle,
                height,
                operator,
                colour,
                widths=part["width"].to_numpy(),
                texts=texts,
            )
        )
    ticks, notes = [], []
    for stage, part in layers.groupby("stage"):
        middle = float(part["left"].iloc[0] + part["left"].iloc[-1] + part["width"].iloc[-1]) / 2
        share = part["flops"].sum() / whole
        ticks.append((middle, f"{int(str(stage))}\n{share:.0%}"))
        last = part.iloc[-1]
        times = f"{last['channels']}" + (f" x {len(part)}" if len(part) > 1 else "")
        notes.append(Note(middle, float(part["resolution"].max()), times, "above"))
    top = float(layers["resolution"].max())
    chart = Chart(
        title=f"{name}, stage by stage",
        x=Axis("stage, and its share of the FLOPs", limits=(-2, at + 2), ticks=tuple(ticks)),
        y=Axis("side of the map (px)", limits=(0.0, 1.15 * top), whole=True),
        marks=tuple(marks),
        notes=tuple(notes),
    )
    return Figure(
        (chart,),
        alt="Drawing of the baseline: a box a layer from the image on the left to the scores on "
        "the right, as high as its output map and the wider the more channels it has.",
        caption="A box is a layer: as high as the map it gives, as wide as the root of its "
        "channels. Above each stage its channels and repeats, below it its share of the FLOPs.",
    )
