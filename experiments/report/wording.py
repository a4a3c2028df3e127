"""The metric's name where a report says accuracy, as of runs that are judged by Dice.

The store and the tables have one column, `accuracy`, whatever the metric; people read its name.
"""

import re
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from experiments.config.run_folder import RunFolder

_T = TypeVar("_T")
_KEPT = re.compile(r"(<script.*?</script>|<style.*?</style>|<pre.*?</pre>|<[^>]*>)", re.DOTALL)


def metric_label(folder: RunFolder) -> str:
    """What people call the run's metric: `accuracy`, `Dice`, ...; runs of before had accuracy."""
    return str(folder.environment().get("metric", "accuracy"))


def worded(value: _T, metric: str) -> _T:
    """`value` with the metric's name for accuracy in every text: in records and tuples too."""
    if metric == "accuracy":
        return value
    return _worded(value, metric)


def _worded(value: Any, metric: str) -> Any:
    if isinstance(value, str):
        text = re.sub(r"\ban accuracy\b", f"a {metric}", value)
        text = re.sub(r"\baccuracy\b", metric, text)
        return re.sub(r"\bAccuracy\b", metric[:1].upper() + metric[1:], text)
    if isinstance(value, list | tuple):
        return type(value)(_worded(item, metric) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: getattr(value, field.name) for field in fields(value)}
        texts = {k: v for k, v in own.items() if isinstance(v, str | list | tuple) or _record(v)}
        return replace(value, **{name: _worded(item, metric) for name, item in texts.items()})
    return value


def _record(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


def worded_page(page: str, metric: str) -> str:
    """HTML with the metric's name in what is read; scripts, tags and printed files stay."""
    if metric == "accuracy":
        return page
    pieces = _KEPT.split(page)  # every second one is kept
    return "".join(
        piece if number % 2 else _worded(piece, metric) for number, piece in enumerate(pieces)
    )
