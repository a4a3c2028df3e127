"""`scaler scale`: what it prints, writes and draws."""

import json

import pytest


def test_scale_to_a_budget_writes_what_it_shows(scaler, tmp_path):
    arguments = ["scale", "efficientnet_b0", "--target-flops", "1e9", "-o", tmp_path, "--json"]
    _, out, _ = scaler(*arguments)
    (member,) = json.loads(out)
    assert abs(member["flops"] / 1e9 - 1) <= 0.01
    (path,) = tmp_path.iterdir()
    _, out, _ = scaler("cost", path, "--json")
    assert json.loads(out)[0]["flops"] == member["flops"]
    named = tmp_path / "grown.yaml"  # one network may be given its file's name
    assert scaler(*arguments[:-2], named)[0] == 0
    assert named.read_text() == path.read_text()


@pytest.mark.parametrize(("kind", "count"), [("phi", 7), ("released", 7), ("budgets", 7)])
def test_scale_prints_each_kind_of_family(scaler, kind, count):
    status, out, _ = scaler("scale", "efficientnet_b0", "--family", kind)
    assert status == 0
    assert len(out.strip().splitlines()) == count + 2


def test_the_papers_single_dimensions_stand_beside_what_we_measure(scaler):
    status, out, _ = scaler("scale", "efficientnet_b0", "resnet50", "--family", "dimensions")
    assert status == 0
    rows = {line.split()[0]: line.split() for line in out.splitlines()[2:]}
    assert rows["efficientnet_b0_depth"][1:4] == ["1,575,132,640", "1.8B", "79.0"]
    assert len(rows) == 8


def test_a_family_is_drawn_with_the_accuracies_of_a_run(scaler, tmp_path):
    status, _, err = scaler("scale", "cifar_resnet20", "--family", "-o", tmp_path)
    assert status == 0
    assert (tmp_path / "family.png").read_bytes().startswith(b"\x89PNG")
    assert "EfficientNet" in (tmp_path / "family.svg").read_text()
    assert f"wrote {tmp_path / 'family.svg'}" in err
    assert len(list(tmp_path.glob("*.yaml"))) == 7


def test_limits_alone_give_the_network_that_keeps_them_and_name_the_one_that_binds(scaler):
    command = ["scale", "mobilenet_v2", "--resolution", "64", "--num-classes", "10", "--json"]
    _, out, _ = scaler(*command, "--max-ram", "96KiB", "--max-flops", "9M", "--max-flash", "8MiB")
    (data,) = json.loads(out)
    assert data["binding"] == "peak_ram"
    assert data["limits"] == {"flops": 9e6, "peak_ram": 98304, "flash": 8 * 2**20}
    assert data["peak_ram"] <= 98304


def test_ram_as_the_only_limit_is_said_to_leave_flops_and_flash_free(scaler):
    command = [
        "scale",
        "resnet8",
        "--num-classes",
        "10",
        "--resolution",
        "32",
        "--max-ram",
        "48KiB",
    ]
    said = "only RAM is limited"
    assert said in scaler(*command)[2]
    assert said not in scaler(*command, "--max-flops", "13M")[2]


def test_an_arena_over_the_limit_of_ram_is_told_with_the_limit_to_ask_for(scaler):
    command = ("scale", "resnet8", "--num-classes", "10", "--max-ram", 49_152)
    _, out, _ = scaler(*command)
    assert "ExecuTorch's arena has 49,728 bytes; that is over the limit of 49,152" in out
    assert out.rstrip().endswith("leave room, as --max-ram 47KiB")
    (data,) = json.loads(scaler(*command, "--json")[1])
    assert data["arena"] == {"in_order": 49_728, "most": 49_728}


def test_a_board_is_its_limits_and_a_limit_beside_it_counts_first(scaler):
    command = ["scale", "resnet8", "--board", "nucleo-f446re", "--max-ram", "64KiB", "--json"]
    _, out, err = scaler(*command, "--num-classes", "10", "--resolution", "32")
    (data,) = json.loads(out)
    assert data["limits"] == {"peak_ram": 65536, "flash": 512 * 1024}
    assert "docs.zephyrproject.org" in err
    assert data["peak_ram"] <= 65536


def test_a_budget_within_limits_and_by_another_rule(scaler):
    arguments = ["scale", "efficientnet_b0", "--target-flops", "1e9", "--json"]
    _, out, _ = scaler(*arguments, "--max-params", "8e6", "--rule", "dWr")
    (member,) = json.loads(out)
    assert member["params"] <= 8e6
    assert abs(member["flops"] / 1e9 - 1) <= 0.01


def test_the_drawn_baseline_is_costed_for_the_users_classes(scaler, tmp_path, monkeypatch):
    from experiments.report import scaling_figure

    drawn = []
    monkeypatch.setattr(scaling_figure, "draw", lambda figure: drawn.append(figure) or {})
    options = ("--family", "released", "--num-classes", 10, "-o", tmp_path)
    assert scaler("scale", "efficientnet_b0", *options)[0] == 0
    family = drawn[0].panels[1].marks[1]
    assert family.name == "efficientnet_b0"
    assert min(family.x) == 385_814_752 - 990 * 1280
