"""The objective of the search: ACC * (FLOPS/T)^w."""

import math

from search_spaces.records import InputError


def reward(accuracy: float, cost: float, *, target: float, exponent: float = -0.07) -> float:
    """`accuracy * (cost / target) ** exponent`, accuracy in [0, 1] (arXiv:1905.11946, section 4).

    With w = -0.07 twice the cost has to buy about 5 % relative accuracy (arXiv:1807.11626).
    Raises InputError where cost or target is not positive.
    """
    for name, value in (("cost", cost), ("target", target)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} must be a positive number, but got {value}")
    return accuracy * math.pow(cost / target, exponent)
