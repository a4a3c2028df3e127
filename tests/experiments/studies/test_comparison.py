"""Networks side by side: what may be named, and what a comparison leaves."""

import pytest

from experiments import load_trials
from experiments.config import ComparisonSection, SearchConfig
from experiments.report.report import write_report
from experiments.report.trials import load_curves
from experiments.studies.comparison import compared_networks, run_comparison
from experiments.studies.session import open_session
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


def test_a_comparison_trains_every_seed_once_and_draws_gradient_norms(ray, small, tmp_path):  # noqa: ARG001
    network = small.model_dump(mode="json")
    settings = {
        "name": "compared",
        "run": tmp_path / "run",
        "data": {"source": "digits", "flip": False, "train_limit": 128},
        "comparison": {"networks": {"small": [network]}, "epochs": 1, "seeds": 2},
        "train": {"gradient_norms": True},
        "cluster": {"workers": 1},
    }
    config = SearchConfig.parse(settings, source="test")
    for _ in range(2):  # the second finds nothing left to do
        with open_session(config) as session:
            run_comparison(session)
    write_report(session.folder)
    trials = load_trials(session.folder.path, study="comparison")
    curves = load_curves(session.folder.path)
    assert trials["seed"].tolist() == [0, 1]
    assert curves["metric"].str.startswith("gradient_norm.stem").sum() == 2
    assert (session.folder.figures / "gradient_norms.png").is_file()
