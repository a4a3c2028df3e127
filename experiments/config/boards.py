"""Common boards: how much RAM and flash each has, and where that is written.

KB and MB of the sources are 1,024 and 1,024^2 bytes. RAM is what the board's controller has on its
chip for data; flash is what programs run from. A network shares both with its runtime and the
user's code. RAM may lie in several pieces, and a runtime wants its arena in one: of the
stm32f4-discovery's 192 KiB, 64 are core-coupled and stand apart, and the STM32H747's 1 MiB is
divided likewise. Where no document of the maker could be opened, the source is that of an operating
system that runs on the board.
"""

from typing import NamedTuple

from search_spaces.records import choose

_KIB, _MIB = 2**10, 2**20
_ZEPHYR, _RIOT = "https://docs.zephyrproject.org", "https://doc.riot-os.org"


class Board(NamedTuple):
    """Bytes of RAM and of flash, and the address that states them."""

    ram: int
    flash: int
    source: str


BOARDS: dict[str, Board] = {
    "arduino-nano-33-ble": Board(
        256 * _KIB,
        1 * _MIB,
        "https://github.com/TannerGilbert/Arduino-Nano-33-BLE-Sense-Code-Collection",
    ),
    "arduino-nicla-vision": Board(
        1 * _MIB,
        2 * _MIB,
        "https://github.com/arduino/docs-content/pull/81",  # the maker's
    ),
    "esp32-s3-geek": Board(
        512 * _KIB,
        16 * _MIB,
        "https://raw.githubusercontent.com/steward-fu/website/gh-pages/mcu/esp32-s3-geek_spec.htm",
    ),
    "nucleo-f446re": Board(
        128 * _KIB, 512 * _KIB, f"{_ZEPHYR}/boards/st/nucleo_f446re/doc/index.html"
    ),
    "nucleo-l452re": Board(160 * _KIB, 512 * _KIB, f"{_RIOT}/boards/nucleo-l452re"),
    "nucleo-l4r5zi": Board(640 * _KIB, 2 * _MIB, f"{_RIOT}/boards/nucleo-l4r5zi"),
    "raspberry-pi-pico": Board(
        264 * _KIB,
        2 * _MIB,
        "https://datasheets.raspberrypi.com/pico/pico-product-brief.pdf",  # the maker's
    ),
    "raspberry-pi-pico-2": Board(
        520 * _KIB, 4 * _MIB, f"{_ZEPHYR}/4.1.0/boards/raspberrypi/rpi_pico2/doc/index.html"
    ),
    "stm32f4-discovery": Board(
        192 * _KIB, 1 * _MIB, f"{_ZEPHYR}/3.0.0/boards/arm/stm32f4_disco/doc/index.html"
    ),
    "stm32f746g-discovery": Board(
        320 * _KIB,  # 16 more hold instructions, and 4 are a backup: no place for maps
        1 * _MIB,
        "https://docs.kernel.org/6.3/_sources/arm/stm32/stm32f746-overview.rst.txt",  # by ST
    ),
    "stm32h747i-discovery": Board(
        1 * _MIB, 2 * _MIB, f"{_ZEPHYR}/2.3.0/boards/arm/stm32h747i_disco/doc/index.html"
    ),
}


def board_limits(name: str) -> dict[str, float]:
    """`max_ram` and `max_flash` of a board; InputError for an unknown one, with the nearest."""
    board: Board = choose(BOARDS, name, what="board")
    return {"max_ram": float(board.ram), "max_flash": float(board.flash)}
