"""The one stage table: worked out by hand on a small network, its sum against the cost."""

import pytest

from scaler import Cost, measure_cost
from scaler.stages import stage_rows
from search_spaces import load_architecture


def test_rows_of_a_small_network_worked_out_by_hand(small):
    """Stem 3 x 3 of 8 channels on 16 px; two depthwise stages, the second halves the map."""
    rows = stage_rows(small, num_classes=10, in_channels=1)
    assert [row.stage for row in rows] == ["stem", "0", "1", "head"]
    assert [row.resolution for row in rows] == [16, 16, 16, 8]
    assert [row.output_resolution for row in rows] == [16, 16, 8, 1]
    assert [row.layers for row in rows] == [1, 2, 2, 1]
    assert (rows[0].flops, rows[0].activations) == (9 * 8 * 256, 8 * 256)
    assert rows[0].receptive_field == 3


@pytest.mark.parametrize("name", ["googlenet_aux", "densenet121", "cifar_plain20", "vgg11"])
def test_rows_add_up_to_the_cost(name):
    network = load_architecture(name)
    rows = stage_rows(network, num_classes=7)
    total = sum((Cost(r.flops, r.params, r.activations) for r in rows), Cost(0, 0, 0))
    assert total == measure_cost(network, num_classes=7)


def test_an_auxiliary_classifier_reads_the_map_behind_its_stage():
    network = load_architecture("googlenet_aux")
    rows = {row.stage: row for row in stage_rows(network)}
    for i, auxiliary in enumerate(network.auxiliary):
        behind = rows[str(auxiliary.after)]
        row = rows[f"auxiliary.{i}"]
        assert (row.resolution, row.flops) == (behind.output_resolution, 0)
        assert row.receptive_field == behind.receptive_field
