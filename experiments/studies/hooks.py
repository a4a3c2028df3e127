"""Where Ray Tune's loop calls us: a scheduler that asks the study, a callback that tells it."""

import re
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from experiments.studies.searcher import StudySearcher


class StudyScheduler(FIFOScheduler):  # type: ignore[misc]
    """Stops what the study's rule stops. It has no memory of its own that could be lost."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def on_trial_result(self, _controller: Any, trial: Any, result: dict[str, Any]) -> str:
        stops = self._searcher.stops(trial.trial_id, result)
        return TrialScheduler.STOP if stops else TrialScheduler.CONTINUE

    def on_trial_error(self, _controller: Any, trial: Any) -> None:
        self._searcher.lost(trial.trial_id, _last_words(trial.error_file))

    def choose_trial_to_run(self, _controller: Any) -> None:
        """Tune starts what is pending by itself; the stock search through all trials is O(n)."""


class StudyCallback(Callback):  # type: ignore[misc]
    """Hands every result to the study, whole, before Tune keeps it."""

    def __init__(self, searcher: StudySearcher) -> None:
        self._searcher = searcher

    def on_trial_start(self, *, trial: Any, **_: Any) -> None:
        trial.config["job"].checkpoint = None  # the worker has it now
        self._searcher.started(trial.trial_id)

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: Any) -> None:
        self._searcher.told(trial.trial_id, result)

    def on_trial_complete(self, *, trial: Any, **_: Any) -> None:
        trial.config, trial.evaluated_params = {}, {}  # Tune keeps every trial to the end


def _last_words(error_file: str | None) -> str:
    """What Tune wrote of a failure, in one line: the exception, or that memory ran out."""
    if error_file is None or not Path(error_file).is_file():
        return ""
    text = Path(error_file).read_text(errors="replace")
    if "OutOfMemory" in text or "running low on memory" in text:
        return "out of memory, Ray ended it"
    errors = re.findall(r"^[\w.]*(?:Error|Exception)\b.*", text, flags=re.MULTILINE)
    return errors[-1][:300] if errors else ""
