"""Pictures for the built-in world, made by arithmetic: a PNG of a chart, and a short clip (an animated GIF) of a ball."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

Colour = tuple[int, int, int]

PAPER: Colour = (250, 248, 243)
INK: Colour = (60, 64, 72)
BLUE: Colour = (52, 101, 164)
RED: Colour = (190, 74, 60)
COLOURS = (PAPER, INK, BLUE, RED)


def bar_chart(heights: Sequence[float], colour: int = 2, width: int = 360, height: int = 200) -> bytes:
    """A PNG of bars on a base line.

    Args:
        heights: of the bars, 0 to 1.
        colour: of the bars, as an index of ``COLOURS``.
        width: of the picture (pixels).
        height: of the picture (pixels).
    """
    slot = width // max(1, len(heights))
    rows = []
    for y in range(height):
        row = bytearray(width)
        for place, share in enumerate(heights):
            if height - 20 - share * (height - 40) <= y < height - 20:
                start = place * slot + slot // 5
                row[start : start + 3 * slot // 5] = bytes([colour]) * (3 * slot // 5)
        if height - 20 <= y < height - 18:
            row[10 : width - 10] = b"\x01" * (width - 20)
        rows.append(bytes(row))
    return _png(rows)


def _png(rows: Sequence[bytes]) -> bytes:
    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 3, 0, 0, 0)
    palette = bytes(part for colour in COLOURS for part in colour)
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    parts = ((b"IHDR", head), (b"PLTE", palette), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def bouncing_ball(bounces: bool, frames: int = 24, width: int = 160, height: int = 120) -> bytes:
    """A GIF of a ball that falls, and bounces or stays down.

    Args:
        bounces: whether it comes up again.
        frames: how many pictures, a fifteenth of a second each.
        width: of the picture (pixels).
        height: of the picture (pixels).
    """
    table = bytes(part for colour in COLOURS for part in colour)
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x91, 0, 0) + table
    loop = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
    pictures = [_frame(_ball(frame / frames, bounces, width, height), width, height) for frame in range(frames)]
    return head + loop + b"".join(pictures) + b"\x3b"


def _ball(time: float, bounces: bool, width: int, height: int) -> bytes:
    """One picture as colour numbers, row by row; ``time`` from 0 to 1."""
    fall = min(1.0, (2 * time) ** 2)
    up = 1 - (4 * time - 3) ** 2 if bounces and time > 0.5 else 0.0
    x, y, radius = width * (0.2 + 0.6 * time), (height - 30) * (fall - 0.7 * max(0.0, up)) + 14, 10
    return bytes(
        2 if (column - x) ** 2 + (row - y) ** 2 < radius**2 else 1 if row == height - 6 else 0
        for row in range(height)
        for column in range(width)
    )


def _frame(pixels: bytes, width: int, height: int) -> bytes:
    control = b"\x21\xf9\x04\x00" + struct.pack("<H", 7) + b"\x00\x00"
    place = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0)
    data = _compressed(pixels, 2)
    blocks = b"".join(bytes([len(data[k : k + 255])]) + data[k : k + 255] for k in range(0, len(data), 255))
    return control + place + b"\x02" + blocks + b"\x00"


def _compressed(pixels: bytes, bits: int) -> bytes:
    """Lempel, Ziv and Welch's compression as GIF has it."""
    clear, end = 1 << bits, (1 << bits) + 1
    known: dict[bytes, int] = {}
    size, held, filled, out = bits + 1, 0, 0, bytearray()

    def put(code: int) -> None:
        nonlocal held, filled
        held |= code << filled
        filled += size
        while filled >= 8:
            out.append(held & 255)
            held, filled = held >> 8, filled - 8

    put(clear)
    begun = b""
    for value in pixels:
        longer = begun + bytes([value])
        if len(longer) == 1 or longer in known:
            begun = longer
            continue
        put(known[begun] if len(begun) > 1 else begun[0])
        code = end + 1 + len(known)
        if code == 4096:
            put(clear)
            known, size = {}, bits + 1
        else:
            known[longer] = code
            size += code >> size
        begun = longer[-1:]
    put(known[begun] if len(begun) > 1 else begun[0])
    put(end)
    if filled:
        out.append(held & 255)
    return bytes(out)
