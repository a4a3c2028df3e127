"""Compound scaling: depth alpha^phi, width beta^phi, resolution gamma^phi.

Tan and Le, EfficientNet, arXiv:1905.11946, equation 3.
"""

import math
from pathlib import Path
from typing import Annotated

from pydantic import Field, FiniteFloat

from search_spaces.architecture import Architecture
from search_spaces.records import InputError, Record, choose, read_mapping
from search_spaces.resizing import RoundingName, resize, round_resolution

FILE_VERSION = 1  # of a coefficients file
MOST = 10_000  # times the baseline's FLOPs; an eighth of that lies between B0 and L2

Factor = Annotated[FiniteFloat, Field(ge=1)]


# Weights of depth, width and resolution. `dWr` is the "fast" scaling of Dollar, Singh and Girshick
# (arXiv:2103.06877, alpha = 0.8), `dwr` the uniform one; `compound` is EfficientNet's own.
RULES: dict[str, tuple[float, float, float] | None] = {
    "compound": None,
    "depth": (1, 0, 0),
    "width": (0, 1, 0),
    "resolution": (0, 0, 1),
    "dwr": (1, 1, 1),
    "dWr": (1, 8, 1),
}


class CompoundCoefficients(Record):
    """How depth, width and resolution share the growth; each at least 1.

    The defaults are the paper's, with alpha * beta^2 * gamma^2 = 1.9203.
    """

    alpha: Factor = 1.2
    beta: Factor = 1.1
    gamma: Factor = 1.15

    @classmethod
    def from_file(cls, path: str | Path) -> "CompoundCoefficients":
        """Read a coefficients file, as `scaler coefficients` and `scaler run` write it.

        A file without a version has the first. Raises InputError for another version.
        """
        data = read_mapping(Path(path), wanted="coefficients")
        version = data.pop("version", FILE_VERSION)
        if version != FILE_VERSION or isinstance(version, bool):
            raise InputError(
                f"{path}: a coefficients file of version {version!r} cannot be read, only one of "
                f"version {FILE_VERSION}; write a new one with `scaler coefficients`"
            )
        return cls.parse(data, source=str(path))

    @classmethod
    def named(cls, rule: str) -> "CompoundCoefficients":
        """A rule by name (see `RULES`); phi = 1 doubles FLOPs, except with `compound`."""
        if rule == "compound":
            return cls()
        return cls.from_weights(*choose(RULES, rule, what="rule"))

    @classmethod
    def from_weights(cls, depth: float, width: float, resolution: float) -> "CompoundCoefficients":
        """Coefficients that divide a doubling of FLOPs among the dimensions by their weights.

        FLOPs go with the squares of width and resolution, hence the roots (pycls, `scaler.py`).
        """
        total = depth + width + resolution
        return cls(
            alpha=2 ** (depth / total),
            beta=2 ** (width / total / 2),
            gamma=2 ** (resolution / total / 2),
        )

    @property
    def growth(self) -> float:
        """The nominal growth of FLOPs from phi to phi + 1: alpha * beta^2 * gamma^2."""
        return self.alpha * self.beta**2 * self.gamma**2

    def factors(self, phi: float) -> tuple[float, float, float]:
        """Depth, width and resolution factors at `phi`."""
        return self.alpha**phi, self.beta**phi, self.gamma**phi


def scale(
    architecture: Architecture,
    *,
    phi: float,
    coefficients: CompoundCoefficients,
    rounding: RoundingName = "ceil",
) -> Architecture:
    """The member at `phi`, fractional or negative too; phi = 0 gives the architecture itself.

    The resolution is rounded to whole pixels, the rest as `rounding` says (see `resize`). Raises
    InputError if phi is not finite or the member's resolution is too small for its strides.
    """
    if not (math.isfinite(phi) and abs(phi) <= 64):
        raise InputError(f"phi must be a number between -64 and 64, but got {phi}")
    if phi * math.log(coefficients.growth) > math.log(MOST):
        raise InputError(
            f"phi {phi:g} would grow FLOPs over {MOST:,} times; take a smaller phi or coefficients"
        )
    if phi == 0:
        return architecture
    depth, width, growth = coefficients.factors(phi)
    return resize(
        architecture,
        depth=depth,
        width=width,
        resolution=round_resolution(architecture.resolution, growth, rounding=rounding),
        rounding=rounding,
        name=f"{architecture.name}_phi{phi:.4g}",
    )
