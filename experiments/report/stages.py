"""A network's stage table, as Table 1 of the EfficientNet paper (arXiv:1905.11946)."""

import pandas as pd

from search_spaces.architecture import Architecture


def stages_table(network: Architecture) -> pd.DataFrame:
    """A row a stage, stem and head included; `resolution` is that of its input, in pixels."""
    stem, head = network.stem, network.head
    features = network.rows(num_classes=1, in_channels=1)[-1].layer.in_channels
    rows = [
        (stem.block.describe(), stem.channels, 1, stem.stride),
        *((s.block.describe(), s.channels, s.layers, s.stride) for s in network.stages),
        (head.describe(), head.channels or features, 1, 1),
    ]
    table = pd.DataFrame(rows, columns=["operator", "channels", "layers", "stride"])
    table.insert(0, "stage", range(1, len(rows) + 1))
    table.insert(2, "resolution", network.sizes())
    return table
