"""`scaler cost` and `scaler latency`: what is counted, for whom, and what is measured."""

import json

import pytest

from scaler import measure_cost
from search_spaces import load_architecture
from search_spaces.reference import stated_sizes


def test_cost_compares_side_by_side(scaler):
    status, out, _ = scaler("cost", "efficientnet_b0", "efficientnet_b1", "--json")
    assert status == 0
    assert [row["flops"] for row in json.loads(out)] == [385_814_752, 686_802_832]


def test_cost_counts_the_users_classes_and_resolution(scaler):
    _, out, _ = scaler("cost", "efficientnet_b2", "--resolution", 288, "--json")
    assert json.loads(out)[0]["flops"] == 1_087_529_456
    _, out, _ = scaler("cost", "efficientnet_b0", "--num-classes", 10, "--json")
    assert json.loads(out)[0]["flops"] == 385_814_752 - 990 * 1280


@pytest.mark.parametrize("by", ["operator", "stage"])
def test_parts_of_a_cost_add_up_to_it(scaler, by):
    _, out, _ = scaler("cost", "mobilenet_v2", "cifar_resnet20", "--by", by, "--json")
    parts = json.loads(out)
    _, out, _ = scaler("cost", "mobilenet_v2", "cifar_resnet20", "--json")
    for whole in json.loads(out):
        own = [part for part in parts if part["architecture"] == whole["architecture"]]
        for name in ("flops", "params", "activations"):
            assert sum(part[name] for part in own) == whole[name]
        assert sum(part["flops_share"] for part in own) == pytest.approx(1)


def test_a_measured_latency_states_its_conditions(scaler):
    options = ["--latency", "--threads", 1, "--seconds", 0.05, "--resolution", 8, "--json"]
    status, out, _ = scaler("cost", "cifar_resnet20", "cifar_plain20", *options)
    rows = json.loads(out)
    assert status == 0
    assert [row["latency"]["architecture"] for row in rows] == ["cifar_resnet20", "cifar_plain20"]
    conditions = rows[0]["latency"]["conditions"]
    assert (conditions["device"], conditions["threads"], conditions["batch_size"]) == ("cpu", 1, 1)
    assert rows[0]["latency"]["machine"]["hardware"]


def test_a_latency_file_predicts_in_cost(scaler, tmp_path):
    path = tmp_path / "latency.json"
    options = ["--members", 5, "--threads", 1, "--seconds", 0.02, "--resolution", 8, "-o", path]
    status, out, _ = scaler("latency", "--space", "mbconv_small", *options)
    assert status == 0
    assert "flops + activations" in out
    status, out, err = scaler("cost", "cifar_resnet20", "--latency-model", path, "--json")
    assert json.loads(out)[0]["predicted_seconds"] > 0
    assert "5 networks on" in err


def test_costs_are_counted_for_the_classes_that_a_file_states(scaler, tmp_path):
    """A run writes its files so; a network beside them is counted for the same."""
    path = tmp_path / "baseline.yaml"
    text = load_architecture("cifar_resnet20").to_yaml()
    path.write_text(f"{text}num_classes: 7\nin_channels: 1\n")
    own = measure_cost(load_architecture("cifar_resnet20"), num_classes=7, in_channels=1)
    status, out, error = scaler("cost", path, "cifar_resnet20", "--json")
    assert (status, [row["params"] for row in json.loads(out)]) == (0, [own.params] * 2)
    assert f"counted for 7 classes (as {path} states; --num-classes sets it)" in error
    _, out, _ = scaler("show", path, "--json")
    assert sum(row["params"] for row in json.loads(out)["stages"]) == own.params
    _, out, _ = scaler("scale", path, "--phi", "0", "--json", "-o", tmp_path / "grown")
    assert json.loads(out)[0]["params"] == own.params
    (written,) = (tmp_path / "grown").iterdir()
    assert stated_sizes(written) == {"num_classes": 7, "in_channels": 1}
    _, out, _ = scaler("cost", path, "--num-classes", "9", "--json")
    assert json.loads(out)[0]["params"] == own.params + 2 * 65


def test_what_is_assumed_is_said(scaler):
    _, _, error = scaler("cost", "cifar_resnet20")
    assert "counted for 1,000 classes (assumed; --num-classes sets it) and 3 channels" in error
