"""Mistakes as users meet them: one clear line, exit status 2, and nothing is changed."""

import pytest

MISTAKES = [
    (["show", "efficientnet_b9"], "unknown architecture 'efficientnet_b9'; did you mean"),
    (["show", "missing.yaml"], "cannot read 'missing.yaml': No such file"),
    (["cost", "efficientnet_b0", "--resolution", "8"], "use 17 px or more"),
    (["scale", "efficientnet_b0"], "exactly one of --phi, a budget"),
    (["scale", "efficientnet_b0", "--target-flops", "0"], "must be a positive number, but got 0"),
    (
        ["scale", "efficientnet_b0", "--target-flops", "10"],
        "is below 132,032, the cost of the smallest",
    ),
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
