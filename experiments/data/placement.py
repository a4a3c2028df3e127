"""Whether decoded images are held in memory or streamed from their files: by size, or as asked."""

import os
from pathlib import Path
from typing import Literal

from experiments.config.messages import say
from experiments.config.units import readable_count

Placement = Literal["auto", "device", "stream"]

SHARE = 0.5  # of the free memory that a data set may take
_CGROUP = Path("/sys/fs/cgroup")


def streams(placement: Placement, *, images: int, image_size: int) -> bool:
    """Whether `images` RGB images are streamed; says in a line what and why.

    `auto` streams what takes more than half of the memory that is free on this machine, or of its
    GPU's.
    """
    needed = 3 * image_size**2 * images
    free, place = free_memory()
    stream = placement == "stream" or (placement == "auto" and needed > SHARE * free)
    where = "streamed from their files" if stream else "held decoded on the training device"
    why = f"data.placement: {placement}"
    if placement == "auto":
        share = "more than" if stream else "within"
        why = f"{share} half of the {readable_count(free)}B free in {place}"
    size = f"{images:,} images of {image_size} px ({readable_count(needed)}B decoded)"
    say(f"data: {size} are {where} ({why})")
    return stream


def free_memory() -> tuple[int, str]:
    """Bytes that are free, and where: the machine's memory, or its GPU's if that has less."""
    import torch  # seconds to import, and only a folder or table of images asks

    free, place = _free_host(), "memory"
    if torch.cuda.is_available():
        on_gpu = int(torch.cuda.mem_get_info()[0])
        if on_gpu < free:
            return on_gpu, "the GPU's memory"
    return free, place


def _free_host() -> int:
    """What the kernel could give, or less where a container's limit is lower."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            free = 1024 * int(line.split()[1])
    limit, used = (_lines(_CGROUP / name) for name in ("memory.max", "memory.current"))
    if limit and used and limit[0].isdigit():
        free = min(free, max(0, int(limit[0]) - int(used[0])))
    return free


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
