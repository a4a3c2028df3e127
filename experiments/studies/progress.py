"""What a person sees while trials run: a line for each that ends, with the time left."""

import sys
import time

from experiments.studies.trial import Candidate, Outcome
from experiments.units import readable_count, readable_seconds


class Progress:
    """One line a finished trial on standard error, so that standard output stays the result's."""

    def __init__(self, study: str, *, total: int, done: int = 0) -> None:
        self.study = study
        self.total = total
        self.screened = 0
        self.best: float | None = None
        self._done = self._before = done
        self._ended = {"complete": 0, "pruned": 0, "fail": 0}
        self._began = time.monotonic()

    def ended(self, candidate: Candidate, outcome: Outcome) -> None:
        label = candidate.attributes.get("label", f"#{self._done}")  # the trial's number
        self._done += 1
        self._ended[outcome.state] += 1
        parts = [f"{label} {outcome.state}"]
        if outcome.accuracy is not None:
            parts.append(f"accuracy {outcome.accuracy:.4f}")
            value = outcome.accuracy * candidate.reward_factor
            if outcome.state == "complete":
                self.best = value if self.best is None else max(self.best, value)
        parts.append(f"{readable_count(candidate.cost.flops)}FLOPs")
        parts.append(f"{outcome.seconds:.1f} s")
        if outcome.state == "fail":
            parts.append(outcome.reason)
        if self.best is not None:
            parts.append(f"best {self.best:.4f}")
        parts.append(f"{readable_seconds(self._left())} left")
        width = len(str(self.total))
        say(f"{self.study} {self._done:>{width}}/{self.total}  " + "  ".join(parts))

    def summary(self) -> None:
        counts = ", ".join(f"{number} {state}" for state, number in self._ended.items() if number)
        screened = f"; {self.screened} screened out before training" if self.screened else ""
        took = readable_seconds(time.monotonic() - self._began)
        say(f"{self.study}: {counts or 'nothing left to do'} in {took}{screened}")

    def _left(self) -> float:
        done = self._done - self._before
        return (time.monotonic() - self._began) / done * (self.total - self._done)


def say(line: str) -> None:
    """To standard error, so that standard output stays the result's."""
    print(line, file=sys.stderr, flush=True)
