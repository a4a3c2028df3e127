"""How many trials share a card, and how many run at a time: counted as Ray packs them.

Ray counts shares of a card, it does not fence them: the trials of a card must fit into its memory
together. Without `cluster.gpus_per_trial` the share follows from an estimate of what a training of
the largest network takes.
"""

import math
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from experiments.config.messages import say
from experiments.config.sections import ClusterSection
from experiments.config.units import readable_count
from experiments.data.images import CARD_SHARE
from scaler.cost import Cost

Node = dict[str, Any]  # the resources of a node, as Ray names them

MOST_TRIALS = 8  # a card: beyond that, trials of today's small networks only wait for each other
ASSUMED = 8 * 10**9  # bytes of a card that does not tell its own: the smallest still in common use
USABLE = 0.9  # of a card's memory; the rest is lost to gaps between blocks

# Bytes of a training. Tests compare the third with what torch keeps for the backward pass.
PROCESS = 10**9  # CUDA's context, the kernels of cuDNN and cuBLAS, their workspace
A_PARAMETER = (
    20  # weight, gradient, momentum, average of weights in 4 bytes each, and 16-bit copies
)
AN_ACTIVATION = 20  # up to 4.8 values of 4 bytes are kept of each that a convolution puts out


def trial_bytes(cost: Cost, *, batch_size: int) -> int:
    """An upper estimate of the bytes on a card that a training takes, beside its copy of images."""
    activations = AN_ACTIVATION * cost.activations * batch_size
    return round(PROCESS + A_PARAMETER * cost.params + activations)


def places(cluster: ClusterSection, nodes: Iterable[Node]) -> int:
    """How many trials the nodes hold together. A share of a card lies on one card."""
    return sum(_places(cluster, node) for node in nodes)


def _places(cluster: ClusterSection, node: Node) -> int:
    # 1e-9: three shares of 0.1 fit into 0.3 in spite of rounding
    by_cpu = math.floor(node.get("CPU", 0) / cluster.cpus_per_trial + 1e-9)
    gpus = cluster.gpus_per_trial
    if not gpus:
        return by_cpu
    cards = math.floor(node.get("GPU", 0) + 1e-9)
    by_gpu = math.floor(cards / gpus) if gpus >= 1 else cards * math.floor(1 / gpus + 1e-9)
    return min(by_cpu, by_gpu)


def trials_a_card(
    cluster: ClusterSection, nodes: Sequence[Node], *, memory: int, trial: int, images: int = 0
) -> tuple[int, bool]:
    """1 to MOST_TRIALS: as many as fit into the card's `memory`, have CPUs, and are wanted.

    Bytes of the smallest card, of a training, and of the decoded images, of which each trial holds
    a copy of its own. True where the card has room for so many copies; else they stay in the
    machine's memory.
    """
    cards = sum(int(node["GPU"]) for node in nodes)
    on_cpus = max(int(node.get("CPU", 0) / cluster.cpus_per_trial / node["GPU"]) for node in nodes)
    wanted = MOST_TRIALS if cluster.workers is None else math.ceil(cluster.workers / cards)
    most = max(1, min(MOST_TRIALS, on_cpus, wanted))
    for count in range(most, 0, -1):
        if _hold(count, memory=memory, trial=trial, images=images):
            return count, True
    return max(1, min(most, int(USABLE * memory / trial))), False


def _hold(count: int, *, memory: int, trial: int, images: int) -> bool:
    """Whether so many trials fit with their images: the last one looks at what the others left."""
    free = memory - PROCESS - (count - 1) * (trial + images)
    return count * (trial + images) <= USABLE * memory and images <= CARD_SHARE * free


def with_share(cluster: ClusterSection, *, trial: Callable[[], int], images: int) -> ClusterSection:
    """The section with its `gpus_per_trial` chosen where it has none; says what a card takes.

    `trial` estimates the bytes of a card that a training takes beside its `images`; it is called
    where it is needed. Asks the nodes of the running Ray.
    """
    alive = list(nodes_alive().values())
    nodes = [node for node in alive if node.get("GPU", 0) >= 1]
    if not nodes or cluster.gpus_per_trial == 0:
        return cluster.replace(gpus_per_trial=cluster.gpus_per_trial or 0)
    cards = sum(int(node["GPU"]) for node in nodes)
    counted = _number(cards, "GPU")
    idle = _without_cards(cluster, alive)
    if cluster.gpus_per_trial is not None:
        say(f"{counted}, {cluster.gpus_per_trial:g} of one for each trial (as configured){idle}")
        return cluster
    memory = smallest_card()
    needed = trial()
    count, held = trials_a_card(
        cluster, nodes, memory=memory or ASSUMED, trial=needed, images=images
    )
    share = math.floor(10_000 / count) / 10_000  # Ray counts in ten-thousandths
    told = f"{readable_count(memory)}B" if memory else f"{readable_count(ASSUMED)}B (assumed)"
    own = f", {readable_count(images)}B of it images" if images and held else ""
    beside = "" if held or not images else "; the images stay in the machine's memory"
    say(
        f"{counted}, {_number(count, 'trial')} each (cluster.gpus_per_trial: {share:g}): the "
        f"largest network takes about {readable_count(needed + (images if held else 0))}B{own} of "
        f"a card's {told}{beside}{idle}"
    )
    return cluster.replace(gpus_per_trial=share)


def _without_cards(cluster: ClusterSection, nodes: Iterable[Node]) -> str:
    """Tells of nodes that could train, but have no GPU: a trial with a share never goes there."""
    count = sum(
        not node.get("GPU", 0) and node.get("CPU", 0) >= cluster.cpus_per_trial for node in nodes
    )
    if not count:
        return ""
    return f"; {_number(count, 'node')} without a GPU get{'s' if count == 1 else ''} no trial"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def nodes_alive() -> dict[str, Node]:
    """The resources of each node that is alive, by the node's id."""
    import ray

    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def smallest_card() -> int | None:
    """Bytes of the smallest card of all nodes; None where none tells. Asks every node at once."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = []
    for node_id, resources in nodes_alive().items():
        if resources.get("GPU", 0) >= 1:
            there = NodeAffinitySchedulingStrategy(node_id, soft=False)
            task = ray.remote(num_cpus=0, scheduling_strategy=there)(card_memory)
            asked.append(task.remote())
    answered, _ = ray.wait(asked, num_returns=len(asked), timeout=60)  # s; a slow start takes 20
    told = [memory for answer in answered if (memory := _answer(answer)) is not None]
    return min(told, default=None)


def _answer(asked: Any) -> int | None:
    import ray

    try:
        return ray.get(asked)
    except ray.exceptions.RayError:  # a node that is lost just now
        return None


def card_memory() -> int | None:
    """Bytes of this machine's smallest card, or None; without a context on it, unlike torch."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
        return min(int(line) for line in output.split()) * 2**20
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def see_own_cards() -> None:
    """In a worker: let it see the cards of its share alone, none without one.

    Or all workers of a node would take its card 0. Has to come before CUDA starts in this process.
    What Ray does by itself depends on how the node was started: on its version, and on variables
    as RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES.
    """
    import ray

    cards = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(cards)
