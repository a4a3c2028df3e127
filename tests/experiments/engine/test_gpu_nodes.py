"""Nodes that declare GPUs they do not have: who trains where, and what a trial sees."""

import json
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.experiments.engine.clusters import environment, started

TOKEN = "0123456789abcdef" * 4
# A search whose shares follow from the cards, and one on CPUs. Each trial tells where it ran.
DRIVER = """
import json, os, pathlib, sys, time
from experiments import SearchConfig, search

def evaluate(architecture, *, report, seed, checkpoint_dir):
    import ray
    if wait_for:  # until so many workers are there: a busy machine starts them minutes apart
        there = pathlib.Path(folder)
        (there / str(os.getpid())).touch()
        deadline = time.time() + 200
        while len(list(there.iterdir())) < wait_for and time.time() < deadline:
            time.sleep(0.1)
    began = time.time()
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    time.sleep(1.0)
    return {
        "accuracy": 0.5,
        "sees": {"": -1, "all": 99}.get(seen, int(seen) if seen.isdigit() else 88),
        "node": int(ray.get_runtime_context().get_node_id()[:10], 16),
        "cards": float(os.environ["CARDS"]),
        "began_at": began,
        "ended_at": time.time(),
    }

told = {}
for name, trials, cluster, wait_for in (
    ("auto", 14, {}, 6), ("none", 6, {"gpus_per_trial": 0, "workers": 3}, 0)
):
    folder = f"{sys.argv[1]}/{name}-workers"
    os.mkdir(folder)
    section = {"resolution": 8, "trials": trials, "epochs": 1, "sampler": "random"}
    config = {"name": name, "run": f"{sys.argv[1]}/{name}", "search": section}
    config |= {"cluster": {"address": sys.argv[2], **cluster}, "confirmation": None}
    done = search(
        SearchConfig.parse(config, source="test"), evaluate=evaluate, num_classes=10, in_channels=1
    ).trials
    told[name] = done[["sees", "node", "cards", "began_at", "ended_at"]].to_dict("records")
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Nodes of two cards of 80 GB, of one small card, and of none; the head takes no trial."""
    folder = tmp_path_factory.mktemp("gpu-nodes")
    # The first as a site may set it, so that Ray shows each worker all cards of its node.
    shown_all = {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}
    with ExitStack() as stack:
        head = stack.enter_context(started("--num-cpus=0", "--num-gpus=0", token=TOKEN))
        for cpus, cards, megabytes, variables in (
            (8, 2, 81559, shown_all),
            (4, 1, 3000, {}),
            (2, 0, None, {}),
        ):
            tools = folder / f"of-{cards}"
            tools.mkdir()
            if megabytes:
                nvidia_smi = tools / "nvidia-smi"
                nvidia_smi.write_text(f"#!/bin/sh\necho {megabytes}\n")
                nvidia_smi.chmod(0o755)
            own = environment(token=TOKEN)["PATH"]
            stack.enter_context(
                started(
                    f"--num-cpus={cpus}",
                    f"--num-gpus={cards}",
                    address=head.address,
                    token=TOKEN,
                    PATH=f"{tools}:{own}",
                    CARDS=str(cards),
                    **variables,
                )
            )
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, str(folder), head.address],
            capture_output=True,
            text=True,
            timeout=500,
            env=environment(token=TOKEN),
        )
    assert done.returncode == 0, done.stderr
    return {"said": done.stderr, **json.loads(done.stdout.splitlines()[-1])}


def most_at_once(trials):
    return max(
        sum(one["began_at"] <= at["began_at"] < one["ended_at"] for one in trials) for at in trials
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_smallest_card_decides_and_a_node_without_a_gpu_is_named(searched):
    assert "3 GPUs, 2 trials each (cluster.gpus_per_trial: 0.5): the largest" in searched["said"]
    assert "B of a card's 3.15 GB; 1 node without a GPU gets no trial" in searched["said"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_trial_sees_one_card_of_its_node_and_no_card_has_more_than_its_share(searched):
    trials = searched["auto"]
    assert len(trials) == 14
    assert {trial["cards"] for trial in trials} == {1, 2}  # both nodes train, and no other
    for trial in trials:
        assert 0 <= trial["sees"] < trial["cards"]
    for card in {(trial["node"], trial["sees"]) for trial in trials}:
        assert most_at_once([t for t in trials if (t["node"], t["sees"]) == card]) <= 2
    assert most_at_once(trials) == 6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_without_shares_no_trial_sees_a_card(searched):
    trials = searched["none"]
    assert len(trials) == 6
    assert {trial["sees"] for trial in trials} == {-1}
