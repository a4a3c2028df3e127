"""NAS-Bench-Macro as an objective: look-ups in a table of trained networks.

Eight layers, each an identity (0), an MBConv with expansion 3 and kernel 3 (1) or one with
expansion 6 and kernel 5 (2); three trainings of each network on CIFAR-10 (arXiv:2103.11922).
Identities may move among the later layers of a stage without changing the network: 3,969 networks
are distinct.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from search_spaces.records import InputError

LAYERS = 8
STAGES = ((0, 2), (2, 5), (5, 8))  # layers of each stage; its first layer is fixed in place
TARGET_FLOPS = 57_602_560
EXPONENT = -0.07
FILE = Path("nas-bench-macro/nas-bench-macro_cifar10.json")

Code = tuple[int, ...]  # the operator of each layer


def distinct(code: Code) -> Code:
    """The code of the same network with each stage's identities at the stage's end."""
    same: list[int] = []
    for first, end in STAGES:
        later = [operator for operator in code[first + 1 : end] if operator]
        same += [code[first], *later, *[0] * (end - first - 1 - len(later))]
    return tuple(same)


@dataclass(frozen=True)
class Macro:
    """Distinct networks with their three accuracies (N, 3) and FLOPs (N,)."""

    codes: tuple[Code, ...]
    accuracies: npt.NDArray[np.float64]
    flops: npt.NDArray[np.float64]

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read the table: `path`, or the file under SCALER_DATA."""
        file = path or Path(os.environ.get("SCALER_DATA", ".")) / FILE
        if not file.is_file():
            raise InputError(f"no table at '{file}'; name it with --data, or set SCALER_DATA")
        table: Mapping[str, Any] = json.loads(file.read_text())
        codes = sorted({distinct(tuple(int(digit) for digit in key)) for key in table})
        rows = [table["".join(map(str, code))] for code in codes]
        return cls(
            codes=tuple(codes),
            accuracies=np.array([row["test_acc"] for row in rows]) / 100,
            flops=np.array([row["flops"] for row in rows], dtype=float),
        )

    @property
    def factors(self) -> npt.NDArray[np.float64]:
        """(FLOPs / T)^w of each network."""
        return (self.flops / TARGET_FLOPS) ** EXPONENT

    @property
    def rewards(self) -> npt.NDArray[np.float64]:
        """On the mean of the three trainings."""
        return self.accuracies.mean(axis=1) * self.factors

    @property
    def regrets(self) -> npt.NDArray[np.float64]:
        """100 times what the network's reward falls short of the best."""
        return 100 * (self.rewards.max() - self.rewards)

    def shown(self, seed: int, *, noise: bool = True) -> npt.NDArray[np.float64]:
        """What an evaluation of each network shows in this run: one training, drawn once."""
        if not noise:
            return self.accuracies.mean(axis=1)
        drawn = np.random.default_rng(seed).integers(3, size=len(self.codes))
        return self.accuracies[np.arange(len(self.codes)), drawn]
