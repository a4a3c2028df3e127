"""PNG files of kinds that Pillow does not write, made by hand."""

import struct
import zlib


def png(
    *, depth: int, row: bytes, colour: int = 0, transparent: tuple[int, ...] | None = None
) -> bytes:
    """4 x 4 pixels of equal rows, perhaps with a transparent colour (PNG 11.3.2.1)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", 4, 4, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header)]
    if transparent is not None:
        parts.append((b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)))
    parts += [(b"IDAT", zlib.compress(4 * (b"\0" + row))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
