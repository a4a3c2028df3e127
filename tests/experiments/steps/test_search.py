"""A search as a whole: continued, killed, failed, begun on something else."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments import search
from experiments.config.messages import WorkFailed
from experiments.config.run_folder import RunFolder
from experiments.config.schema import SearchConfig
from experiments.config.sections import FamilySection
from experiments.engine.limits import flops_at
from experiments.engine.session import open_session
from experiments.steps.family import run_family
from experiments.store.store import Store
from experiments.store.trials import load_notes
from scaler import CompoundCoefficients
from search_spaces import InputError

SIZES = {"num_classes": 10, "in_channels": 1}


def wide_is_good(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
    accuracy = architecture.stages[-1].channels / 100
    for epoch in range(1, 4):
        report(epoch, accuracy * epoch / 3)
    return accuracy


@pytest.fixture
def evaluate():
    """A closure, so that it reaches the workers by value."""
    good = wide_is_good
    return lambda architecture, **rest: good(architecture, **rest)


def test_a_search_trains_its_trials_and_names_the_best(ray, config, evaluate):  # noqa: ARG001
    result = search(config, evaluate=evaluate, **SIZES)
    assert len(result.trials) == 12
    done = result.trials[result.trials.state == "complete"]
    best = done.loc[done.reward.idxmax()]
    assert result.best.key == best.key
    assert RunFolder.open(config.run).baseline() == result.best


def test_more_trials_continue_and_the_first_stay(ray, config, evaluate):  # noqa: ARG001
    first = search(config, evaluate=evaluate, **SIZES).trials
    more = config.replace(search=config.search.replace(trials=20))
    second = search(more, evaluate=evaluate, **SIZES).trials
    assert len(second) == 20
    assert list(second.key[:12]) == list(first.key)
    assert second.key.is_unique


def test_same_seed_and_one_worker_give_the_same_trials(ray, config, evaluate, tmp_path):  # noqa: ARG001
    runs = []
    for name in ("a", "b"):
        again = config.replace(run=tmp_path / name)
        runs.append(search(again, evaluate=evaluate, **SIZES).trials)
    columns = ["number", "state", "reason", "accuracy", "reward", "flops", "epochs", "seed", "key"]
    assert runs[0][columns].equals(runs[1][columns])


@pytest.mark.usefixtures("without_ray")
def test_another_config_in_the_same_folder_is_refused(config, evaluate):
    search(config.replace(search=config.search.replace(trials=1)), evaluate=evaluate, **SIZES)
    other = config.replace(search=config.search.replace(epochs=2))
    with pytest.raises(InputError, match=r"holds a run with search\.epochs = 3, but now it is 2"):
        search(other, evaluate=evaluate, **SIZES)


@pytest.mark.usefixtures("without_ray")
def test_the_objectives_cost_and_target_stay_those_of_the_run(config, evaluate):
    settings = {"cost": "activations", "target": 2e4, "max_params": 50_000, "trials": 2}
    begun = config.replace(search=config.search.replace(**settings))
    trials = search(begun, evaluate=evaluate, **SIZES).trials
    expected = trials.accuracy * (trials.activations / 2e4) ** -0.07
    assert trials.reward.tolist() == pytest.approx(expected.tolist())
    assert (trials.cost == trials.activations).all()
    assert (trials.params <= 50_000).all()
    for change in ({"target": 3e4}, {"target_flops": 2e4}, {"max_params": 60_000}):
        other = begun.replace(search=begun.search.replace(**change))
        with pytest.raises(InputError, match=r"holds a run with search\.(target|cost|max_params)"):
            search(other, evaluate=evaluate, **SIZES)


@pytest.mark.usefixtures("without_ray")
def test_a_target_that_is_not_given_is_the_spaces_median_and_stays(config, evaluate, capsys):
    few = config.replace(search=config.search.replace(trials=2, max_flops=5e5))
    trials = search(few, evaluate=evaluate, **SIZES).trials
    target = flops_at(few.search, 0.5, **SIZES)[0]
    assert f"target: {target / 1e3:g} kFLOPs, the median of" in capsys.readouterr().err
    expected = trials.accuracy * (trials.flops / target) ** -0.07
    assert trials.reward.tolist() == pytest.approx(expected.tolist())
    path = few.run / "config.yaml"
    other = target * 2  # as if another version had found another median
    path.write_text(path.read_text().replace(f"target: {target}", f"target: {other}"))
    assert RunFolder.open(few.run).config.search.target == other
    more = few.replace(search=few.search.replace(trials=3))
    last = search(more, evaluate=evaluate, **SIZES).trials.iloc[-1]
    assert last.reward == pytest.approx(last.accuracy * (last.flops / other) ** -0.07)
    assert "the median of" not in capsys.readouterr().err
    with pytest.raises(InputError, match=r"holds a run with search\.target = "):
        search(more.replace(search=more.search.replace(target=1e6)), evaluate=evaluate, **SIZES)


@pytest.mark.usefixtures("without_ray")
def test_a_run_of_before_keeps_the_target_that_was_the_default(config, evaluate):
    begun = config.replace(search=config.search.replace(trials=1, target=1e6))
    search(begun, evaluate=evaluate, **SIZES)
    path = config.run / "config.yaml"
    path.write_text(re.sub(r"target: [\d.]+(, )?", "", path.read_text()))
    assert RunFolder.open(config.run).config.search.target is None
    more = config.replace(search=config.search.replace(trials=2))
    last = search(more, evaluate=evaluate, **SIZES).trials.iloc[-1]
    assert last.reward == pytest.approx(last.accuracy * (last.flops / 1e6) ** -0.07)
    assert RunFolder.open(config.run).config.search.target == 1e6


@pytest.mark.usefixtures("without_ray")
def test_a_step_that_searches_nothing_leaves_the_target_to_the_search(config, evaluate):
    with open_session(config, evaluate=evaluate, **SIZES):
        assert RunFolder.open(config.run).config.search.target is None
    few = config.replace(search=config.search.replace(trials=1))
    search(few, evaluate=evaluate, **SIZES)
    with open_session(few, evaluate=evaluate, **SIZES) as session:
        target = flops_at(few.search, 0.5, **SIZES)[0]
        assert session.config.search.target == target
        assert RunFolder.open(config.run).config.search.target == target


def test_a_folder_that_is_no_run_is_left_alone(config, evaluate):
    config.run.mkdir()
    (config.run / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="is not empty and not a run folder"):
        search(config, evaluate=evaluate, **SIZES)
    assert [path.name for path in config.run.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"max_flops": 100}, r"\(max_flops 100\): the cheapest found has 50,176 FLOPs;"),
        ({"min_flops": 1e9, "max_flops": 2e9}, r"the nearest found has [\d,]+ FLOPs; widen them"),
    ],
)
def test_limits_that_no_network_keeps_are_refused_before_anything_is_made(
    config, evaluate, limits, told
):
    impossible = config.replace(search=config.search.replace(**limits))
    with pytest.raises(InputError, match=told):
        search(impossible, evaluate=evaluate, **SIZES)
    assert not config.run.exists()


@pytest.mark.usefixtures("without_ray")
def test_a_space_of_fewer_networks_than_trials_says_how_many_it_gave_and_why(
    config, evaluate, tmp_path, small, capsys
):
    tree = small.model_dump(mode="json")
    tree["head"]["channels"] = {"choice": [16, 32, 64]}
    (tmp_path / "three.yaml").write_text(json.dumps(tree))
    section = config.search.replace(space=str(tmp_path / "three.yaml"), resolution=None)
    for _ in range(2):  # begun, and continued
        result = search(config.replace(search=section), evaluate=evaluate, **SIZES)
        assert len(result.trials) == 3
        told = "3 of 12 trials: there are no more networks in space"
        assert told in capsys.readouterr().err
    assert "no more networks" in load_notes(result.run.path, study="search")["ended"]


@pytest.mark.usefixtures("without_ray")
def test_a_run_is_not_continued_with_another_evaluation(config, evaluate):
    search(config, evaluate=evaluate, **SIZES)
    with pytest.raises(InputError, match="begun with evaluation own, but now it is built-in"):
        search(config)
    with pytest.raises(InputError, match="begun with num_classes 10, but now it is 11"):
        search(config, evaluate=evaluate, num_classes=11, in_channels=1)


def test_a_run_in_use_refuses_a_second_command(ray, config, evaluate):  # noqa: ARG001
    with (
        open_session(config, evaluate=evaluate, **SIZES),
        pytest.raises(InputError, match="is in use by another command"),
    ):
        search(config, evaluate=evaluate, **SIZES)


@pytest.mark.usefixtures("without_ray")
def test_failed_members_are_tried_again(config, small):
    def failing(architecture, **rest):  # noqa: ARG001
        raise MemoryError("no room")

    family = FamilySection(ratios=(3,), tolerance=0.2, epochs=1)
    config = config.replace(family=family)
    with open_session(config, evaluate=failing, **SIZES) as session, pytest.raises(WorkFailed):
        run_family(session, small, CompoundCoefficients())
    with open_session(config, evaluate=lambda a, **rest: 0.5, **SIZES) as session:  # noqa: ARG005
        run_family(session, small, CompoundCoefficients())
        states = [trial.state.name for trial in session.store.trials("family")]
    assert states == ["FAIL", "FAIL", "COMPLETE", "COMPLETE"]


def test_a_trial_that_cannot_be_recorded_ends_the_search(ray, config, evaluate, monkeypatch):  # noqa: ARG001
    def full(*_arguments, **_options):
        raise OSError("No space left on device")

    monkeypatch.setattr(Store, "record", full)
    with pytest.raises(WorkFailed, match=r"cannot record a trial .*No space left"):
        search(config, evaluate=evaluate, **SIZES)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"cluster": {"cpus_per_trial": 64}}, "cpus_per_trial is 64, but this machine has"),
        ({"cluster": {"gpus_per_trial": 64}}, "gpus_per_trial is 64, but this machine has"),
        ({"search": {"target_flops": float("inf")}}, r"search\.target: .*finite"),
        ({"coefficients": {"step": 0.001}}, r"coefficients\.step: .*0\.02"),
    ],
)
def test_what_no_machine_can_do_is_refused_before_anything_is_made(tmp_path, section, message):
    with pytest.raises(InputError, match=message):
        search(SearchConfig.parse({"name": "x", "run": tmp_path / "run", **section}, source="x"))
    assert list(tmp_path.iterdir()) == []


DRIVER = """
import sys, time
from pathlib import Path
from experiments import search
from experiments.config.schema import SearchConfig
def evaluate(architecture, *, report, seed, checkpoint_dir):
    for epoch in range(1, 4):
        time.sleep(0.03)
        report(epoch, architecture.stages[-1].channels / 100)
    return architecture.stages[-1].channels / 100
search(SearchConfig.load(sys.argv[1]), evaluate=evaluate, num_classes=10, in_channels=1)
"""


def kill_when(process: subprocess.Popen, store: Path, count: int) -> list[str]:
    """SIGKILL the driver once `count` trials are stored; the keys that were stored."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the driver ended by itself with {process.returncode}")
        if store.exists() and len(stored(store)) >= count:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return stored(store)


def stored(path: Path) -> list[str]:
    try:
        return [trial.user_attrs["key"] for trial in Store(path).trials("search")]
    except InputError:  # the driver is just making it
        return []


@pytest.mark.slow
def test_a_killed_driver_loses_no_finished_trial(config, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(config.replace(search=config.search.replace(trials=40)).to_yaml())
    command = [sys.executable, "-c", DRIVER, str(path)]
    kept: list[str] = []
    for count in (1, 7, 15, 24):
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
        now = kill_when(process, config.run / "study.db", count)
        assert now[: len(kept)] == kept
        kept = now
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    final = stored(config.run / "study.db")
    assert final[: len(kept)] == kept
    assert len(final) == len(set(final)) == 40
