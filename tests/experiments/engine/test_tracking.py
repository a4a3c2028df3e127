"""The study in other people's tools: optuna-dashboard, TensorBoard, MLflow, Weights & Biases."""

import io
import json
from importlib.util import find_spec
from wsgiref.util import setup_testing_defaults

import pytest

from experiments import search
from experiments.config.schema import SearchConfig
from experiments.config.sections import TrackingSection
from experiments.engine import tracking
from search_spaces import InputError

SIZES = {"num_classes": 10, "in_channels": 1}


@pytest.fixture
def run(ray, config):  # noqa: ARG001
    """Search with trackers: 4 trials of 3 epochs, the second of which fails."""

    def trained(architecture, *, report, seed, checkpoint_dir):
        (checkpoint_dir / "large.bin").write_bytes(bytes(1000))
        if seed == 1:
            raise ValueError("out of luck")
        for epoch in (1, 2, 3):
            report(epoch, epoch / 4, {"train_loss": 1 / epoch})
        return {"accuracy": architecture.stages[-1].channels / 100, "test_accuracy": 0.5}

    def go(**section):
        few = config.search.replace(trials=4, early_stopping=None)
        tracked = config.replace(search=few, tracking=TrackingSection(**section))
        return search(tracked, evaluate=lambda a, **rest: trained(a, **rest), **SIZES)

    return go


def ask(app, path):
    """What a WSGI application answers to a GET, as JSON."""
    path, _, query = path.partition("?")
    environ = {"PATH_INFO": path, "QUERY_STRING": query, "wsgi.input": io.BytesIO()}
    setup_testing_defaults(environ)
    status = []
    body = b"".join(app(environ, lambda line, *_: status.append(line)))
    assert status[0].startswith("200"), (status, body)
    return json.loads(body)


def test_optuna_dashboard_shows_trials_and_their_attributes(run):
    dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    from optuna.storages import RDBStorage

    result = run()
    app = dashboard.wsgi(RDBStorage(f"sqlite:///{result.run.study}"))
    studies = {s["study_name"]: s for s in ask(app, "/api/studies")["study_summaries"]}
    shown = ask(app, f"/api/studies/{studies['search']['study_id']}?after=0")["trials"]
    assert [trial["state"] for trial in shown] == ["Complete", "Fail", "Complete", "Complete"]
    for trial, row in zip(shown, result.trials.itertuples(), strict=True):
        attributes = {one["key"]: one["value"] for one in trial["user_attrs"]}
        assert attributes["flops"] == str(row.flops)
        assert attributes["reason"] == row.reason
        if row.state == "complete":
            assert float(trial["values"][0]) == row.reward
            assert [one["step"] for one in trial["intermediate_values"]] == [1, 2, 3]


def test_mlflow_has_a_run_a_trial_in_a_file_of_its_own(run, monkeypatch, tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    result = run(to=["mlflow"])
    client = mlflow.MlflowClient(f"sqlite:///{result.run.path / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("test").experiment_id])
    runs.sort(key=lambda one: int(one.data.params["seed"]))
    assert [one.info.status for one in runs] == ["FINISHED", "FAILED", "FINISHED", "FINISHED"]
    for one, row in zip(runs, result.trials.itertuples(), strict=True):
        assert int(one.data.params["flops"]) == one.data.metrics["flops"] == row.flops
        assert one.data.tags["study"] == "search"
    finished, row = runs[0], result.trials.iloc[0]
    assert finished.data.metrics["final_reward"] == pytest.approx(row.reward)
    assert finished.data.metrics["test_accuracy"] == 0.5
    history = client.get_metric_history(finished.info.run_id, "accuracy")
    assert [(one.step, one.value) for one in history] == [(1, 0.25), (2, 0.5), (3, 0.75)]


def test_tensorboard_files_hold_the_curves(run):
    from tensorboardX.proto.event_pb2 import Event

    result = run(to=["tensorboard"])
    folders = sorted((result.run.path / "tensorboard").iterdir())
    assert [folder.name for folder in folders] == [f"search-{i}" for i in range(4)]
    (file,) = folders[0].glob("events.out.tfevents.*")
    data, scalars = file.read_bytes(), []
    while data:  # length, its checksum, the event, its checksum
        length = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + length])
        scalars += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
        data = data[16 + length :]
    curve = [(step, value) for tag, step, value in scalars if tag == "ray/tune/accuracy"]
    assert curve == [(1, 0.25), (2, 0.5), (3, 0.75)]


def test_a_tracker_that_breaks_costs_no_trial(run, monkeypatch, capsys):
    class Broken:
        def setup(self):
            pass

        def log_trial_start(self, _trial):
            raise ConnectionError("the server has gone")

    monkeypatch.setattr(tracking, "_tensorboard", lambda *_: Broken())
    result = run(to=["tensorboard"])
    assert (result.trials.state == "complete").sum() == 3
    err = capsys.readouterr().err
    assert err.count("warning: tensorboard is left out from here on: the server has gone") == 1


@pytest.mark.parametrize("name", ["mlflow", "wandb", "tensorboard"])
def test_a_missing_package_is_named_before_anything_is_written(config, monkeypatch, name):
    monkeypatch.setattr(tracking, "find_spec", lambda _: None)
    tracked = config.replace(tracking={"to": [name]})
    with pytest.raises(InputError, match=rf"tracking\.to names '{name}', but .* pip install"):
        search(tracked, evaluate=lambda *_, **__: 0.5, **SIZES)
    assert not config.run.exists()


def test_rays_callback_for_wandb_is_where_it_is_looked_for():
    from ray.air.integrations.wandb import WandbLoggerCallback

    if find_spec("wandb") is None:
        with pytest.raises(RuntimeError, match="pip install wandb"):
            tracking._wandb(TrackingSection(), "run", "search", None)
    else:
        made = tracking._wandb(TrackingSection(), "run", "search", None)
        assert isinstance(made, WandbLoggerCallback)
        assert (made.project, made.group) == ("run", "search")


def test_tracking_may_be_switched_on_in_a_run_that_has_begun():
    from experiments.config.run_folder import check_same

    config = SearchConfig(name="test")
    check_same(config, config.replace(tracking={"to": ["tensorboard"]}), "run", {"search"})
