"""`scaler list` and `scaler show`: networks and spaces as tables, as files to edit, as pictures."""

import json

import pytest

from scaler import measure_cost
from search_spaces import list_spaces, load_space


def test_list_names_architectures_and_spaces(scaler):
    status, out, _ = scaler("list", "--json")
    known = json.loads(out)
    assert status == 0
    assert "efficientnet_b7" in known["architectures"]
    assert {"mbconv", "mbconv_small"} <= {space["space"] for space in known["spaces"]}


def test_show_prints_the_papers_table_one(scaler):
    """Stage, operator, side of its input and of its output, channels, layers; numbers from 0."""
    status, out, _ = scaler("show", "efficientnet_b0")
    assert status == 0
    rows = [line.split() for line in out.splitlines()[2:11]]
    columns = [(row[0], *row[-11:-7]) for row in rows]
    assert columns[0] == ("stem", "224", "112", "32", "1")
    assert columns[5] == ("4", "14", "14", "112", "3")
    assert columns[8] == ("head", "7", "1", "1,280", "1")
    assert "385,814,752 FLOPs (multiply-adds), 5,288,548 parameters" in out
    assert "as int8 2,408,448 bytes of RAM at the peak and 5,486,976 bytes of flash" in out


def test_show_of_a_space_prints_choices_and_costs_and_what_they_are_counted_for(scaler):
    status, out, err = scaler("show", "mbconv_small_training", "--resolution", 16)
    assert status == 0
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    assert ["stages.2.channels", "32, 48, 64, 96"] in lines
    assert "at most 13,436,928 networks, each with 72 settings of its training" in out
    assert "100 random ones cost at 16 px with 1,000 classes" in out
    members = load_space("mbconv_small").at(16).members(100, seed=0)
    flops = sorted(measure_cost(member).flops for member in members)
    (row,) = [rest.split() for name, rest in filter(None, lines) if name == "flops"]
    assert (row[0], row[-1]) == (f"{flops[0]:,}", f"{flops[-1]:,}")
    assert row[3] == f"{round((flops[49] + flops[50]) / 2):,}"
    assert "1,000 classes (assumed; --num-classes" in err
    assert "3 channels (assumed" in err


@pytest.mark.parametrize("name", list_spaces())
def test_every_shipped_space_shows_its_size_and_its_costs_in_order(scaler, name):
    sizes = ("--num-classes", 10, "--in-channels", 3)
    status, out, err = scaler("show", name, *sizes, "--resolution", 32, "--json")
    assert (status, err) == (0, "")
    told, space = json.loads(out), load_space(name)
    assert told["networks"] * told["trainings"] == space.size()
    assert told["parameters"] == space.parameters()
    assert [row.pop("cost") for row in told["costs"]] == ["flops", "params", "activations"]
    for row in told["costs"]:
        assert list(row) == ["min", "5%", "25%", "50%", "75%", "95%", "max"]
        assert list(row.values()) == sorted(row.values())
        assert 0 < row["min"] < row["max"]


@pytest.mark.parametrize("option", [["--yaml", "net.yaml"], ["--code"]])
def test_a_space_is_not_written_as_a_network(scaler, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(
        "stages: [{channels: {choice: [8, 16]}, layers: 1, stride: 2, block: {kind: conv}}]\n"
    )
    status, out, err = scaler("show", "mine.yaml", *option)
    assert (status, out) == (2, "")
    assert f"{option[0]} is of a network, but mine.yaml is a space" in err
    assert not (tmp_path / "net.yaml").exists()


def test_a_shown_file_can_be_edited_and_shown_again(scaler, tmp_path):
    path = tmp_path / "mine.yaml"
    assert scaler("show", "efficientnet_b0", "--yaml", path)[0] == 0
    path.write_text(path.read_text().replace("channels: 112", "channels: 120"))
    status, out, _ = scaler("show", path)
    assert status == 0
    assert " 120 " in out


def test_show_draws_the_ram_of_each_layer_with_peak_and_limit(scaler, tmp_path):
    command = ("show", "resnet8", "--num-classes", 10, "--max-ram", "64KiB")
    status, out, _ = scaler(*command, "--memory", tmp_path)
    assert status == 0
    assert "49,152 bytes of RAM" in out
    assert out.rstrip().endswith("ExecuTorch's arena has 49,728 bytes")
    drawn = (tmp_path / "memory.svg").read_text()
    assert "48.0 KiB" in drawn
    assert "limit, 64 KiB" in drawn
    status, _, err = scaler(*command)
    assert (status, "name a folder" in err) == (2, True)
