"""The report of a run that is under way, written anew as trials end."""

import time
from pathlib import Path

from experiments.config.messages import say
from experiments.config.run_folder import RunFolder
from experiments.report.report import write_report
from experiments.store.run_lock import in_use
from experiments.store.snapshot import reading
from experiments.store.store import STUDIES

LOOK = 1.0  # seconds between looks at whether the run has ended


def watch_run(folder: RunFolder, *, every: float) -> Path:
    """Write the report now, then wherever trials have ended, `every` seconds at the soonest.

    Ends with the run, or with Ctrl-C; the last page no longer reads itself again. A run that nobody
    works on, as far as this machine knows, is written once.
    """
    seen = -1
    try:
        while in_use(folder.path):
            ended = _ended(folder)
            if ended != seen:
                path = write_report(folder, reload=max(1, round(every)))
                say(f"{ended} trials: {path}" if seen < 0 else f"{ended} trials")
                seen = ended
            _wait(folder, every)
        say("nobody works on the run" + (" any more" if seen >= 0 else ""))
    except KeyboardInterrupt:
        say("stopped watching; the run goes on")
    return write_report(folder)


def _wait(folder: RunFolder, seconds: float) -> None:
    until = time.monotonic() + seconds
    while in_use(folder.path) and time.monotonic() < until:
        time.sleep(min(LOOK, max(0.0, until - time.monotonic())))


def _ended(folder: RunFolder) -> int:
    with reading(folder) as snapshot:
        return sum(1 for study in STUDIES for _ in snapshot.rows(study))
