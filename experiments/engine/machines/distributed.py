"""The same training on several processes, through Ray Train's TorchTrainer."""

import tempfile
import threading
from typing import Any

import ray
import ray.train
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from experiments.config.messages import WorkFailed, say
from experiments.config.sections import ClusterSection
from experiments.engine.machines.cluster import ray_session
from experiments.engine.machines.cluster_check import check_cluster
from experiments.engine.machines.shares import nodes_alive, places, see_own_cards
from experiments.training.checkpoint import TrainingState
from experiments.training.members.folder import KeptEpoch, TrainingFolder
from experiments.training.members.run import Elsewhere, Told, train_and_keep
from experiments.training.training import Training

GO_ON = "the same command goes on after the last epoch that was kept"


class _Keeper:
    """Writes in the command's own process's place: workers on other nodes cannot see its disk."""

    def __init__(self, folder: TrainingFolder) -> None:
        self._folder = folder
        self._rows: list[dict[str, float]] = []

    def keep(self, epoch: KeptEpoch) -> None:
        """Keep an epoch in the training's folder."""
        self._folder.keep(epoch)
        self._rows.append(epoch.row)

    def rows(self, since: int) -> list[dict[str, float]]:
        """The epochs' rows from number `since` on."""
        return self._rows[since:]


def _work(config: dict[str, Any]) -> None:
    """On each worker: its share of every batch.

    Workers of a node see each other's cards, which NCCL wants; Ray Train has made each one's own
    the current one. Without a share none is seen.
    """
    if not ray.get_runtime_context().get_accelerator_ids().get("GPU"):
        see_own_cards()
    context = ray.train.get_context()
    training, state = ray.get(config["work"])
    keeper = config["keeper"]
    train_and_keep(
        training,
        lambda epoch: ray.get(keeper.keep.remote(epoch)),
        state=state,
        rank=context.get_world_rank(),
        workers=context.get_world_size(),
    )


def on_workers(
    count: int,
    *,
    gpus: float | None = None,
    cpus: float = 1,
    address: str | None = None,
    on_cards: bool = False,
) -> Elsewhere:
    """Trains on `count` workers of a Ray cluster, or of an embedded Ray; each asks for its share.

    `gpus` None: one each where there are enough, else none. Gradients go over NCCL between whole
    GPUs and over gloo between CPUs and between shares of one GPU, which NCCL refuses. Raises
    InputError where not all workers can run at once, or have no GPU though they have to be
    `on_cards`; and what a worker raised.
    """
    cluster = ClusterSection(
        address=address, workers=count, cpus_per_trial=cpus, gpus_per_trial=gpus
    )
    check_cluster(cluster, together=count, on_cards=on_cards)

    def train(
        training: Training, folder: TrainingFolder, state: TrainingState | None, told: Told
    ) -> None:
        with ray_session(cluster), tempfile.TemporaryDirectory(prefix="scaler-train-") as scratch:
            here = NodeAffinitySchedulingStrategy(
                ray.get_runtime_context().get_node_id(), soft=False
            )
            keeper = ray.remote(num_cpus=0, scheduling_strategy=here)(_Keeper).remote(folder)
            share = _share(cluster, count)
            trainer = TorchTrainer(
                _work,
                train_loop_config={"work": ray.put((training, state)), "keeper": keeper},
                torch_config=TorchConfig(backend="nccl" if share >= 1 else "gloo"),
                scaling_config=ScalingConfig(
                    num_workers=count,
                    use_gpu=share > 0,
                    resources_per_worker={"CPU": cpus, **({"GPU": share} if share else {})},
                ),
                run_config=RunConfig(storage_path=scratch, name="train"),
            )
            _fit(trainer, keeper, told)

    return train


def _share(cluster: ClusterSection, count: int) -> float:
    """GPUs of each of `count` workers: as asked, or one each where the nodes have them."""
    if cluster.gpus_per_trial is not None:
        return cluster.gpus_per_trial
    nodes = nodes_alive().values()
    enough = places(cluster.replace(gpus_per_trial=1), nodes) >= count
    if not enough and any(node.get("GPU", 0) for node in nodes):
        say(f"{count} workers train on CPUs: there are fewer GPUs (--gpus-per-worker 0.5 shares)")
    return float(enough)


def _fit(trainer: Any, keeper: Any, told: Told) -> None:
    """Run the trainer while telling each epoch as it comes."""
    seen = 0
    ended = threading.Event()

    def tell_new() -> None:
        nonlocal seen
        rows = ray.get(keeper.rows.remote(seen))
        seen += len(rows)
        for row in rows:
            told(row)

    def follow() -> None:
        while not ended.wait(0.5):
            tell_new()

    teller = threading.Thread(target=follow, daemon=True)
    teller.start()
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise WorkFailed(f"a worker failed: {_last_line(str(error))}; {GO_ON}") from error
    finally:
        ended.set()
        teller.join()
        tell_new()


def _last_line(text: str) -> str:
    """Of a worker's traceback: what was raised."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it does not say why"
