"""How the learning rate falls after the warm-up."""

from typing import Annotated, Literal

from pydantic import Field

from search_spaces.records import Record

Factor = Annotated[float, Field(gt=0, lt=1)]
Epochs = Annotated[float, Field(gt=0)]


class Cosine(Record):
    """Half a cosine down to 0 at the last step (arXiv:1608.03983)."""

    kind: Literal["cosine"] = "cosine"


class Exponential(Record):
    """Times `factor` every `epochs`, in steps, counted from the first step of training."""

    kind: Literal["exponential"] = "exponential"
    factor: Factor = 0.97
    epochs: Epochs = 2.4


class Steps(Record):
    """Times `factor` after each of these shares of the epochs."""

    kind: Literal["steps"] = "steps"
    at: tuple[Factor, ...] = (1 / 3, 2 / 3)
    factor: Factor = 0.1


class Plateau(Record):
    """Times `factor` when the validation accuracy has not risen for `patience` epochs.

    At most `times` times, as VGG's was (arXiv:1409.1556, section 3.1).
    """

    kind: Literal["plateau"] = "plateau"
    factor: Factor = 0.1
    patience: Annotated[int, Field(ge=1)] = 5
    times: Annotated[int, Field(ge=1)] = 3


Schedule = Annotated[Cosine | Exponential | Steps | Plateau, Field(discriminator="kind")]
