"""Files as streams of lines: bounded memory whatever the file, plain or gzip, and writing that is whole or not at all."""

from __future__ import annotations

import gzip
import json
import os
import uuid
import zlib
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

_BOM = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Line:
    """One line with its line end, numbered from 1; or, with ``data`` empty, why it could not be read."""

    number: int
    data: bytes
    fault: str | None = None


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a file, one at a time; gzip is recognised by its first bytes, a UTF-8 byte order mark is taken off.

    Goes through the file once and never back, so that a pipe serves as well.

    Raises:
        DataError: the file cannot be opened or read.
    """
    number = 0
    try:
        with path.open("rb") as raw:
            compressed = raw.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw) if compressed else raw)
            while data := stream.readline(MAX_ROW_BYTES + 1):
                number += 1
                if number == 1:
                    data = data.removeprefix(_BOM)
                if len(data) <= MAX_ROW_BYTES:
                    yield Line(number, data)
                    continue
                while data and not data.endswith(b"\n"):
                    data = stream.readline(MAX_ROW_BYTES)
                yield Line(number, b"", f"longer than {MAX_ROW_BYTES} bytes")
    except (EOFError, gzip.BadGzipFile, zlib.error):
        yield Line(number + 1, b"", "the gzip file is damaged or cut off here; nothing after it can be read")
    except OSError as error:
        raise DataError(
            f"cannot read {path}", f"{error.strerror or error}.", "Check the path and its permissions."
        ) from None


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
        raise RowError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise RowError("not usable JSON: nested too deeply") from None
    except ValueError as error:
        raise RowError(f"not usable JSON: {error}") from None
    if not isinstance(value, dict):
        raise RowError(f"a JSON {type(value).__name__}, not an object with named fields")
    return value


def _refuse_constant(name: str) -> Any:
    raise RowError(f"not JSON: {name} is not a number")


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        raise RowError(f"the field '{next(name for name in names if names.count(name) > 1)}' is given twice")
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
