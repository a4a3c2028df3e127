"""A Gaussian process over choices: additive effects, interactions, and noise.

    k(x, y) = 1 + a * sum_d w_d (1 - D_d(x, y)) / sum_d w_d + s * exp(-sum_d w_d D_d(x, y))

D_d is the distance of x and y in parameter d, from 0 (equal) to 1 (opposite ends); w_d is the
weight of the parameter. With columns f scaled so that D_d = sum of (f - g)^2 over the columns
of d, the last term is the Gaussian kernel with a length scale a parameter (Rasmussen and Williams,
section 5.1), and every step below is a matrix product. The weights, both amplitudes and the noise
are the most probable ones under log-normal priors (MAP), found by L-BFGS with the exact gradient.

One lucky training must not mislead the model, so the noise is Student's t: each observation's
variance is the noise's times a factor, which expectation maximisation makes larger if the
observation is far from its neighbours' (Lange, Little and Taylor, 1989, section 3). With
`believe_low` only high observations can be outliers. A low one may be a network that fails for its
own reason (too shallow, for example); as an outlier it would have so little weight that the process
would expect of that network the accuracy of its better neighbours.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri, dtrtri
from scipy.optimize import minimize

Array = npt.NDArray[np.float64]

DISTANCE = 4.5  # prior of sum_d w_d: networks that differ in all parameters are hardly correlated
PRIOR = (-0.5, -0.5, -3.0)  # log of a, s and the noise's variance, of targets with variance 1
SPREAD = 1.0  # standard deviation of every logarithm's prior
JITTER = 1e-6
FREEDOM = 4.0  # degrees of freedom of Student's t
ROUNDS = 3  # of expectation maximisation


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process; `fit` makes it. Columns are those of Encoding."""

    groups: npt.NDArray[np.intp]  # (C,) the parameter that a column belongs to
    theta: Array  # log of a, s, noise, w_0, ..., w_D-1
    columns: Array  # (N, C) of the observations
    shift: float  # of the targets
    scale: float
    root: Array  # (N, N) Cholesky factor of their covariance
    weights: Array  # (N,)

    @classmethod
    def fit(
        cls,
        columns: Array,
        targets: Array,
        *,
        groups: npt.NDArray[np.intp],
        extra_noise: Array | None = None,
        start: Array | None = None,
        steps: int = 30,
        believe_low: bool = False,
    ) -> "GaussianProcess":
        """The process given `targets` (N,) at `columns` (N, C).

        `extra_noise` (N,) is further variance of single targets, in their unit squared. `start`
        is an earlier `theta` to begin with; `steps=0` keeps it. `believe_low`: no target below
        its mean counts as an outlier.
        """
        dimensions = int(groups.max()) + 1
        prior = np.array([*PRIOR, *np.full(dimensions, np.log(DISTANCE / dimensions))])
        theta = prior if start is None or len(start) != len(prior) else start
        shift, scale = float(targets.mean()), float(targets.std()) or 1.0
        y = (targets - shift) / scale
        extra = np.zeros(len(y)) if extra_noise is None else extra_noise / scale**2
        times = np.ones(len(y))
        bounds = [(centre - 4 * SPREAD, centre + 4 * SPREAD) for centre in prior]
        kernel = None
        for left in range(ROUNDS, -1, -1):
            if steps:
                found = minimize(
                    _loss,
                    theta,
                    args=(columns, y, times, extra, groups, prior),
                    jac=True,
                    method="L-BFGS-B",
                    bounds=bounds,
                    options={"maxiter": steps},
                )
                theta = found.x
            if steps or kernel is None:
                kernel = _kernel(theta, columns, columns, groups)
            covariance = kernel.copy()
            covariance[np.diag_indices_from(covariance)] += _diagonal(theta, times, extra)
            root = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
            weights = cho_solve((root, True), y)
            if left:
                times = _outlying(theta, root, weights, times, extra)
                if believe_low:  # `weights` have the sign of observation - mean
                    times = np.where(weights < 0, np.minimum(times, 1.0), times)
        return cls(groups, theta, columns, shift, scale, root, weights)

    def predict(self, columns: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the noise-free value at `columns` (M, C)."""
        kernel = _kernel(self.theta, self.columns, columns, self.groups)
        mean = kernel.T @ self.weights
        known = solve_triangular(self.root, kernel, lower=True)
        prior = 1.0 + np.exp(self.theta[0]) + np.exp(self.theta[1])
        variance = np.maximum(prior - np.square(known).sum(axis=0), JITTER)
        return self.shift + self.scale * mean, self.scale * np.sqrt(variance)

    def left_out(self) -> Array:
        """Log density of each target (N,), given all others (Rasmussen and Williams, eq. 5.10)."""
        variance = 1 / _inverse_diagonal(self.root)
        missed = self.weights * variance
        density: Array = -0.5 * (np.log(2 * np.pi * variance) + np.square(missed) / variance)
        return density - np.log(self.scale)

    @property
    def noise(self) -> float:
        """Standard deviation of one observation."""
        return float(self.scale * np.exp(self.theta[2] / 2))


def _distances(w: Array, left: Array, right: Array, groups: npt.NDArray[np.intp]) -> Array:
    """sum_d w_d D_d of every pair (N, M)."""
    weighted = left * w[groups]
    ends = (weighted * left).sum(axis=1)[:, None] + (right**2 @ w[groups])[None, :]
    return np.maximum(ends - 2 * weighted @ right.T, 0.0)


def _kernels(
    theta: Array, left: Array, right: Array, groups: npt.NDArray[np.intp]
) -> tuple[Array, Array]:
    w = np.exp(theta[3:])
    distance = _distances(w, left, right, groups)
    additive = np.exp(theta[0]) * (1.0 - distance / w.sum())
    return additive, np.exp(theta[1]) * np.exp(-distance)


def _covariance(
    theta: Array, columns: Array, times: Array, extra: Array, groups: npt.NDArray[np.intp]
) -> tuple[Array, Array, Array]:
    additive, interaction = _kernels(theta, columns, columns, groups)
    covariance = 1.0 + additive + interaction
    covariance[np.diag_indices_from(covariance)] += _diagonal(theta, times, extra)
    return covariance, additive, interaction


def _kernel(theta: Array, left: Array, right: Array, groups: npt.NDArray[np.intp]) -> Array:
    additive, interaction = _kernels(theta, left, right, groups)
    kernel: Array = 1.0 + additive + interaction
    return kernel


def _diagonal(theta: Array, times: Array, extra: Array) -> Array:
    """The noise's part of the covariance."""
    noise: Array = np.exp(theta[2]) * times + JITTER + extra
    return noise


def _inverse_diagonal(root: Array) -> Array:
    """The diagonal (N,) of the inverse of the matrix whose Cholesky factor is `root`."""
    inverse, _ = dtrtri(root, lower=1)
    found: Array = np.square(inverse).sum(axis=0)
    return found


def _outlying(theta: Array, root: Array, weights: Array, times: Array, extra: Array) -> Array:
    """The factors of the noise's variance, from each observation's distance to the process."""
    noise = _diagonal(theta, times, extra)  # (N,)
    missed = noise * weights  # observation - mean
    unsure = noise - np.square(noise) * _inverse_diagonal(root)  # variance of the mean
    far = (np.square(missed) + np.maximum(unsure, 0.0)) / (np.exp(theta[2]) + extra)
    found: Array = (FREEDOM + far) / (FREEDOM + 1)
    return found


def _loss(
    theta: Array,
    columns: Array,
    y: Array,
    times: Array,
    extra: Array,
    groups: npt.NDArray[np.intp],
    prior: Array,
) -> tuple[float, Array]:
    """Minus the logarithm of the posterior of theta, and its gradient."""
    covariance, additive, interaction = _covariance(theta, columns, times, extra, groups)
    root = cholesky(covariance, lower=True)
    solved = cho_solve((root, True), y)
    inverse, _ = dpotri(root, lower=1)  # its lower half
    inverse += np.tril(inverse, -1).T
    away = theta - prior
    loss = 0.5 * y @ solved + np.log(np.diag(root)).sum() + 0.5 * (away @ away) / SPREAD**2
    slope = 0.5 * (inverse - np.outer(solved, solved))  # of the loss by the covariance
    w = np.exp(theta[3:])
    share = w / w.sum()
    by_interaction = slope * interaction
    amplitude = np.exp(theta[0])
    # additive = a * (1 - distance / W): by w_d, -a (D_d - distance / W) / W
    pull = -by_interaction - amplitude * slope / w.sum()
    by_distance = _per_group(pull, columns, groups, len(w)) * w
    shared = (slope * (amplitude - additive)).sum()  # a * distance / W, summed
    by_noise = np.exp(theta[2]) * (np.diag(slope) @ times)
    gradient = np.concatenate(
        [
            [(slope * additive).sum(), by_interaction.sum(), by_noise],
            by_distance + shared * share,
        ]
    )
    return float(loss), gradient + away / SPREAD**2


def _per_group(pull: Array, columns: Array, groups: npt.NDArray[np.intp], dimensions: int) -> Array:
    """sum_ij pull_ij D_d,ij of each parameter d; `pull` is symmetric."""
    each = 2 * (pull.sum(axis=1) @ columns**2 - (columns * (pull @ columns)).sum(axis=0))
    totals: Array = np.bincount(groups, weights=each, minlength=dimensions).astype(float)
    return totals
