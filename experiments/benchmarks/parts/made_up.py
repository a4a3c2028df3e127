"""Made-up spaces of several natures, each drawn at random; an evaluation costs next to nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna

Array = npt.NDArray[np.float64]
Levels = npt.NDArray[np.intp]  # (N, D) the place of each parameter's value

EXPONENT = -0.07
LETTERS = "abcdefgh"  # names of an unordered parameter's values


@dataclass(frozen=True)
class Space:
    """A made-up space. Every parameter is a few levels; ordered ones are numbers to a searcher."""

    ordered: tuple[bool, ...]  # (D,)
    sizes: tuple[int, ...]  # (D,)
    family: tuple[int, ...]  # (D,) the value of parameter 0 that opens it; -1: always open
    ability: Callable[[Levels], Array]  # log(a / (1 - a)) of the accuracy a
    cost_of: Callable[[Levels], Array]
    noise: float  # standard deviation of one training's ability
    target: float = 1.0

    def suggest(self, trial: optuna.Trial | optuna.trial.FixedTrial) -> dict[str, Any]:
        """Ask for the parameters that are open."""
        params: dict[str, Any] = {}
        for i, (ordered, size, family) in enumerate(
            zip(self.ordered, self.sizes, self.family, strict=True)
        ):
            if family >= 0 and params["p0"] != LETTERS[family]:
                continue
            name = f"p{i}"
            if ordered:
                params[name] = trial.suggest_int(name, 0, size - 1)
            else:
                params[name] = trial.suggest_categorical(name, tuple(LETTERS[:size]))
        return params

    def levels(self, params: Mapping[str, Any]) -> Levels:
        """(1, D); the closed ones at 0."""
        values = [params.get(f"p{i}", 0) for i in range(len(self.sizes))]
        return np.array([[LETTERS.index(v) if isinstance(v, str) else v for v in values]])

    def cost(self, params: Mapping[str, Any]) -> float:
        return float(self.cost_of(self.levels(params))[0])

    def rewards(self, levels: Levels, luck: float = 0.0) -> Array:
        """(N,), of a training whose ability is off by `luck`."""
        factors: Array = (self.cost_of(levels) / self.target) ** EXPONENT
        return factors / (1 + np.exp(-self.ability(levels) - luck))

    def best(self, rng: np.random.Generator) -> float:
        """The highest reward that ascents of one parameter at a time from many starts reach."""
        at = np.stack([rng.integers(size, size=200) for size in self.sizes], axis=1)
        reached = self.rewards(at)
        while True:
            before = reached.copy()
            for d, size in enumerate(self.sizes):
                for value in range(size):
                    moved = at.copy()
                    moved[:, d] = value
                    found = self.rewards(moved)
                    better = found > reached
                    at[better], reached[better] = moved[better], found[better]
            if (reached == before).all():
                return float(reached.max())


def _effects(
    rng: np.random.Generator, sizes: tuple[int, ...], *, pairs: float, triples: float
) -> Callable[[Levels], Array]:
    """Random main effects, of variance 1 over all networks, and interactions of two and three."""
    count = len(sizes)
    parts: list[tuple[tuple[int, ...], Array]] = []

    def add(groups: Sequence[tuple[int, ...]], variance: float) -> None:
        strength = rng.gamma(1.0, size=len(groups))
        strength *= variance / strength.sum()
        for group, share in zip(groups, strength, strict=True):
            table = rng.normal(size=[sizes[d] for d in group])
            parts.append((group, np.sqrt(share) * (table - table.mean()) / table.std()))

    add([(d,) for d in range(count)], 1.0)
    twos = list(combinations(range(count), 2))
    add(twos, pairs)
    threes = list(combinations(range(count), 3))
    chosen = rng.choice(len(threes), size=min(count, len(threes)), replace=False)
    add([threes[i] for i in chosen], triples)

    def ability(levels: Levels) -> Array:
        found = np.zeros(len(levels))
        for group, table in parts:
            found += table[tuple(levels[:, d] for d in group)]
        return found

    return ability


def _summed(
    rng: np.random.Generator, sizes: tuple[int, ...], base: float
) -> Callable[[Levels], Array]:
    """Each value costs its own, as operators do."""
    costs = [rng.lognormal(0.0, 1.0, size=size) for size in sizes]
    return lambda levels: base + np.sum([c[levels[:, d]] for d, c in enumerate(costs)], axis=0)


def unordered(rng: np.random.Generator) -> Space:
    """Six unordered five-way choices with interactions of two and three; no noise."""
    sizes = (5,) * 6
    effects = _effects(rng, sizes, pairs=0.5, triples=0.2)
    cost = _summed(rng, sizes, 1.0)

    def ability(x: Levels) -> Array:
        return 1.9 + 0.4 * effects(x) + 0.3 * np.log(cost(x) / 9)

    return Space((False,) * 6, sizes, (-1,) * 6, ability, cost, 0.0, 9.0)


def cells(rng: np.random.Generator) -> Space:
    """A cell of four nodes with an operator, or none, on each of its six edges; no noise."""
    edges = list(combinations(range(4), 2))
    keep = np.array([0.0, 1.0, *rng.uniform(0.5, 1.0, size=3)])  # of what comes in, by operator
    power = np.array([0.0, 0.0, *np.sort(rng.uniform(0.0, 1.0, size=3))])
    price = np.array([0.0, 0.0, 0.0, 1.0, 9.0])
    own = 0.05 * rng.normal(size=(5,) * 6)  # each network's own, as after one training
    order = rng.permutation(5)

    def ability(levels: Levels) -> Array:
        nodes = [np.ones(len(levels))]
        strength = [np.zeros(len(levels))]
        for node in range(1, 4):
            come, strong = np.zeros(len(levels)), np.zeros(len(levels))
            for e, (i, j) in enumerate(edges):
                if j == node:
                    operator = order[levels[:, e]]
                    passed = nodes[i] * keep[operator]
                    come = come + passed
                    strong = np.maximum(strong, (strength[i] + power[operator]) * (passed > 0))
            nodes.append(np.minimum(come, 1.5))
            strength.append(strong)
        alive = nodes[3] > 0
        return np.where(
            alive, 1.2 + 0.3 * nodes[3] + np.sqrt(strength[3]) + own[tuple(levels.T)], -2.2
        )

    def cost(levels: Levels) -> Array:
        return 2.0 + price[order[levels]].sum(axis=1)

    return Space((False,) * 6, (5,) * 6, (-1,) * 6, ability, cost, 0.0, 12.0)


def flat(rng: np.random.Generator) -> Space:
    """As `cells`, but most are nearly equally good; no noise."""
    space = cells(rng)
    effects = _effects(rng, (5,) * 6, pairs=1.0, triples=1.0)

    def ability(x: Levels) -> Array:
        z = space.ability(x)
        level = np.where(z < 0, z, 2.8 - 1.2 * np.exp(-2.5 * np.maximum(z - 1.2, 0)))
        return level + 0.06 * effects(x)

    return replace(space, ability=ability)


def rugged(rng: np.random.Generator) -> Space:
    """Six unordered five-way choices with more interaction than anything else; no noise."""
    sizes = (5,) * 6
    effects = _effects(rng, sizes, pairs=1.0, triples=1.0)
    cost = _summed(rng, sizes, 1.0)
    return Space((False,) * 6, sizes, (-1,) * 6, lambda x: 1.9 + 0.3 * effects(x), cost, 0.0, 9.0)


def _grown(
    rng: np.random.Generator, sizes: tuple[int, ...], interacting: float
) -> Callable[[Levels], Array]:
    """Effects of sizes: each brings less and less, some too much; pairs help or hinder."""
    count = len(sizes)
    top = np.array(sizes) - 1
    strength, power = rng.gamma(1.5, size=count), rng.uniform(0.3, 1.0, size=count)
    fall = rng.uniform(0.0, 0.8, size=count) * (rng.random(count) < 0.5)
    twos = [(i, j) for i, j in combinations(range(count), 2) if rng.random() < 4 / count]
    pull = interacting * rng.normal(size=len(twos))

    def ability(levels: Levels) -> Array:
        x = levels / np.maximum(top, 1)
        found = (strength * (x**power - fall * x**2)).sum(axis=1)
        for (i, j), p in zip(twos, pull, strict=True):
            found = found + p * (x[:, i] - 0.5) * (x[:, j] - 0.5)
        return found / strength.sum()

    return ability


def _multiplied(rng: np.random.Generator, sizes: tuple[int, ...]) -> Callable[[Levels], Array]:
    growth = rng.uniform(0.2, 1.2, size=len(sizes)) * 4 / len(sizes)
    top = np.maximum(np.array(sizes) - 1, 1)
    return lambda levels: np.exp((growth * (levels / top - 0.5)).sum(axis=1))


def ordered(rng: np.random.Generator) -> Space:
    """Eight sizes of five levels; no noise."""
    sizes = (5,) * 8
    grown = _grown(rng, sizes, 1.5)
    return Space(
        (True,) * 8, sizes, (-1,) * 8, lambda x: 1.0 + 1.5 * grown(x), _multiplied(rng, sizes), 0.0
    )


def dead(rng: np.random.Generator) -> Space:
    """Twenty parameters, half of them ordered, of which six matter; little noise."""
    alive = rng.permutation(20)[:6]
    sizes = (4,) * 20
    effects = _effects(rng, (4,) * 6, pairs=0.3, triples=0.0)
    grown = _grown(rng, (4,) * 6, 1.0)
    cost = _multiplied(rng, (4,) * 6)
    odd = tuple(i % 2 == 0 for i in range(20))
    is_odd = np.array(odd)[alive]

    def ability(x: Levels) -> Array:
        live = x[:, alive]
        return (
            1.0 + 0.4 * effects(np.where(is_odd, 0, live)) + 1.5 * grown(np.where(is_odd, live, 0))
        )

    return Space(odd, sizes, (-1,) * 20, ability, lambda x: cost(x[:, alive]), 0.05)


def families(rng: np.random.Generator) -> Space:
    """Four families, each with five parameters of its own; three for all; some noise."""
    ordered = (False, True, True, True) + (True, True, True, False, False) * 4
    sizes = (4, 5, 5, 4) + (4, 4, 4, 3, 3) * 4
    family = (-1,) * 4 + tuple(np.repeat(range(4), 5).tolist())
    offset = 0.25 * rng.normal(size=4)
    shared = _grown(rng, sizes[1:4], 1.0)
    own = [_grown(rng, (4, 4, 4), 1.0) for _ in range(4)]
    choices = [_effects(rng, (5, 3, 3), pairs=0.5, triples=0.0) for _ in range(4)]
    cost_shared = _multiplied(rng, sizes[1:4])
    cost_own = [_multiplied(rng, (4, 4, 4)) for _ in range(4)]

    def ability(x: Levels) -> Array:
        found = 1.0 + offset[x[:, 0]] + 0.8 * shared(x[:, 1:4])
        for f in range(4):
            mine = x[:, 4 + 5 * f : 9 + 5 * f]
            part = 0.8 * own[f](mine[:, :3])
            part = part + 0.25 * choices[f](np.column_stack([x[:, 1], mine[:, 3:]]))
            found = found + np.where(x[:, 0] == f, part, 0.0)
        return found

    def cost(x: Levels) -> Array:
        found = cost_shared(x[:, 1:4])
        for f in range(4):
            found = found * np.where(x[:, 0] == f, cost_own[f](x[:, 4 + 5 * f : 7 + 5 * f]), 1.0)
        return found

    return Space(ordered, sizes, family, ability, cost, 0.05)


def noisy(rng: np.random.Generator) -> Space:
    """Eight parameters, half of them ordered; a training's noise is as large as the differences."""
    sizes = (4,) * 8
    effects = _effects(rng, sizes[:4], pairs=0.3, triples=0.0)
    grown = _grown(rng, sizes[4:], 1.0)
    odd = (False,) * 4 + (True,) * 4
    return Space(
        odd,
        sizes,
        (-1,) * 8,
        lambda x: 1.0 + 0.3 * effects(x[:, :4]) + grown(x[:, 4:]),
        _multiplied(rng, sizes),
        0.3,
    )


def mbconv(rng: np.random.Generator) -> Space:
    """Seven stages of layers, channels, kernel and expansion, costs as of MBConv; some noise."""
    sizes = (4, 4, 2, 3) * 7  # layers 1 to 4, channels 0.7 to 1.4 times, kernel 3 or 5, expansion
    grown = _grown(rng, sizes, 1.0)
    channels = np.array([16, 24, 40, 80, 112, 192, 320])
    area = np.array([16, 8, 4, 2, 2, 1, 1])

    def cost(x: Levels) -> Array:
        layers, width, kernel, expansion = (x[:, i::4] for i in range(4))
        wide = channels * 0.7 * 2 ** (width / 3)
        inner = wide * (1 + 2 * expansion)
        found = (layers + 1) * area * inner * (2 * wide + (3 + 2 * kernel) ** 2)
        total: Array = found.sum(axis=1)
        return total

    middle = np.stack([rng.integers(size, size=200) for size in sizes], axis=1)
    target = float(np.median(cost(middle)))
    return Space(
        (True,) * 28, sizes, (-1,) * 28, lambda x: 1.0 + 1.5 * grown(x), cost, 0.05, target
    )


SPACES: dict[str, Callable[[np.random.Generator], Space]] = {
    one.__name__: one
    for one in (unordered, rugged, cells, flat, ordered, dead, families, noisy, mbconv)
}
