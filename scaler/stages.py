"""The stage table of a network, as the EfficientNet paper's Table 1 (arXiv:1905.11946), and costs.

`scaler show`, `scaler cost --by stage` and the report print these rows.
"""

from dataclasses import dataclass

from scaler.cost import Cost, device_layers
from search_spaces.architecture import Architecture


@dataclass(frozen=True)
class StageRow:
    """One stage of a network: its row of the table, and its costs.

    `stage` is `stem`, the stage's number as in `stages.<i>` (from 0), `head` or `auxiliary.<i>`.
    `resolution` is the side of the stage's input in pixels, `output_resolution` that of its output;
    1 for a classifier, the image's for a dense head. `receptive_field` is the
    side in pixels of the part of the image that one output pixel sees. The costs are those of
    `scaler.Cost`.
    """

    stage: str
    operator: str
    resolution: int
    output_resolution: int
    channels: int
    layers: int
    stride: int
    receptive_field: int
    flops: int
    params: int
    activations: int
    peak_ram: int | None
    flash: int | None


def stage_rows(
    architecture: Architecture, *, num_classes: int = 1000, in_channels: int = 3
) -> list[StageRow]:
    """The stem, the stages, the head, then the classifiers that act in training only.

    The rows' costs add up to `measure_cost`.
    """
    costs: dict[str, Cost] = {}
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    for part, cost in device_layers(architecture, **sizes).items():
        stage = stage_of(part)
        costs[stage] = costs[stage] + cost if stage in costs else cost
    stem, head = architecture.stem, architecture.head
    features = head.channels or architecture.rows(**sizes)[-1].layer.in_channels
    table = [
        ("stem", stem.block.describe(), stem.channels, 1, stem.stride),
        *(
            (str(i), stage.block.describe(), stage.channels, stage.layers, stage.stride)
            for i, stage in enumerate(architecture.stages)
        ),
        ("head", head.describe(), features, 1, 1),
    ]
    sides = architecture.sizes()
    scored = 1 if architecture.task == "classification" else architecture.resolution
    between = list(zip(sides, [*sides[1:], scored], architecture.receptive_fields(), strict=True))
    for i, auxiliary in enumerate(architecture.auxiliary if num_classes else ()):
        operator = f"Auxiliary {auxiliary.form}, training only"
        table.append((f"auxiliary.{i}", operator, auxiliary.features, 1, 1))
        _, side, field = between[auxiliary.after + 1]  # the stem stands before stage 0
        between.append((side, 1, field))
    return [
        StageRow(stage, operator, side, out, channels, layers, stride, field, **vars(costs[stage]))
        for (stage, operator, channels, layers, stride), (side, out, field) in zip(
            table, between, strict=True
        )
    ]


def stage_of(part: str) -> str:
    """The stage that a layer's part belongs to: `stages.1.0` is in `1`, `stem` in `stem`."""
    kind, *place = part.split(".")
    return {"stages": place[0] if place else "", "head": "head"}.get(kind, part)
