"""What the page shows first: four tiles, and the commands that come next."""

import shlex
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from markupsafe import Markup

from experiments.config.run_folder import RunFolder
from experiments.config.units import readable_cost, readable_count
from experiments.report.tables import data_sizes
from scaler.stages import StageRow, stage_rows
from search_spaces.heads.proposals import Proposals

_BOX = Markup(
    '<rect x="{x}" y="{y}" width="{width}" height="{height}"><title>{told}</title></rect>'
)
_PICTURE = Markup(
    '<svg class="stages" viewBox="0 0 {whole} 40" preserveAspectRatio="xMinYMax" role="img" '
    'aria-label="Its stages: as wide as their layers, as high as the root of their channels">'
    "{boxes}</svg>"
)


class Tile(NamedTuple):
    """One figure of the run: what it is, its value, a note, a picture or a share of 1."""

    head: str
    value: str
    note: str
    picture: Markup = Markup()
    share: float | None = None


def tiles(folder: RunFolder, tables: dict[str, pd.DataFrame]) -> list[Tile]:
    """Baseline, FLOPs against the budget, metric with its noise, best member; those there are."""
    baseline = folder.baseline()
    if baseline is None:
        return []
    rows = stage_rows(baseline, **data_sizes(folder))
    flops, params = (sum(getattr(row, name) for row in rows) for name in ("flops", "params"))
    layers = sum(row.layers for row in rows)
    size = f"{layers} layers, {params:,} parameters, {baseline.resolution} px"
    return [
        Tile("Baseline", baseline.name, size, picture=_stages(rows)),
        _budget(folder, tables["trials"], baseline.key, flops),
        *_metric(tables["trials"], baseline.key, folder),
        *_largest(tables["family"], folder.metric),
    ]


def commands(folder: RunFolder) -> list[tuple[str, str]]:
    """(what it does, the command) of what comes after this run; empty before it has a baseline.

    A run whose path is absolute is named by its last part: where it lies on one machine is nobody's
    business.
    """
    baseline = folder.baseline()
    if baseline is None:
        return []
    rows = stage_rows(baseline, **data_sizes(folder))
    twice = readable_count(float(f"{2 * sum(row.flops for row in rows):.2g}")).replace(" ", "")
    name = shlex.quote(str(run_place(folder)))
    scale = f"scaler scale {name} --target-flops {twice}"
    if folder.coefficients() is not None:
        scale += f" --coefficients {name}/coefficients.yaml"
    two_stages = isinstance(getattr(baseline.head, "predictor", None), Proposals)
    exchange = "" if two_stages else " --format onnx"
    return [
        ("Train the baseline fully", f"scaler train {name} --epochs 100"),
        ("Scale it to another budget", f"{scale} -o scaled/"),
        ("Take the trained network away", f"scaler export {name} -o exported/{exchange}"),
    ]


def run_place(folder: RunFolder) -> Path:
    """The run folder in a command: as the run was given, or without what lies above it."""
    return Path(folder.path.name) if folder.path.is_absolute() else folder.path


def _budget(folder: RunFolder, trials: pd.DataFrame, key: str, flops: int) -> Tile:
    search = folder.config.search
    value, has = f"{readable_count(flops)}FLOPs", float(flops)
    if search.cost != "flops":
        own = trials[(trials["key"] == key) & trials[search.cost].notna()]
        if own.empty:
            return Tile("Cost", value, "multiply-adds for one image")
        has = float(own.iloc[0][search.cost])
        value = readable_cost(search.cost, has)
    share = has / search.known_target
    budget = readable_cost(search.cost, search.known_target)
    return Tile("Cost", value, f"{share:.0%} of the budget of {budget}", share=min(1.0, share))


def _metric(trials: pd.DataFrame, key: str, folder: RunFolder) -> list[Tile]:
    """Of the longest training there is; the noise is that of the confirmation."""
    own = trials[(trials["key"] == key) & (trials["state"] == "complete")]
    confirmed = own[own["study"] == "confirmation"]
    if len(confirmed):
        confirmed = confirmed[confirmed["round"] == confirmed["round"].max()]
    noise = "one seed: its noise is not known"
    if len(confirmed) > 1:
        spread, epochs = confirmed["accuracy"].std(), confirmed["epochs"].iloc[-1]
        noise = f"± {spread * 100:.1f} points over {len(confirmed)} seeds of {epochs} epochs"
    member = own[own["study"] == "family"]
    if len(member):
        last = member.iloc[-1]
        return [_value(folder.metric, last["accuracy"], f"after {last['epochs']} epochs; {noise}")]
    if len(confirmed):
        return [_value(folder.judged, confirmed["accuracy"].mean(), noise)]
    searched = own[own["study"] == "search"].dropna(subset=["accuracy"])
    if searched.empty:
        return []
    return [_value(folder.judged, searched.iloc[-1]["accuracy"], noise)]


def _value(metric: str, value: float, note: str) -> Tile:
    return Tile(f"Validation {metric}", f"{value:.1%}", note, share=float(value))


def _largest(family: pd.DataFrame, metric: str) -> list[Tile]:
    """The member of the highest value; that of the test part where it was looked at."""
    done = family[family["state"] == "complete"]
    if done.empty:
        return []
    best = done.sort_values(["accuracy", "flops"], ascending=[False, True]).iloc[0]
    tested = pd.notna(best["test_accuracy"])
    value, part = (best["test_accuracy"], "test") if tested else (best["accuracy"], "validation")
    note = f"{value:.1%} {part} {metric} at {readable_count(best['flops'])}FLOPs, one seed"
    return [Tile("Best member", str(best["member"]), note)]


def _stages(rows: list[StageRow]) -> Markup:
    """A box a stage: as wide as its layers, as high as the root of its channels."""
    most = max(row.channels for row in rows)
    boxes, at = Markup(), 0.0
    for row in rows:
        width, height = 6.0 + 5.0 * row.layers, 6 + 34 * (row.channels / most) ** 0.5
        boxes += _BOX.format(
            x=round(at),
            y=round(40 - height),
            width=round(width),
            height=round(height),
            told=f"{row.stage}: {row.layers} x {row.operator}, {row.channels} channels",
        )
        at += width + 3
    return _PICTURE.format(whole=round(at), boxes=boxes)
