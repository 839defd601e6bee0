"""Files as streams of lines: bounded memory whatever the file, plain or gzip, and writing that is whole or not at all."""

from __future__ import annotations

import codecs
import gzip
import json
import os
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from heed.errors import DataError
from heed.feedback.formats.rows import RowError
from heed.files import ordinary_file

MAX_ROW_BYTES = 1 << 20
"""Longest row (bytes). No judgment comes near; a file without line ends does, and must not fill the memory."""

_MOST_BLANK_BYTES = 1 << 18
"""Of blank lines one after the other, which together with ``_LONGEST_SKIPPED`` says how long a file can go on without a row:
a small gzip file can unpack to line ends for hours."""

_LONGEST_SKIPPED = 256 * MAX_ROW_BYTES
"""Of a line that is too long to be a row and is passed over."""

_MOST_PACKED = 4 * MAX_ROW_BYTES
"""Of a gzip file without a line coming out of it."""

_BOM = b"\xef\xbb\xbf"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Line:
    """One line with its line end, numbered from 1; or, with ``data`` empty, why it could not be read."""

    number: int
    data: bytes
    fault: str | None = None


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a file, one at a time; gzip is recognised by its first bytes, a UTF-8 byte order mark is taken off.

    Goes through the file once and never back, so that a pipe serves as well. From one line to the next it takes about a
    second at most, whatever the file: who reads can let go in between.

    Raises:
        DataError: the file cannot be opened or read, is no UTF-8 text by its looks, or goes on and on without a row.
    """
    number = blank = 0
    try:
        with path.open("rb") as raw:
            compressed = raw.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
            stream = _Unpacked(raw) if compressed else cast(IO[bytes], raw)
            while data := stream.readline(MAX_ROW_BYTES + 1):
                number += 1
                if number == 1:
                    _check_text(data, path)
                    data = data.removeprefix(_BOM)
                blank = blank + len(data) if data.isspace() else 0
                if blank > _MOST_BLANK_BYTES:
                    raise _endless(path, number, f"more than {_MOST_BLANK_BYTES:,} bytes of blank lines end here.")
                if len(data) <= MAX_ROW_BYTES:
                    yield Line(number, data)
                    continue
                _pass_over(stream, data, number, path)
                yield Line(number, b"", f"longer than {MAX_ROW_BYTES} bytes")
    except (EOFError, gzip.BadGzipFile, zlib.error):
        yield Line(number + 1, b"", "the gzip file is damaged or cut off here; nothing after it can be read")
    except OSError as error:
        raise DataError(
            f"cannot read {path}", f"{error.strerror or error}.", "Check the path and its permissions."
        ) from None


class _Unpacked:
    """The lines of a gzip file; one that holds much and gives nothing, such as very many empty members, is damaged."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self._taken = raw, 0
        self._unpacking = gzip.GzipFile(fileobj=self)  # type: ignore[call-overload]

    def readline(self, size: int) -> bytes:
        self._taken = 0
        return self._unpacking.readline(size)

    def read(self, size: int = -1) -> bytes:
        """Packed bytes, for the unpacking."""
        data = self._raw.read(size)
        self._taken += len(data)
        if self._taken > _MOST_PACKED:
            raise gzip.BadGzipFile
        return data


def _check_text(first: bytes, path: Path) -> None:
    """See that the first line of a file can be one of UTF-8 text.

    Raises:
        DataError: it is of UTF-16, or of something that is no text.
    """
    if first.startswith(_UTF_16):
        raise not_text(path.name, "it is UTF-16.")
    if b"\0" in first:
        raise not_text(path.name, "its first line holds bytes that are zero.")


def not_text(name: str, why: str) -> DataError:
    """Why a file of this name is not read at all."""
    return DataError(
        f"{name} is not UTF-8 text",
        why,
        "Save it as UTF-8 (in a spreadsheet: as 'CSV UTF-8'), as plain text; pictures, archives and workbooks are not read.",
    )


def _pass_over(stream: IO[bytes] | _Unpacked, data: bytes, number: int, path: Path) -> None:
    """Read to the end of a line that begins with ``data``."""
    size = len(data)
    while data and not data.endswith(b"\n"):
        data = stream.readline(MAX_ROW_BYTES)
        size += len(data)
        if size > _LONGEST_SKIPPED:
            raise _endless(path, number, f"it goes on for more than {_LONGEST_SKIPPED:,} bytes.")


def _endless(path: Path, number: int, why: str) -> DataError:
    return DataError(f"line {number} of {path.name}", why, "Remove it, and what is like it, or correct the line ends.")


def load_object(data: bytes) -> dict[str, Any]:
    """A JSON object from one line.

    Raises:
        RowError: it is not UTF-8, not JSON (NaN and Infinity are not), not an object, or names a field twice.
    """
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RowError(f"not UTF-8: byte 0x{data[error.start]:02x} at position {error.start + 1}") from None
    except json.JSONDecodeError as error:
        fault = error.msg.removesuffix(" at")  # some of the decoder's sentences end before the place, some do not
        raise RowError(f"not JSON: {fault} at character {error.pos + 1}") from None
    except RecursionError:
        raise RowError("not usable JSON: nested too deeply") from None
    except ValueError:  # the only other one there is
        raise RowError("not usable JSON: a number in it is too long") from None
    if not isinstance(value, dict):
        raise RowError(f"a JSON {type(value).__name__}, not an object with named fields")
    return value


def _refuse_constant(name: str) -> Any:
    raise RowError(f"not JSON: {name} is not a number")


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        times = Counter(name for name, _ in pairs)
        raise RowError(f"the field '{next(name for name in times if times[name] > 1)}' is given twice")
    return fields


# Made once: json.loads would make another for every row.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_unique_fields)


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Write ``path`` whole or not at all: a temporary file beside it, synced to disk, then renamed over it.

    A name ending in ``.gz`` is compressed; the same content gives the same bytes.

    Raises:
        DataError: the place cannot be written or is full, or is a device or a pipe; what was at ``path`` is still there.
    """
    path = ordinary_file(path)
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("xb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                    yield cast(IO[bytes], packed)
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise DataError(
            f"cannot write {path}", f"{error.strerror}.", "Choose another place, or make room there."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
