"""Numbers as people read them. A FLOP is a multiply-add everywhere here."""


def readable_count(count: float) -> str:
    """385814752 -> `386 M` (a trailing space before the unit's letter, none below a thousand)."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= size:
            return f"{count / size:.3g} {letter}"
    return f"{count:.3g} "


# cost -> its name in a sentence
NAMES = {
    "flops": "FLOPs",
    "params": "parameters",
    "activations": "activations",
    "latency": "latency",
}


def readable_cost(cost: str, value: float) -> str:
    """A cost by its name in the config: `1.04 MFLOPs`, `52.1 k parameters`, `3.2 ms`."""
    if cost == "latency":
        return f"{value * 1e3:.3g} ms"
    if cost == "flops":
        return f"{readable_count(value)}FLOPs"
    return f"{readable_count(value).strip()} {NAMES[cost]}"


def readable_seconds(seconds: float) -> str:
    """3725 -> `1 h 02 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
