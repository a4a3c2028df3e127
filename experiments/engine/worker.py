"""The Ray Tune trainable: a reused actor that runs one evaluation after another."""

import gc
import os
import platform
import sys
from typing import TYPE_CHECKING, Any

from ray import tune

from experiments.engine.evaluation import Evaluation, Job
from experiments.engine.machines.processes import exit_after, kill_children
from experiments.engine.machines.shares import see_own_cards

if TYPE_CHECKING:
    from experiments.training.trial import Evaluate

GRACE = 10.0  # seconds past the time limit in which Python itself may stop a hanging trial


class Worker(tune.Trainable):  # type: ignore[misc]
    """Keeps its process from trial to trial; of an earlier trial only the imports are left."""

    def setup(self, config: dict[str, Any], evaluate: "Evaluate") -> None:
        """Ray calls it once, in the worker's process."""
        see_own_cards()
        self._evaluate = evaluate
        self._hangs = False
        self._begin(config["job"])

    def step(self) -> dict[str, Any]:
        """Ray calls it for each result; what the evaluation reports next."""
        if self._hangs:
            self._leave()
        with exit_after(self._patience):
            result = self._evaluation.next()
        if result.get("hangs"):
            # Its thread cannot be ended from outside: the next step ends the whole process.
            self._hangs = True
            kill_children()
        return {**result, "host": platform.node(), "device": _device()}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in the same process, which spares a start of torch."""
        if self._hangs or not self._evaluation.stop():
            self._leave()
        _free_memory()
        self._begin(new_config["job"])
        return True

    def cleanup(self) -> None:
        """Ray calls it before the process ends."""
        self._evaluation.stop(patience=2.0)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the driver keeps what lasts."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: a job brings its checkpoint along."""

    def _begin(self, job: Job) -> None:
        self.config: dict[str, Any] = {}  # Tune would send it back with every result
        self._patience = None if job.seconds_left is None else job.seconds_left + GRACE
        self._evaluation = Evaluation(self._evaluate, job)

    def _leave(self) -> None:
        """Tune takes a lost process for what it is, and starts another for the next trial."""
        kill_children()
        os._exit(1)


def _free_memory() -> None:
    """What a failed trial's traceback held; a GPU's memory goes back to the other trials."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def _device() -> str:
    torch = sys.modules.get("torch")  # an evaluation without torch does not wait for its import
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else "cpu"
