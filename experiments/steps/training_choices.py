"""Training settings that a space lets the search choose: checked before anything is made."""

import inspect
from collections.abc import Callable
from typing import Any

from experiments.config.recipe import SETTINGS_OF_THE_MACHINE, TrainConfig
from search_spaces.records import InputError, suggest
from search_spaces.space import SearchSpace

_NOT_CHOSEN = {*SETTINGS_OF_THE_MACHINE, "epochs"}  # where it runs and what is watched, not how


def check_training_choices(space: SearchSpace, evaluate: Callable[..., Any] | None) -> None:
    """Raise InputError where the training would not know or not accept a setting.

    An own `evaluate` may have settings of any name, but must take them.
    """
    if not space.training:
        return
    if evaluate is not None:
        if not _takes_training(evaluate):
            raise InputError(
                f"space '{space.name}' chooses the training's {', '.join(space.training)}, but "
                f"`evaluate` has no keyword `training`; add it, or take the part out of the space"
            )
        return
    fields = TrainConfig.model_fields.keys() - _NOT_CHOSEN
    for name, options in space.training_options().items():
        if name not in fields:
            raise InputError(
                f"space '{space.name}': unknown training setting '{name}'; {suggest(name, fields)}"
            )
        for option in options:
            TrainConfig.parse({name: option}, source=f"space '{space.name}': training")


def _takes_training(evaluate: Callable[..., Any]) -> bool:
    parameters = inspect.signature(evaluate).parameters
    return "training" in parameters or any(
        parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()
    )
