"""What a person sees while trials run: a line for each that ends, with the time left."""

import sys
import time
from collections.abc import Mapping

from experiments.studies.trial import Candidate, Outcome
from experiments.units import readable_cost, readable_count, readable_seconds

# why a candidate is thrown back -> in words
SCREENED = {
    "outside": "outside the limits",
    "slow": "slower than max_latency",
    "repeated": "already tried",
    "unfit": "parts that do not fit",
}


def screened_text(screened: Mapping[str, int]) -> str:
    """`30 screened out before training (12 outside the limits, 18 already tried)`."""
    if not any(screened.values()):
        return ""
    counts = {words: screened.get(reason, 0) for reason, words in SCREENED.items()}
    reasons = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
    return f"{sum(screened.values())} screened out before training ({reasons})"


class Progress:
    """One line a finished trial on standard error, so that standard output stays the result's."""

    def __init__(self, study: str, *, total: int, done: int = 0) -> None:
        self.study = study
        self.total = total
        self.screened_by: Mapping[str, int] = {}  # by the reason
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
        if "latency" in candidate.attributes:
            parts.append(readable_cost("latency", candidate.attributes["latency"]))
        parts.append(f"{outcome.seconds:.1f} s")
        if outcome.state == "fail":
            parts.append(outcome.reason)
        if self.best is not None:
            parts.append(f"best {self.best:.4f}")
        parts.append(f"{readable_seconds(self._left())} left")
        width = len(str(self.total))
        say(f"{self.study} {self._done:>{width}}/{self.total}  " + "  ".join(parts))

    def warn(self, line: str) -> None:
        say(f"{self.study}: {line}")

    def summary(self) -> None:
        counts = ", ".join(f"{number} {state}" for state, number in self._ended.items() if number)
        screened = screened_text(self.screened_by)
        took = readable_seconds(time.monotonic() - self._began)
        parts = [f"{counts or 'nothing left to do'} in {took}", *([screened] if screened else [])]
        say(f"{self.study}: {'; '.join(parts)}")

    def _left(self) -> float:
        done = self._done - self._before
        return (time.monotonic() - self._began) / done * (self.total - self._done)


def say(line: str) -> None:
    """To standard error, so that standard output stays the result's."""
    print(line, file=sys.stderr, flush=True)
