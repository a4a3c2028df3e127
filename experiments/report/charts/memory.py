"""The RAM of a network over its layers, the peak marked."""

from experiments.report.charts.chart import Axis, Chart, Colour, Figure, Marks, Note, Rule
from scaler.memory import memory_rows
from scaler.stages import stage_of
from search_spaces.architecture import Architecture


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
