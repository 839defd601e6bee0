"""Whether bytes are one whole picture or video and nothing else, by walking through the structure of the format.

The walk does not decode anything: it checks that the pieces follow each other without a gap from the first byte to the
last. A browser decides whether what is inside can be shown.
"""

from __future__ import annotations

import struct
import zlib

_LARGEST_SIDE = 20_000
_MOST_PIXELS = 120_000_000
_MP4_BRANDS = (b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso7", b"iso8", b"iso9", b"mp41", b"mp42", b"avc1", b"av01", b"dash", b"M4V ", b"MSNV")  # fmt: skip
_MP4_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid", b"moof", b"mfra", b"sidx", b"styp", b"meta", b"pdin", b"prft", b"emsg", b"udta"}  # fmt: skip
_WEBM_SEGMENT, _WEBM_CLUSTER = bytes.fromhex("18538067"), bytes.fromhex("1f43b675")
_WEBM_IDS = "114d9b74 1549a966 1654ae6b 1c53bb6b 1043a770 1254c367 ec bf e7 a3 a0 a7 ab"
_WEBM_ELEMENTS = {_WEBM_SEGMENT, _WEBM_CLUSTER, *map(bytes.fromhex, _WEBM_IDS.split())}
"""Those of a segment and of a cluster, without attachments, which could be anything."""


def is_png(data: bytes) -> bool:
    """Chunks with right checksums, IHDR first and an empty IEND as the last bytes."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return False
    place, first = 8, True
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 12 + length
        kind = data[place + 4 : place + 8]
        if end > len(data) or zlib.crc32(data[place + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            return False
        if first and (kind != b"IHDR" or length != 13 or not _has_sane_size(*struct.unpack_from(">II", data, 16))):
            return False
        if kind == b"IEND":
            return length == 0 and end == len(data)
        place, first = end, False
    return False


def is_jpeg(data: bytes) -> bool:
    """Segments from SOI to EOI, with a frame of a sane size; EOI is the end."""
    if not data.startswith(b"\xff\xd8\xff"):
        return False
    place, framed = 2, False
    while place + 2 <= len(data):
        if data[place] != 0xFF:
            return False
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
        elif marker == 0xD9:
            return framed and place + 2 == len(data)
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8 or marker == 0x00 or place + 4 > len(data):
            return False
        else:
            (length,) = struct.unpack_from(">H", data, place + 2)
            if length < 2 or place + 2 + length > len(data):
                return False
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                if length < 8 or not _has_sane_size(*struct.unpack_from(">HH", data, place + 5)):
                    return False
                framed = True
            place += 2 + length
            if marker == 0xDA:
                place = _after_scan(data, place)
    return False


def _after_scan(data: bytes, place: int) -> int:
    """Where the next marker stands behind the compressed data that begin at ``place``."""
    while (place := data.find(b"\xff", place)) >= 0 and place + 1 < len(data):
        if data[place + 1] != 0x00 and not 0xD0 <= data[place + 1] <= 0xD7:
            return place
        place += 2
    return len(data)


def is_gif(data: bytes) -> bool:
    """Blocks from the header to the trailer, which is the last byte."""
    if data[:6] not in (b"GIF87a", b"GIF89a") or len(data) < 14:
        return False
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    if not _has_sane_size(width, height):
        return False
    place, pictures = 13 + _colours(flags), 0
    while place < len(data):
        kind = data[place]
        if kind == 0x3B:
            return pictures > 0 and place + 1 == len(data)
        if kind == 0x21:
            place = _after_blocks(data, place + 2)
        elif kind == 0x2C and place + 10 < len(data):
            place = _after_blocks(data, place + 11 + _colours(data[place + 9]))
            pictures += 1
        else:
            return False
    return False


def _colours(flags: int) -> int:
    """Bytes of the table of colours that ``flags`` announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, place: int) -> int:
    while place < len(data) and data[place]:
        place += 1 + data[place]
    return place + 1


def is_webp(data: bytes) -> bool:
    """A RIFF container of exactly its own length whose chunks fill it, a picture among them."""
    if (
        len(data) < 20
        or data[:4] != b"RIFF"
        or data[8:12] != b"WEBP"
        or struct.unpack_from("<I", data, 4)[0] + 8 != len(data)
    ):
        return False
    place, kinds = 12, []
    while place + 8 <= len(data):
        kinds.append(data[place : place + 4])
        (length,) = struct.unpack_from("<I", data, place + 4)
        place += 8 + length + length % 2
    return (
        place == len(data) and kinds[0] in (b"VP8 ", b"VP8L", b"VP8X") and bool({b"VP8 ", b"VP8L", b"ANMF"} & {*kinds})
    )


def is_mp4(data: bytes) -> bool:
    """Boxes that fill the file, ``ftyp`` of a known brand first, with a ``moov`` among them."""
    place = 0
    kinds: list[bytes] = []
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, header = data[place + 4 : place + 8], 8
        if length == 1 and place + 16 <= len(data):
            (length,) = struct.unpack_from(">Q", data, place + 8)
            header = 16
        elif length == 0:
            length = len(data) - place
        if length < header or kind not in _MP4_BOXES:
            return False
        if not kinds and (kind != b"ftyp" or data[place + 8 : place + 12] not in _MP4_BRANDS):
            return False
        kinds.append(kind)
        place += length
    return place == len(data) and b"moov" in kinds


def is_webm(data: bytes) -> bool:
    """An EBML header of the document type "webm" and one segment of known elements that ends with the file."""
    header = _vint(data, 4) if data.startswith(b"\x1a\x45\xdf\xa3") else None
    if header is None or header[0] is None:
        return False
    place = header[1] + header[0]
    if b"\x42\x82\x84webm" not in data[header[1] : place] or data[place : place + 4] != _WEBM_SEGMENT:
        return False
    seen = set()
    while place < len(data):
        width = 9 - data[place].bit_length()
        kind = data[place : place + width]
        element = _vint(data, place + width) if kind in _WEBM_ELEMENTS else None
        if element is None or (kind == _WEBM_SEGMENT and kind in seen):
            return False
        seen.add(kind)
        size, content = element
        if kind in (_WEBM_SEGMENT, _WEBM_CLUSTER):  # recorders write them before they know how long they become
            place = content
        elif size is None:
            return False
        else:
            place = content + size
    return place == len(data) and _WEBM_CLUSTER in seen


def _vint(data: bytes, place: int) -> tuple[int | None, int] | None:
    """(size, where the content begins) from a number of EBML; the size None means "until the end"."""
    if place >= len(data) or not data[place]:
        return None
    width = 9 - data[place].bit_length()
    if place + width > len(data):
        return None
    value = int.from_bytes(data[place : place + width]) & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), place + width


def _has_sane_size(width: int, height: int) -> bool:
    return 0 < width <= _LARGEST_SIDE and 0 < height <= _LARGEST_SIDE and width * height <= _MOST_PIXELS
