"""A network drawn stage by stage, and its RAM layer by layer."""

import pandas as pd

from experiments.config.units import readable_count
from experiments.report.charts.chart import CYCLE, Axis, Chart, Colour, Figure, Marks, Note, Rule
from scaler.cost import measure_layers
from scaler.memory import memory_rows
from scaler.stages import stage_of, stage_rows
from search_spaces.architecture import Architecture

_GAP = 3.0  # between stages, in the unit of the square root of a channel


def layers_table(network: Architecture, *, num_classes: int, in_channels: int) -> pd.DataFrame:
    """A row a layer from the image to the scores: stage, operator, side of its map, channels, cost.

    A classifier's head stands with the map that it reads.
    """
    sides = network.sizes()
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    costs = measure_layers(network, **sizes)
    stages = {row.stage: row for row in stage_rows(network, **sizes)}
    rows, side = [], network.resolution
    for row in network.rows(**sizes):
        stage, cost = stages[stage_of(row.part)], costs[row.part]
        channels = stage.channels
        side = row.sides(sides, side)[0]
        if row.part != "head":
            side, channels = row.layer.output_size(side), row.layer.out_channels
        rows.append((stage.stage, stage.operator, side, channels, cost.flops, cost.params))
    names = ["stage", "operator", "output_resolution", "channels", "flops", "params"]
    return pd.DataFrame(rows, columns=names)


def network_chart(layers: pd.DataFrame, *, name: str) -> Figure:
    """Each layer a box: as high as its map, as wide as the root of its channels."""
    left, at, before = [], 0.0, "stem"
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
            f"stage {r.stage}: {r.operator}\n{r.output_resolution} px, {r.channels} channels\n"
            f"{readable_count(float(str(r.flops)))}FLOPs, {float(str(r.flops)) / whole:.1%} of all"
            for r in part.itertuples()
        ]
        middle = (part["left"] + part["width"] / 2).to_numpy()
        height = part["output_resolution"].to_numpy(dtype=float)
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
    for _, part in layers.groupby("stage", sort=False):
        middle = float(part["left"].iloc[0] + part["left"].iloc[-1] + part["width"].iloc[-1]) / 2
        share = part["flops"].sum() / whole
        last = part.iloc[-1]
        ticks.append((middle, f"{last['stage']}\n{share:.0%}"))
        times = f"{last['channels']}" + (f" x {len(part)}" if len(part) > 1 else "")
        notes.append(Note(middle, float(part["output_resolution"].max()), times, "above"))
    top = float(layers["output_resolution"].max())
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
        caption="A box is a layer: as high as its output map, as wide as the square root of its "
        "channels. Above each stage stand its channels and layers, below it its share of FLOPs.",
    )


def memory_chart(
    network: Architecture, *, limit: float | None = None, num_classes: int, in_channels: int
) -> Figure:
    """A bar a layer: the KiB of int8 maps that live while it runs. `limit`, in bytes, is a line."""
    rows = list(memory_rows(network, num_classes=num_classes, in_channels=in_channels))
    kib = [row.ram / 1024 for row in rows]
    peak = max(kib)
    at = [place for place, value in enumerate(kib) if value == peak]
    rest = [place for place in range(len(kib)) if place not in at]
    texts = [f"{row.part}: {value:,.1f} KiB" for row, value in zip(rows, kib, strict=True)]

    def bars(places: list[int], name: str, colour: Colour) -> Marks:
        """Those of some layers."""
        return Marks(
            "bars",
            places,
            [kib[place] for place in places],
            name,
            colour,
            widths=[0.8] * len(places),
            texts=[texts[place] for place in places],
        )

    stages = [stage_of(row.part) for row in rows]
    begins = [place for place, stage in enumerate(stages) if stage not in stages[:place]]
    ticks = tuple((float(place), stages[place]) for place in begins)
    rules: tuple[Rule, ...] = (
        () if limit is None else (("y", limit / 1024, f"limit, {limit / 1024:,.0f} KiB"),)
    )
    top = max(peak, (limit or 0) / 1024)
    chart = Chart(
        title=f"{network.name} at {network.resolution} px: RAM layer by layer",
        x=Axis("layers in the order of execution, from the first of each stage", ticks=ticks),
        y=Axis("KiB of maps that live at once, as int8", limits=(0.0, 1.18 * top)),
        marks=(bars(rest, "layer", "blue"), bars(at, "the peak", "orange")),
        notes=(Note(float(at[0]), peak, f"{peak:,.1f} KiB"),),
        rules=rules,
    )
    told = f"{rows[at[0]].part} needs the most RAM, {peak:,.1f} KiB"
    return Figure((chart,), alt=f"Bars of the RAM of each layer; {told}.", caption=told)
