"""What a trial gets of a card, and what it sees, on nodes that declare GPUs they do not have."""

import json
import subprocess
import sys

import pytest
import torch

from experiments.config.sections import ClusterSection
from experiments.engine.machines import cluster_check, shares
from experiments.engine.machines.cluster_check import check_cluster
from experiments.engine.machines.shares import (
    AN_ACTIVATION,
    places,
    trial_bytes,
    trials_a_card,
    with_share,
)
from scaler import Cost, measure_cost
from search_spaces import InputError, build_network, load_architecture, load_space, resize
from tests.experiments.engine.clusters import environment

GB = 10**9


@pytest.mark.parametrize(
    ("node", "cpus", "gpus", "wanted"),
    [
        ({"CPU": 64, "GPU": 2}, 1, 0.4, 4),  # not 5: a share lies on one card
        ({"CPU": 64, "GPU": 2}, 1, 0.3333, 6),
        ({"CPU": 64, "GPU": 1}, 1, 0.1, 10),
        ({"CPU": 64, "GPU": 3}, 1, 2, 1),
        ({"CPU": 3, "GPU": 8}, 1, 0.5, 3),
        ({"CPU": 5}, 2, 0, 2),
        ({"CPU": 5}, 1, 0.5, 0),
    ],
)
def test_places_are_counted_as_ray_packs_them(node, cpus, gpus, wanted):
    assert places(ClusterSection(cpus_per_trial=cpus, gpus_per_trial=gpus), [node]) == wanted


@pytest.mark.parametrize(
    ("memory", "trial", "cpus", "workers", "wanted"),
    [
        (80, 10, 64, None, 7),  # nine tenths of 80 hold seven
        (80, 2, 64, None, 8),  # never more than eight
        (80, 100, 64, None, 1),  # one is always tried
        (80, 2, 6, None, 3),  # six CPUs for two cards
        (80, 2, 64, 3, 2),  # three at a time need no more than two on one of two cards
    ],
)
def test_a_card_takes_as_many_as_memory_cpus_and_workers_allow(
    memory, trial, cpus, workers, wanted
):
    nodes = [{"CPU": cpus, "GPU": 2}]
    cluster = ClusterSection(workers=workers)
    found = trials_a_card(cluster, nodes, memory=memory * GB, trial=trial * GB)
    assert found == (wanted, memory >= trial)


@pytest.mark.parametrize(
    ("images", "wanted"),
    [
        (1, (8, True)),  # eight copies beside eight trainings of 4 GB
        (8, (6, True)),  # of 12 GB each; the last one finds 19 GB free
        (24, (2, True)),
        (30, (1, True)),  # a second one would find 45 GB free, and copies take half at most
        (45, (8, False)),  # more than half of the card: no copy at all
    ],
)
def test_each_trial_of_a_card_counts_its_own_copy_of_the_images(images, wanted):
    nodes = [{"CPU": 64, "GPU": 1}]
    sizes = {"memory": 80 * GB, "trial": 4 * GB, "images": images * GB}
    assert trials_a_card(ClusterSection(), nodes, **sizes) == wanted


def test_the_estimate_adds_the_process_the_weights_and_the_batch():
    estimate = trial_bytes(Cost(0, 1_000_000, 2_000_000), batch_size=32)
    assert estimate == GB + 20 * 1_000_000 + 32 * 20 * 2_000_000


def told_of(nodes, monkeypatch, capsys, memory=None, images=0, **cluster):
    """The share that these nodes' trials get, and what is said of it."""
    alive = {str(number): node for number, node in enumerate(nodes)}
    monkeypatch.setattr(shares, "nodes_alive", lambda: alive)
    monkeypatch.setattr(shares, "smallest_card", lambda: memory)
    found = with_share(ClusterSection(**cluster), trial=lambda: 4 * GB, images=images)
    return found.gpus_per_trial, capsys.readouterr().err


def test_nodes_of_unequal_gpus_share_by_the_smallest_card_and_one_without_is_named(
    monkeypatch, capsys
):
    nodes = [{"CPU": 16, "GPU": 8}, {"CPU": 8, "GPU": 1}, {"CPU": 4}, {"GPU": 0}]
    share, said = told_of(nodes, monkeypatch, capsys, memory=24 * GB)
    assert share == 0.2
    assert "9 GPUs, 5 trials each" in said
    assert "of a card's 24 GB; 1 node without a GPU gets no trial" in said
    assert told_of(nodes, monkeypatch, capsys, gpus_per_trial=0) == (0, "")


def test_images_without_room_are_told_to_stay_in_memory(monkeypatch, capsys):
    share, said = told_of(
        [{"CPU": 1, "GPU": 1}], monkeypatch, capsys, memory=24 * GB, images=20 * GB
    )
    assert share == 1
    assert "takes about 4 GB of a card's 24 GB; the images stay in the machine's memory" in said


def test_the_drivers_card_is_not_asked_for_the_workers_memory(monkeypatch, capsys):
    """Nor is CUDA begun in the driver, which would take a part of a card that trials share."""

    def asked(*_):
        raise AssertionError("the driver asks its own card")

    for name in ("mem_get_info", "get_device_properties", "init", "_lazy_init"):
        monkeypatch.setattr(torch.cuda, name, asked)
    assert told_of([{"CPU": 2, "GPU": 1}], monkeypatch, capsys, memory=24 * GB)[0] == 0.5


@pytest.mark.parametrize("name", ["efficientnet_b0", "cifar_resnet20", "densenet121"])
def test_what_is_kept_for_the_backward_pass_is_within_the_estimate_and_not_far_below(name):
    architecture = resize(load_architecture(name), resolution=32)
    network, kept = build_network(architecture).train(), {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network(torch.zeros(4, 3, 32, 32))
    own = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values()}
    bytes_kept = sum(t.untyped_storage().nbytes() for at, t in kept.items() if at not in own)
    estimate = AN_ACTIVATION * measure_cost(architecture).activations * 4
    assert estimate / 4 < bytes_kept < estimate


def test_the_largest_network_of_a_space_is_larger_than_any_drawn():
    def activations(network):
        return measure_cost(network).activations

    space = load_space("mbconv_small").at(32)
    drawn = max(map(activations, space.members(20, seed=1)))
    assert activations(space.largest(activations)) >= drawn


def test_workers_that_cannot_all_start_are_refused(monkeypatch):
    # Not of torch: another test's Ray may be there, and then Ray's count is the machine's.
    monkeypatch.setattr(cluster_check, "_cards", lambda: 2)
    fits = ClusterSection(workers=4, gpus_per_trial=0.5)
    check_cluster(fits, together=4)
    with pytest.raises(InputError, match=r"4 workers with 1 CPUs and 1 GPUs each do not fit: this"):
        check_cluster(fits.replace(gpus_per_trial=1), together=4)


def test_a_card_that_does_not_tell_its_memory_is_none(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(subprocess, "run", missing)
    assert shares.card_memory() is None


DRIVER = """
import json, os, sys, time
import ray
ray.init(num_cpus=6, num_gpus=2, include_dashboard=False, log_to_driver=False)
from experiments import SearchConfig, search

def evaluate(architecture, *, report, seed, checkpoint_dir):
    began = time.time()
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    time.sleep(0.5)
    sees = {"": -1, "all": 99}.get(seen, int(seen) if seen.isdigit() else 88)
    return {"accuracy": 0.5, "sees": sees, "began_at": began, "ended_at": time.time()}

told = {}
for name, cluster in json.loads(sys.argv[2]).items():
    section = {"resolution": 8, "trials": 9, "epochs": 1, "sampler": "random"}
    run = f"{sys.argv[1]}/{name}"
    config = {"name": name, "run": run, "search": section, "cluster": cluster}
    config = SearchConfig.parse({**config, "confirmation": None}, source="test")
    trials = search(config, evaluate=evaluate, num_classes=10, in_channels=1).trials
    asked = [0.0] * len(trials) if "gpus" not in trials else trials.gpus.tolist()
    spans = list(zip(trials.began_at, trials.ended_at))
    most = max(sum(a <= t < b for a, b in spans) for t, _ in spans)
    told[name] = {"sees": trials.sees.tolist(), "gpus": asked, "most": most}
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Nine trials for each setting, on one node that declares six CPUs and two GPUs."""
    clusters = {
        "auto": {},
        "packed": {"gpus_per_trial": 0.4},
        "none": {"gpus_per_trial": 0},
        "two": {"workers": 2},
    }
    folder = str(tmp_path_factory.mktemp("shares"))
    command = [sys.executable, "-c", DRIVER, folder, json.dumps(clusters)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=250, env=environment(token=None)
    )
    assert done.returncode == 0, done.stderr
    return {"said": done.stderr, **json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "share", "sees", "most"),
    [
        ("auto", 0.3333, {0, 1}, 6),
        ("packed", 0.4, {0, 1}, 4),
        ("none", 0, {-1}, 6),
        ("two", 1, {0, 1}, 2),
    ],
)
def test_a_trial_sees_its_own_card_or_none_and_no_more_run_than_fit(
    searched, setting, share, sees, most
):
    assert set(searched[setting]["gpus"]) == {share}
    assert set(searched[setting]["sees"]) <= sees
    assert 1 < searched[setting]["most"] <= most


@pytest.mark.slow
def test_the_choice_is_told_in_a_line(searched):
    assert (
        "2 GPUs, 3 trials each (cluster.gpus_per_trial: 0.3333): the largest network takes"
        in (searched["said"])
    )
