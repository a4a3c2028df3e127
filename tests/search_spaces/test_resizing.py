import pytest

from search_spaces import InputError, resize
from search_spaces.resizing import round_channels, round_layers, smallest_resolution


@pytest.mark.parametrize(
    ("channels", "width", "rounded"),
    [
        (16, 1.2, 24),  # 19.2 -> 16 would lose over 10 %
        (32, 1.1, 32),
        (40, 1.1, 48),  # 44: a tie goes up
        (1280, 1.1, 1408),
        (3, 0.1, 8),  # never below 8
        (13, 1.0, 13),
    ],
)
def test_channels_go_to_multiples_of_eight_and_never_below_90_percent(channels, width, rounded):
    assert round_channels(channels, width) == rounded


@pytest.mark.parametrize(
    ("layers", "depth", "rounded"), [(25, 2.2, 55), (1, 1.1, 2), (4, 1.0, 4), (3, 0.1, 1)]
)
def test_layers_round_up_without_float_dust(layers, depth, rounded):
    assert round_layers(layers, depth) == rounded


def test_smallest_resolution_is_the_least_that_every_stride_fits(small):
    least = smallest_resolution(small)
    assert resize(small, resolution=least).resolution == least
    with pytest.raises(InputError, match=rf"resolution {least - 1} is too small.*use {least} px"):
        resize(small, resolution=least - 1)


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf")])
def test_a_factor_that_is_not_positive_is_refused(small, factor):
    with pytest.raises(InputError, match="depth must be a positive number"):
        resize(small, depth=factor)
