"""The Ray Tune trainable: runs an evaluation function epoch by epoch in a reused actor."""

import math
import platform
import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ray import tune

from search_spaces.architecture import Architecture


class Report(Protocol):
    """Tells the accuracy after an epoch, counted from 1, and further figures, as `train_loss`."""

    def __call__(
        self, epoch: int, accuracy: float, figures: Mapping[str, float] | None = None, /
    ) -> None: ...


class Evaluate(Protocol):
    """The user's evaluation: trains `architecture` and returns its accuracy.

    It calls `report(epoch, accuracy)` after each epoch, and may be stopped there. Instead of a
    number it may return a mapping with `accuracy` and further figures, which are kept with it.
    Where the search space has `training:` choices it is also called with `training`, what they are.
    """

    def __call__(
        self, architecture: Architecture, *, report: Report, seed: int, checkpoint_dir: Path
    ) -> float | Mapping[str, float]: ...


class _Stopped(BaseException):
    """Raised inside the evaluation where the search has stopped its trial."""


class _Evaluation:
    """One trial's evaluation in a thread of its own, which waits at each report to be let on."""

    def __init__(self, evaluate: Evaluate, trial: dict[str, Any]) -> None:
        self._results: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._let_on = threading.Semaphore(0)
        self._stopping = False
        self._curve: list[float] = []
        self._figures: dict[str, list[float | None]] = {}  # None: not told after that epoch
        self._seconds = 0.0
        self._resumed = time.perf_counter()
        self._thread = threading.Thread(target=self._run, args=(evaluate, trial), daemon=True)
        self._thread.start()

    def next(self) -> dict[str, Any]:
        """Let the evaluation run to its next report or its end."""
        self._resumed = time.perf_counter()
        self._let_on.release()
        result = self._results.get()
        self._seconds += time.perf_counter() - self._resumed
        curves = {name: list(values) for name, values in self._figures.items()}
        told = {"curve": list(self._curve), "curves": curves, "seconds": self._seconds}
        return {**result, **told}

    def stop(self, patience: float = 10.0) -> bool:
        """End the evaluation at its report; False if it does not end in time."""
        self._stopping = True
        self._let_on.release()
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _report(
        self, epoch: int, accuracy: float, figures: Mapping[str, float] | None = None, /
    ) -> None:
        self._curve.append(_checked(accuracy, epoch))
        for name, value in (figures or {}).items():
            told = self._figures.setdefault(name, [])
            told += [None] * (len(self._curve) - 1 - len(told))
            told.append(float(value))
        self._results.put({"epoch": int(epoch), "accuracy": float(accuracy)})
        self._wait()

    def _wait(self) -> None:
        self._let_on.acquire()
        if self._stopping:
            raise _Stopped

    def _run(self, evaluate: Evaluate, trial: dict[str, Any]) -> None:
        try:
            self._wait()
            returned = evaluate(
                Architecture.model_validate_json(trial["architecture"]),
                report=self._report,
                seed=trial["seed"],
                checkpoint_dir=Path(trial["checkpoint_dir"]),
                **({"training": trial["training"]} if trial["training"] else {}),
            )
            figures = dict(returned) if isinstance(returned, Mapping) else {"accuracy": returned}
            figures = {name: float(value) for name, value in figures.items()}
            accuracy = _checked(figures.pop("accuracy"), len(self._curve))
            result = {"accuracy": accuracy, "epoch": len(self._curve), "finished": True}
            self._results.put({**result, "extra": figures, "done": True})
        except _Stopped:
            pass
        except Exception as error:  # a failed trial is an outcome, not the end of the worker
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:500]
            self._results.put({"failure": reason, "done": True})


def _checked(accuracy: float, epoch: int) -> float:
    if not math.isfinite(accuracy):
        raise ValueError(f"the accuracy after epoch {epoch} is {accuracy}, which is not a number")
    return float(accuracy)


class Worker(tune.Trainable):  # type: ignore[misc]
    """Keeps its process from trial to trial; of an earlier trial only the imports are left."""

    def setup(self, config: dict[str, Any], evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._evaluation = _Evaluation(evaluate, config)

    def step(self) -> dict[str, Any]:
        result = self._evaluation.next()
        if "accuracy" in result:
            result["reward"] = result["accuracy"] * self.config["reward_factor"]
        return {**result, "host": platform.node(), "device": _device()}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        if not self._evaluation.stop():
            return False  # Tune then starts a new process
        self._evaluation = _Evaluation(self._evaluate, new_config)
        return True

    def cleanup(self) -> None:
        self._evaluation.stop(patience=2.0)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: what lasts is in the study."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: a trial that lost its worker starts again."""


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
