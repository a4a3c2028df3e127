"""Boards by name: their limits, and what is said of a name that there is not."""

import pytest

from experiments.config.boards import BOARDS, board_limits
from experiments.config.search_section import SearchSection
from search_spaces.records import InputError


def test_a_board_is_two_limits_in_bytes():
    assert board_limits("arduino-nano-33-ble") == {"max_ram": 262_144.0, "max_flash": 1_048_576.0}


def test_every_board_has_its_source_and_more_flash_than_ram():
    for board in BOARDS.values():
        assert board.source.startswith("https://")
        assert 2**16 < board.ram < board.flash


def test_an_unknown_board_is_told_with_the_nearest():
    with pytest.raises(InputError, match=r"unknown board 'nucleo-f446'; .*nucleo-f446re"):
        board_limits("nucleo-f446")


def test_in_a_config_a_board_stands_for_the_two_limits_that_are_not_given():
    section = SearchSection.parse({"board": "nucleo-f446re", "max_peak_ram": "96KiB"}, source="c")
    assert section.limits == {"max_peak_ram": 98_304.0, "max_flash": 524_288.0}
    with pytest.raises(InputError, match=r"unknown board 'nucleo'; .*nucleo-f446re"):
        SearchSection.parse({"board": "nucleo"}, source="c")
