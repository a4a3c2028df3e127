"""Numbers as people read them. A FLOP is a multiply-add everywhere here."""

import re

_SECONDS = {"h": 3600, "m": 60, "min": 60, "s": 1}


def seconds_of(text: str) -> float | None:
    """`2h`, `90m`, `1h30m`, `45s`, or seconds as a number; None for what is no time above 0."""
    parts = re.findall(r"(\d+(?:\.\d+)?) *(h|min|m|s)?", text.strip())
    rest = re.sub(r"(\d+(?:\.\d+)?) *(h|min|m|s)?", "", text).strip()
    if not parts or rest or (len(parts) > 1 and not all(unit for _, unit in parts)):
        return None
    return sum(float(number) * _SECONDS[unit or "s"] for number, unit in parts) or None


_SIZES = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_SIZES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 1e3, "kB": 1e3, "MB": 1e6, "B": 1}


def count_of(text: str) -> float:
    """`15M`, `1.5G`, `256KiB`, `3e5`: a number with a unit that people write, or without one.

    Raises ValueError with the units that there are.
    """
    found = re.fullmatch(r"((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?) *([A-Za-z]*)", text.strip())
    if found is None or found[2] not in _SIZES:
        units = ", ".join(unit for unit in _SIZES if unit)
        raise ValueError(f"a number, alone or with one of {units}, as 15M or 256KiB; got '{text}'")
    return float(found[1]) * _SIZES[found[2]]


_LETTERS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def readable_count(count: float) -> str:
    """385814752 -> `386 M` (a trailing space before the unit's letter, none below a thousand)."""
    for size, letter in _LETTERS:
        if abs(count) >= size:
            return f"{count / size:.3g} {letter}"
    return f"{count:.3g} "


# cost -> its name in a sentence
NAMES = {
    "flops": "FLOPs",
    "params": "parameters",
    "activations": "activations",
    "peak_ram": "bytes of RAM at the peak",
    "flash": "bytes of flash",
    "latency": "latency",
}


def readable_cost(cost: str, value: float) -> str:
    """A cost by its name in the config: `1.04 MFLOPs`, `52.1 k parameters`, `3.2 ms`."""
    if cost == "latency":
        return f"{value * 1e3:.3g} ms"
    if cost == "flops":
        return f"{readable_count(value)}FLOPs"
    return f"{readable_count(value).strip()} {NAMES[cost]}"


def readable_bytes(count: float) -> str:
    """49152 -> `48 KiB`, 1048576 -> `1 MiB`; as they are given to `--max-ram`."""
    size, unit = (2**20, "MiB") if count >= 2**20 else (2**10, "KiB")
    return f"{count / size:.4g} {unit}"


def short_cost(cost: str, value: float) -> str:
    """A cost as a part of a file's name: `5M`, `52.1k`, `3.2ms`."""
    if cost == "latency":
        return f"{value * 1e3:g}ms"
    size, letter = next(((s, c) for s, c in _LETTERS if value >= s), (1, ""))
    return f"{value / size:g}{letter}"


def readable_seconds(seconds: float) -> str:
    """3725 -> `1 h 02 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
