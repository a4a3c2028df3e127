"""One trial's evaluation on a worker: in a thread of its own, let on from report to report."""

import math
import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.store.checkpoints import Signature, pack, signature, unpack
from search_spaces.architecture import Architecture

if TYPE_CHECKING:
    from experiments.training.trial import Evaluate


TRIALS = "SCALER_TRIALS"  # names the folder in which a run's own Ray keeps its trials' folders
_DUST = 1e-6  # a float32's mean of ones may be 1 + 1e-7
_MOST_EPOCHS = 2**31 - 1  # what a database's whole number holds
_EXHAUSTED = ("OutOfMemory", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")  # also CUDA's
_LONGEST_NAME = 200  # characters; Optuna's tables give a name 512 bytes or more


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

    def __init__(self, evaluate: "Evaluate", job: Job) -> None:
        self._results: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._let_on = threading.Semaphore(0)
        self._stopping = False
        self._seconds = 0.0
        self._limit = job.seconds_left
        self._epoch = 0
        place = os.environ.get(TRIALS)
        self._folder = Path(tempfile.mkdtemp(prefix="scaler-trial-", dir=place))
        self._sent: Signature = ()
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
        self._epoch = _whole(epoch)
        told = _figures(figures or {})
        result = {"epoch": self._epoch, "accuracy": _checked(accuracy, epoch), "figures": told}
        self._results.put({**result, "checkpoint": self._packed()})
        self._wait()

    def _packed(self) -> bytes | None:
        """The checkpoint folder, where it has changed since it was last sent."""
        now = signature(self._folder)
        if now == self._sent or not now:
            return None
        self._sent = now
        return pack(self._folder)

    def _wait(self) -> None:
        self._let_on.acquire()
        if self._stopping:
            raise _Stopped

    def _run(self, evaluate: "Evaluate", job: Job) -> None:
        try:
            self._wait()
            if job.checkpoint is not None:
                unpack(job.checkpoint, self._folder)
                self._sent = signature(self._folder)
                job.checkpoint = None
            returned = evaluate(
                Architecture.model_validate_json(job.architecture),
                report=self._report,
                seed=job.seed,
                checkpoint_dir=self._folder,
                **({"training": job.training} if job.training else {}),
            )
            told = dict(returned) if isinstance(returned, Mapping) else {"accuracy": returned}
            if "accuracy" not in told:
                raise ValueError("what the evaluation returned has no `accuracy`")
            accuracy, figures = _checked(told.pop("accuracy"), self._epoch), _figures(told)
            left = pack(self._folder) if signature(self._folder) else None
            self._results.put({"accuracy": accuracy, "extra": figures, "files": left, "done": True})
        except _Stopped:
            pass
        # Not `Exception`: nobody hears what ends a thread, and the worker would wait for ever after
        # `sys.exit()`, a cancelled task or a KeyboardInterrupt.
        except BaseException as error:
            self._results.put({"failure": reason(error), "done": True})
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


def reason(error: BaseException) -> str:
    """Why an evaluation failed, in one printable line; memory that ran out is named as such."""
    kind = type(error).__name__
    try:
        said = str(error)
    except BaseException:  # a `__str__` of its own may raise anything
        said = "its message cannot be printed"
    line = (f"{kind}: {said}" if said else kind).splitlines()[0][:500]
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    exhausted = isinstance(error, MemoryError) or any(words in line for words in _EXHAUSTED)
    return f"out of memory: {line}" if exhausted else line


def _number(value: Any) -> float | None:
    """What is a number, of whatever library; text is none, even where it looks like one."""
    try:
        return None if isinstance(value, str | bytes | bytearray) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _checked(accuracy: Any, epoch: int) -> float:
    """An accuracy that was reported or returned. Raises ValueError outside of [0, 1]."""
    number = _number(accuracy)
    if number is None or math.isnan(number):
        raise ValueError(
            f"the accuracy after epoch {epoch} is {accuracy!r:.40}, which is not a number"
        )
    if not -_DUST <= number <= 1 + _DUST:
        raise ValueError(
            f"the accuracy after epoch {epoch} is {number:g}, which is outside of [0, 1]; "
            f"give a share, not per cent"
        )
    return min(max(number, 0.0), 1.0)


def _whole(epoch: Any) -> int:
    number = _number(epoch)
    if number is None or not 0 <= number <= _MOST_EPOCHS or number != int(number):
        raise ValueError(
            f"the reported epoch is {epoch!r:.40}, which is no whole number from 1 to "
            f"{_MOST_EPOCHS:,}"
        )
    return int(number)


def _figures(told: Mapping[Any, Any]) -> dict[str, float]:
    """Further figures by their names. Raises ValueError for what the study cannot keep."""
    figures = {}
    for name, value in told.items():
        if not isinstance(name, str) or not name.isprintable() or len(name) > _LONGEST_NAME:
            raise ValueError(
                f"a figure is called {name!r:.40}; a name is printable text of at most "
                f"{_LONGEST_NAME} characters"
            )
        number = _number(value)
        if number is None:
            raise ValueError(f"the figure '{name}' is {value!r:.40}, which is not a number")
        figures[name] = number
    return figures
