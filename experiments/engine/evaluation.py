"""One trial's evaluation on a worker: in a thread of its own, let on from report to report."""

import math
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.store import parcel
from experiments.training.evaluate import Evaluate
from search_spaces.architecture import Architecture


@dataclass
class Job:
    """What a worker is told of its trial. `checkpoint` is what it goes on from, packed."""

    name: str
    architecture: str  # JSON
    seed: int
    training: dict[str, Any] = field(default_factory=dict)
    checkpoint: bytes | None = None
    seconds_left: float | None = None  # of the time limit; None: no limit

    def __str__(self) -> str:  # Tune makes a tag of it
        return self.name

    def __deepcopy__(self, _memo: dict[int, Any]) -> "Job":
        return self  # Tune copies a trial's config several times


class _Stopped(BaseException):
    """Raised inside the evaluation where the search has stopped its trial."""


class Evaluation:
    """Runs `evaluate`; `next` gives what it reports, epoch by epoch, and how it ends."""

    def __init__(self, evaluate: Evaluate, job: Job) -> None:
        self._results: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._let_on = threading.Semaphore(0)
        self._stopping = False
        self._seconds = 0.0
        self._limit = job.seconds_left
        self._epoch = 0
        self._folder = Path(tempfile.mkdtemp(prefix="scaler-trial-"))
        self._sent: parcel.Signature = ()
        self._thread = threading.Thread(target=self._run, args=(evaluate, job), daemon=True)
        self._thread.start()

    def next(self) -> dict[str, Any]:
        """Let the evaluation run to its next report or its end; `hangs` past its time limit."""
        resumed = time.perf_counter()
        left = None if self._limit is None else max(0.0, self._limit - self._seconds)
        self._let_on.release()
        try:
            result = self._results.get(timeout=left)
        except queue.Empty:
            result = {"hangs": True}
        self._seconds += time.perf_counter() - resumed
        return {**result, "seconds": self._seconds}

    def stop(self, patience: float = 10.0) -> bool:
        """End the evaluation at its report; False if it does not end in time."""
        self._stopping = True
        self._let_on.release()
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _report(
        self, epoch: int, accuracy: float, figures: Mapping[str, float] | None = None, /
    ) -> None:
        self._epoch = int(epoch)
        told = {name: float(value) for name, value in (figures or {}).items()}
        result = {"epoch": self._epoch, "accuracy": _checked(accuracy, epoch), "figures": told}
        self._results.put({**result, "checkpoint": self._packed()})
        self._wait()

    def _packed(self) -> bytes | None:
        """The checkpoint folder, where it has changed since it was last sent."""
        now = parcel.signature(self._folder)
        if now == self._sent or not now:
            return None
        self._sent = now
        return parcel.pack(self._folder)

    def _wait(self) -> None:
        self._let_on.acquire()
        if self._stopping:
            raise _Stopped

    def _run(self, evaluate: Evaluate, job: Job) -> None:
        try:
            self._wait()
            if job.checkpoint is not None:
                parcel.unpack(job.checkpoint, self._folder)
                self._sent = parcel.signature(self._folder)
                job.checkpoint = None
            returned = evaluate(
                Architecture.model_validate_json(job.architecture),
                report=self._report,
                seed=job.seed,
                checkpoint_dir=self._folder,
                **({"training": job.training} if job.training else {}),
            )
            figures = dict(returned) if isinstance(returned, Mapping) else {"accuracy": returned}
            figures = {name: float(value) for name, value in figures.items()}
            accuracy = _checked(figures.pop("accuracy"), self._epoch)
            left = parcel.pack(self._folder) if parcel.signature(self._folder) else None
            self._results.put({"accuracy": accuracy, "extra": figures, "files": left, "done": True})
        except _Stopped:
            pass
        except Exception as error:  # a failed trial is an outcome, not the end of the worker
            self._results.put({"failure": reason(error), "done": True})
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


def reason(error: Exception) -> str:
    """Why an evaluation failed, in one line; memory that ran out is named as such."""
    line = (f"{type(error).__name__}: {error}".splitlines() or [""])[0][:500]
    exhausted = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
    return f"out of memory: {line}" if exhausted else line


def _checked(accuracy: float, epoch: int) -> float:
    if not math.isfinite(accuracy):
        raise ValueError(f"the accuracy after epoch {epoch} is {accuracy}, which is not a number")
    return float(accuracy)
