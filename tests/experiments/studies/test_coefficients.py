import pytest

from experiments.studies.coefficients import coefficient_grid
from search_spaces import InputError


def test_grid_holds_every_point_near_two_and_no_other():
    grid = coefficient_grid(step=0.1, tolerance=0.05)
    points = {(c.alpha, c.beta, c.gamma) for c in grid}
    by_hand = {
        (a / 10, b / 10, g / 10)
        for a in range(10, 21)
        for b in range(10, 21)
        for g in range(10, 21)
        if abs(a * b * b * g * g - 200_000) <= 5_000
    }
    assert points == by_hand
    assert all(min(point) >= 1 for point in points)


def test_the_papers_choice_is_on_its_grid():
    grid = coefficient_grid(step=0.05, tolerance=0.1)
    assert (1.2, 1.1, 1.15) in {(c.alpha, c.beta, c.gamma) for c in grid}


def test_an_empty_grid_is_refused():
    with pytest.raises(InputError, match=r"no alpha, beta, gamma on a grid of step 0\.9"):
        coefficient_grid(step=0.9, tolerance=0.01)
