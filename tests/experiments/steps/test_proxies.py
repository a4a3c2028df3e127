import json

import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from experiments.cli import cli
from experiments.config.schema import DataConfig, SearchConfig
from experiments.config.sections import ProxySection, ShortTraining
from experiments.steps.proxies import (
    planned,
    read_kept,
    run_proxies,
    sample_networks,
)
from experiments.steps.proxy_table import cheapest, proxy_table, training_name
from scaler import measure_cost
from search_spaces.records import InputError

SPACE = """
name: small
resolution: 8
stem: {channels: 8, stride: 1, block: {kind: conv, kernel_size: 3}}
stages:
  - channels: {choice: [8, 16, 24]}
    layers: {choice: [1, 2]}
    stride: 2
    block: {kind: mbconv, expand_ratio: {choice: [1, 2]}, kernel_size: 3, se_ratio: 0}
head: {channels: 16}
"""
SHORT = ShortTraining(epochs=1)
FIRST = ShortTraining(epochs=1, full_schedule=True)


def config(tmp_path, **changes):
    (tmp_path / "space.yaml").write_text(SPACE)
    section = {"networks": 4, "epochs": 2, "trainings": [FIRST, SHORT], **changes}
    return SearchConfig.parse(
        {
            "name": "proxy",
            "run": tmp_path / "run",
            "data": {"train_limit": 100, "validation_limit": 40},
            "search": {"space": str(tmp_path / "space.yaml")},
            "proxy": section,
            "train": {"batch_size": 32, "device": "cpu"},
        },
        source="test",
    )


def networks(**columns):
    """Five networks whose longer trainings agree; `columns` are what a proxy says of each."""
    truth = [0.1, 0.2, 0.3, 0.4, 0.5]
    table = pd.DataFrame({"truth": truth, "long.0": truth, "long.1": truth, "params": range(5)})
    table["flops"] = table["synflow"] = table["naswot"] = table["gradient_norm"] = 1.0
    table["seconds.truth"] = 10.0
    return table.assign(**columns)


def test_correlations_top_and_loss_by_hand():
    section = ProxySection(trainings=[SHORT])
    table = proxy_table(
        networks(**{"1 epoch": [0.1, 0.2, 0.3, 0.5, 0.4], "seconds.1 epoch": [2.0] * 5}), section
    ).set_index("proxy")
    row = table.loc["1 epoch"]
    assert row["spearman"] == pytest.approx(1 - 6 * 2 / (5 * 24))
    assert row["kendall"] == pytest.approx(8 / 10)
    assert (row["top"], row["cost"]) == (0.0, 0.2)
    assert row["lost"] == pytest.approx(0.1)
    assert table.loc["params", ["spearman", "low", "high"]].tolist() == pytest.approx([1, 1, 1])
    assert table.loc["flops", "spearman"] == 0  # all ties rank nothing


def test_the_cheapest_that_agrees_well_enough_is_chosen():
    table = pd.DataFrame(
        {
            "proxy": ["longer training, another seed", "a", "b", "c"],
            "spearman": [0.99, 0.95, 0.9, 0.5],
            "cost": [1.0, 0.4, 0.2, 0.1],
        }
    )
    assert cheapest(table, correlation=0.9) == "b"
    assert cheapest(table, correlation=0.92) == "a"
    assert cheapest(table, correlation=0.97) is None


def test_first_epochs_of_the_longer_training_cost_no_training_of_their_own():
    section = ProxySection(epochs=2, trainings=[FIRST, SHORT])
    assert [name for name, _, _ in planned(section)] == ["long", "long", "1 epoch", "scores"]
    assert training_name(FIRST) == "first 1 epoch"


def test_measurements_are_kept_one_by_one_and_not_made_twice(tmp_path):
    table, _ = run_proxies(config(tmp_path))
    kept = tmp_path / "run" / "proxies.jsonl"
    whole = kept.read_bytes()
    assert len(read_kept(kept)) == 4 * 4
    lines = whole.split(b"\n")
    kept.write_bytes(b"\n".join(lines[:13]) + b"\n" + lines[13][:20])  # a kill in mid-line
    again, _ = run_proxies(config(tmp_path))

    def told(records):
        return [(r["key"], r["name"], r["seed"], r.get("accuracies")) for r in records]

    assert told(read_kept(kept)) == told(json.loads(line) for line in lines[:-1])
    assert list(again["spearman"]) == list(table["spearman"])


def test_more_networks_are_added_and_another_length_is_refused(tmp_path):
    run_proxies(config(tmp_path))
    run_proxies(config(tmp_path, networks=5))
    assert len(read_kept(tmp_path / "run" / "proxies.jsonl")) == 5 * 4
    with pytest.raises(InputError, match=r"proxy.epochs = 2, but now it is 3"):
        run_proxies(config(tmp_path, epochs=3))


def test_networks_within_tight_limits_are_found_and_fewer_are_the_first_of_more(tmp_path):
    sizes = {"num_classes": 10, "in_channels": 1}
    section = config(tmp_path).search.replace(space="mbconv_small", max_flops=1e6)
    more = sample_networks(section, count=5, seed=0, **sizes)
    assert max(measure_cost(network, **sizes).flops for network in more) <= 1e6
    assert len({network.key for network in more}) == 5
    assert sample_networks(section, count=3, seed=0, **sizes) == more[:3]


def test_too_few_networks_within_the_limits_is_told(tmp_path):
    section = config(tmp_path).search.replace(max_flops=10)
    with pytest.raises(InputError, match=r"only 0 networks .* within the search's limits"):
        sample_networks(section, count=4, seed=0, num_classes=10, in_channels=1)


def test_the_command_prints_the_table_as_json(tmp_path):
    file = tmp_path / "proxy.yaml"
    file.write_text(config(tmp_path).to_yaml())
    found = CliRunner().invoke(cli, ["proxy", "--config", str(file), "--json"])
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert {row["proxy"] for row in told["proxies"]} >= {"1 epoch", "first 1 epoch", "synflow"}


def test_masks_are_refused_before_anything_is_written(tmp_path):
    for number in range(8):
        for name, mode in (("images", "RGB"), ("masks", "L")):
            place = tmp_path / "data" / name / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            image = Image.new(mode, (8, 8))
            image.paste(1, (0, 0, 4, 4))
            image.save(place)
    own = config(tmp_path)
    with pytest.raises(InputError, match="for classification, but the data 'data' are for segment"):
        run_proxies(own.replace(data=DataConfig(source=str(tmp_path / "data"))))
    assert not (tmp_path / "run").exists()
