"""Networks side by side: what may be named, and what a comparison leaves."""

import pandas as pd
import pytest

from experiments import load_trials
from experiments.config.schema import SearchConfig
from experiments.config.sections import ComparisonSection
from experiments.engine.session import open_session
from experiments.report.report import result_text, write_report
from experiments.steps.comparison import compared_networks, run_comparison
from experiments.store.trials import load_curves
from search_spaces.records import InputError


def test_panels_keep_their_networks_at_the_resolution_asked_for():
    section = ComparisonSection(networks={"plain": ("cifar_plain20",)}, resolution=16)
    (network,) = compared_networks(section)["plain"]
    assert (network.name, network.resolution) == ("cifar_plain20", 16)


@pytest.mark.parametrize(
    ("networks", "said"),
    [({}, "names no network"), ({"a": ("vgg11",), "b": ("vgg11",)}, "'vgg11' twice")],
)
def test_a_comparison_of_nothing_or_of_one_name_twice_is_refused(networks, said):
    with pytest.raises(InputError, match=said):
        compared_networks(ComparisonSection(networks=networks))


@pytest.mark.parametrize(
    "name",
    [
        "activation_orders",
        "bottleneck_resnext",
        "gradient_norms",
        "plain_residual",
        "shortcuts",
    ],
)
def test_shipped_comparisons_name_networks_that_exist(name):
    panels = compared_networks(SearchConfig.load(name).comparison)
    assert all(len(networks) > 1 for networks in panels.values())


def compare(path, *networks, seeds=1):
    """Train digits for an epoch, two networks at a time, and write the report."""
    settings = {
        "name": "compared",
        "run": path,
        "data": {"source": "digits", "flip": False, "train_limit": 128},
        "comparison": {"networks": {"some": networks}, "epochs": 1, "seeds": seeds},
        "train": {"gradient_norms": True},
        "cluster": {"workers": 2},
    }
    with open_session(SearchConfig.parse(settings, source="test")) as session:
        run_comparison(session)
    write_report(session.folder)
    return session.folder


@pytest.mark.slow
def test_more_seeds_are_added_to_what_was_trained(ray, small, tmp_path):  # noqa: ARG001
    network = small.model_dump(mode="json")
    compare(tmp_path / "run", network)
    folder = compare(tmp_path / "run", network, seeds=2)
    trials = load_trials(folder.path, study="comparison")
    assert trials["seed"].tolist() == [0, 1]
    assert trials["member"].tolist() == ["small", "small_seed1"]
    weights = {file.parent.name for file in folder.checkpoints.glob("*/weights.safetensors")}
    assert weights == {"small", "small_seed1"}


@pytest.mark.slow
def test_the_report_of_a_comparison_keeps_the_configs_order(ray, small, tmp_path):  # noqa: ARG001
    slow = small.replace(name="slow", resolution=32)  # ends last
    networks = [network.model_dump(mode="json") for network in (slow, small)]
    folder = compare(tmp_path / "run", *networks)
    errors = pd.read_csv(folder.tables / "comparison.csv")
    norms = pd.read_csv(folder.tables / "gradient_norms.csv")
    assert errors["network"].tolist() == norms["network"].tolist() == ["slow", "small"]
    curves = load_curves(folder.path)
    first = curves[curves["metric"].str.startswith("gradient_norm.stem")]["value"]
    assert sorted(norms["first_norm"]) == pytest.approx(sorted(first))
    assert "slow" in result_text(folder)
    page = folder.report.read_text()
    assert "Compared on digits" in page
    assert "Asked for" not in page
    assert (folder.figures / "gradient_norms.png").is_file()
