"""The command as its users meet it: results on standard output, one clear line for a mistake."""

import json
import sys

import pytest

from scaler import measure_cost
from search_spaces import list_spaces, load_architecture, load_space
from search_spaces.reference import stated_sizes


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


def test_a_shown_file_can_be_edited_and_shown_again(scaler, tmp_path):
    path = tmp_path / "mine.yaml"
    assert scaler("show", "efficientnet_b0", "--yaml", path)[0] == 0
    path.write_text(path.read_text().replace("channels: 112", "channels: 120"))
    status, out, _ = scaler("show", path)
    assert status == 0
    assert " 120 " in out


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


MISTAKES = [
    (["show", "efficientnet_b9"], "unknown architecture 'efficientnet_b9'; did you mean"),
    (["show", "missing.yaml"], "cannot read 'missing.yaml': No such file"),
    (["cost", "efficientnet_b0", "--resolution", "8"], "use 17 px or more"),
    (["scale", "efficientnet_b0"], "exactly one of --phi, a budget"),
    (["scale", "efficientnet_b0", "--target-flops", "0"], "must be a positive number, but got 0"),
    (["scale", "efficientnet_b0", "--target-flops", "10"], "is below 132,032, what the smallest"),
    (["scale", "efficientnet_b0", "--phi", "nan"], "nan is not a number"),
    (["scale", "efficientnet_b0", "--phi", "1", "--coefficients", "no.yaml"], "cannot read"),
    (["search", "--space", "mbconv_tiny"], "unknown search space 'mbconv_tiny'; did you mean"),
    (["search", "--data", "nowhere"], "nowhere"),
    (["search", "--config", "digit"], "no config 'digit', neither a file nor a name; did you"),
    (["search", "--sampler", "tpee"], "unknown sampler 'tpee'; did you mean 'tpe'"),
    (["search", "--trials", "0"], "search.trials: input should be greater than or equal to 1"),
    (["search", "--min-flops", "2e6", "--max-flops", "1e6"], "`min_flops < max_flops` must hold"),
    (["search", "--cost", "latency"], "--cost latency needs --target, in seconds"),
    (["search", "--target", "1e6", "--target-flops", "1e6"], "give one of the two"),
    (["search", "--latency-model", "missing.json"], "cannot read 'missing.json'"),
    (["search", "--max-params", "0"], "search.max_params: input should be greater than 0"),
    (["cost", "mobilenet_v2", "--batch-size", "2"], "--batch-size needs --latency"),
    (["cost", "mobilenet_v2", "--latency", "--by", "stage"], "not of latency"),
    (["cost", "mobilenet_v2", "--latency", "--device", "gpu"], "device: string should match"),
    (["latency", "mobilenet_v2", "-o", "x.json"], "a fit needs 5 networks of different costs"),
    (["latency"], "Name architectures, or a --space"),
    (["search", "--resolution", "1"], "must not exceed the feature map"),
    (
        ["scale", "resnet50", "--target-flops", "1e9", "--target-params", "1e6"],
        "make one a limit, as --max-params",
    ),
    (["scale", "resnet50", "--phi", "1", "--max-params", "1e6"], "go with a budget"),
    (["scale", "resnet50", "--phi", "1", "--tolerance", "0.1"], "--phi has none; leave one out"),
    (["scale", "resnet50", "--phi", "1", "--rounding", "flor"], "unknown rounding 'flor'; known"),
    (["scale", "resnet50", "--family", "-o", "a.yaml"], "-o a.yaml is one file, for one network"),
    (["scale", "resnet50", "--rule", "dwR", "--phi", "1"], "did you mean 'dwr'?"),
    (["search", "--warm-start", "nowhere"], "'nowhere' is not a run folder: there is no such"),
    (["search", "--warm-start", "no.csv"], "cannot read 'no.csv': No such file"),
    (["search", "--warm-start-mode", "tell"], "'search.warm_start.source' is required"),
    (["coefficients", "lenet"], "unknown architecture 'lenet'"),
    (["coefficients", "resnet18", "--step", "0.7"], "no alpha, beta, gamma on a grid of step 0.7"),
    (["coefficients", "resnet18", "--target-ratio", "1"], "target_ratio: input should be greater"),
    (["coefficients", "resnet18", "--rule", "best"], "'best' is not one of 'equal_flops', 'phi'"),
    (["run"], "Give --config"),
    (["export", "resnet18"], "Give the folder to write, as `-o exported/`"),
    (["show", "runs/none"], "there is no file or run folder 'runs/none'"),
    (["export", "runs/none", "-o", "out"], "there is no file or run folder 'runs/none'"),
    (
        ["train", ".", "--epochs", "1"],
        "`scaler train resnet18 --data . --epochs 10` trains on them",
    ),
    (["export", "resnet19", "-o", "out"], "unknown architecture 'resnet19'; did you mean"),
    (["export", "resnet18", "-o", "out", "--format", "onxx"], "unknown format 'onxx'; did you"),
    (["export", "w.safetensors", "-o", "out"], "there is no checkpoint 'w.safetensors'"),
    (["export", "w.safetensors", "-o", "out", "--seed", "1"], "--seed goes with an architecture"),
    (["export", "resnet18", "-o", "out", "--init-from", "w.pth"], "cannot read 'w.pth'"),
    (["export", ".", "-o", "out"], "is a folder with no weights yet"),
    (["show", "resnet18", "--code", "--resolution", "0"], "--resolution"),
    (["report", "."], "is not a run folder: it has no config.yaml"),
    (["report", "a", "b", "--watch"], "--watch follows one run; name one."),
    (["report", "a", "--out", "x"], "--out is of a comparison"),
    (["report", "a", "--every", "5"], "--every needs --watch."),
    (["report", "a", "b"], "'a' is not a run folder: there is no such folder"),
    (["report", "missing"], "is not a run folder: there is no such folder"),
    (["frobnicate"], "No such command 'frobnicate'"),
    (["search", "--trails", "3"], "--trials"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=lambda value: str(value)[:60])
def test_a_mistake_is_one_clear_line_and_changes_nothing(
    scaler, arguments, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    status, out, err = scaler(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_config_with_an_unknown_key_names_the_nearest(scaler, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nsearch: {trails: 3}\n")
    status, _, err = scaler("run", "--config", path)
    assert status == 2
    assert "unknown key 'search.trails'; did you mean 'trials'?" in err


def test_a_run_folder_that_cannot_be_written_to_is_refused(scaler, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = scaler("search", "--trials", 1, "--run", tmp_path / "file" / "run")
    assert status == 2
    assert "cannot write" in err


@pytest.mark.parametrize("damage", [b"", b"not an image"])
def test_a_broken_image_is_named_before_anything_is_made(scaler, tmp_path, damage, monkeypatch):
    monkeypatch.setenv("SCALER_CACHE", str(tmp_path / "cache"))
    for name in ("cat/1.jpg", "dog/1.jpg"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(damage)
    run = tmp_path / "run"
    status, _, err = scaler("search", "--data", tmp_path / "data", "--run", run)
    assert status == 2
    assert "1.jpg" in err
    assert not run.exists()


def test_a_truncated_study_is_refused_and_left_as_it_is(scaler, tmp_path):
    (tmp_path / "config.yaml").write_text("name: mine\n")
    (tmp_path / "study.db").write_bytes(b"SQLite format 3\0" + bytes(500))
    status, _, err = scaler("report", tmp_path)
    assert status == 2
    assert "study.db" in err
    assert "not a database" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "study.db"]


def test_help_needs_no_heavy_imports():
    """It answers in a fraction of a second because torch, ray, optuna, pandas stay unloaded."""
    import subprocess

    code = (
        "import sys; from experiments.cli import cli\n"
        "for words in (['--help'], ['search', '--help'], ['scale', '--help']):\n"
        "    cli.main(words, standalone_mode=False)\n"
        "print(sorted({'torch', 'ray', 'optuna', 'pandas'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "[]"


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


def test_a_board_is_its_limits_and_a_limit_beside_it_counts_first(scaler):
    command = ["scale", "resnet8", "--board", "nucleo-f446re", "--max-ram", "64KiB", "--json"]
    _, out, err = scaler(*command, "--num-classes", "10", "--resolution", "32")
    (data,) = json.loads(out)
    assert data["limits"] == {"peak_ram": 65536, "flash": 512 * 1024}
    assert "docs.zephyrproject.org" in err
    assert data["peak_ram"] <= 65536


def test_show_draws_the_ram_of_each_layer_with_peak_and_limit(scaler, tmp_path):
    command = ("show", "resnet8", "--num-classes", 10, "--max-ram", "64KiB")
    status, out, _ = scaler(*command, "--memory", tmp_path)
    assert status == 0
    assert "49,152 bytes of RAM" in out
    drawn = (tmp_path / "memory.svg").read_text()
    assert "48.0 KiB" in drawn
    assert "limit, 64 KiB" in drawn
    status, _, err = scaler(*command)
    assert (status, "name a folder" in err) == (2, True)


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
