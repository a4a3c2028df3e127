"""The same training on several processes, through Ray Train's TorchTrainer."""

import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from experiments.members.folder import TrainingFolder
from experiments.members.training import Epoch, MemberTraining
from experiments.studies.failed import WorkFailed
from experiments.training.loop import TrainingState

GO_ON = "the same command goes on after the last epoch that was kept"
Told = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Workers:
    """How many, and what each asks Ray for."""

    count: int
    gpus: float = 0
    cpus: float = 1


class _Keeper:
    """Writes in the command's own process's place: workers on other nodes cannot see its disk."""

    def __init__(self, folder: TrainingFolder) -> None:
        self._folder = folder
        self._rows: list[dict[str, float]] = []

    def keep(self, epoch: Epoch) -> None:
        self._folder.keep(epoch)
        self._rows.append(epoch.row)

    def rows(self, since: int) -> list[dict[str, float]]:
        return self._rows[since:]


def _work(config: dict[str, Any]) -> None:
    """On each worker: its share of every batch."""
    context = ray.train.get_context()
    training, state = ray.get(config["work"])
    keeper = config["keeper"]
    training.run(
        lambda epoch: ray.get(keeper.keep.remote(epoch)),
        state=state,
        rank=context.get_world_rank(),
        workers=context.get_world_size(),
    )


def train_on_workers(
    training: MemberTraining,
    folder: TrainingFolder,
    *,
    state: TrainingState | None,
    workers: Workers,
    told: Told,
) -> None:
    """Train with Ray, which must have been started; `told` is called with each epoch's row.

    Gradients go over NCCL between GPUs and over gloo between CPUs. Raises what a worker raised.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    keeper = ray.remote(num_cpus=0, scheduling_strategy=here)(_Keeper).remote(folder)
    resources = {"CPU": workers.cpus, **({"GPU": workers.gpus} if workers.gpus else {})}
    with tempfile.TemporaryDirectory(prefix="scaler-train-") as scratch:
        trainer = TorchTrainer(
            _work,
            train_loop_config={"work": ray.put((training, state)), "keeper": keeper},
            torch_config=TorchConfig(backend="nccl" if workers.gpus else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=workers.count,
                use_gpu=workers.gpus > 0,
                resources_per_worker=resources,
            ),
            run_config=RunConfig(storage_path=scratch, name="train"),
        )
        _fit(trainer, keeper, told)


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
