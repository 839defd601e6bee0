"""Rows of plain tables: CSV with commas, semicolons or tabs, columns with blanks between them, or JSON lines.

A file is plain or gzip, UTF-8, and its lines end as on any system. The first row names the columns, or is a row itself; of JSON
lines the names are all fields that any line has.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from heed.errors import DataError
from heed.feedback.formats.lines import load_object, read_lines
from heed.feedback.formats.rows import BrokenRow, RowError
from heed.feedback.formats.table import MOST_COLUMNS

Record = tuple[int, list[str]]
"""The line that a row ends on, and its cells."""

_AFTER_RETURN = re.compile(r"(?<=\r)(?=[^\n])")
_QUOTED = re.compile(r'"[^"]*"?')
_MARKS = (",", ";")
_SAID = re.compile(r"sep=([\t,;])\s*", re.IGNORECASE)
"""A first line by which a spreadsheet is told the separator."""

_HELD = 1_000
"""JSON lines that are kept in memory while the names of their fields are gathered; of more the file is gone through twice."""

_SPOOLED = 1 << 26
"""Characters of a pipe that are kept in memory, and not on the disk."""


def records(path: Path, broken: list[BrokenRow]) -> Iterator[Record]:
    """The rows of a file that hold anything, the first line among them.

    Args:
        path: of the file.
        broken: where JSON lines that are none are put, as they are met.

    Raises:
        DataError: the file cannot be read, is no UTF-8 text, or no table.
    """
    rows = _records(path, broken)
    first = next(rows, None)
    if first is None:
        return
    if len(first[1]) > MOST_COLUMNS:
        raise DataError(
            f"{path} has {len(first[1]):,} columns",
            f"a table has at most {MOST_COLUMNS:,}.",
            "See whether its lines end as lines do, and leave out columns that are not needed.",
        )
    yield first
    yield from rows


def _records(path: Path, broken: list[BrokenRow]) -> Iterator[Record]:
    lines = _texts(path)
    begin: list[str] = []
    for text in lines:
        begin.append(text)
        if text.strip():
            break
    else:
        return
    first = begin[-1].lstrip()
    if first.startswith("{"):
        yield from _json_rows(path, chain(begin, lines), broken)
        return
    if first.startswith("[") and first[1:].lstrip()[:1] in ("", "{", "[", "]"):
        raise DataError(
            f"{path}",
            "it is one JSON list; of JSON, heed reads lines with an object each.",
            "Turn it into JSON lines: jq -c '.[]' FILE > FILE.jsonl",
        )
    said = _SAID.fullmatch(first)
    if said:
        begin[-1] = "\n"
    separator = said[1] if said else _separator(first)
    if separator is None:
        for number, text in enumerate(chain(begin, lines), 1):
            if cells := text.split():
                yield number, cells
        return
    reader = csv.reader(chain(begin, lines), delimiter=separator, strict=True)
    try:
        for cells in reader:
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        why = f"not CSV: {error}."
        raise DataError(f"{path}, line {reader.line_num}", why, "Close or double its quotation marks.") from None


def _separator(first: str) -> str | None:
    """What stands between the cells of a line: a tab where there is one, else the commoner mark outside quotation marks."""
    bare = _QUOTED.sub("", first)
    if "\t" in bare:
        return "\t"
    best = max(_MARKS, key=bare.count)
    return best if best in bare else None


def _json_rows(path: Path, lines: Iterable[str], broken: list[BrokenRow]) -> Iterator[Record]:
    """JSON lines as a table: the names of the fields, then the cells of each line under them."""
    with SpooledTemporaryFile(_SPOOLED, "w+", encoding="utf-8", newline="") as spool:
        # A field may be missing from very many lines, and a pipe cannot be read twice.
        again = path.is_file()
        faults: list[BrokenRow] = []
        objects = _objects(path, lines if again else _copied(lines, spool), faults)
        begin = list(islice(objects, _HELD))
        names = dict.fromkeys(name for _, fields in begin for name in fields)
        if len(begin) == _HELD:
            for _, fields in objects:
                names.update(dict.fromkeys(fields))
                if len(names) > MOST_COLUMNS:
                    break
            spool.seek(0)
            yield begin[0][0], list(names)
            begin, objects = [], _objects(path, _texts(path) if again else spool, broken)
        else:
            broken += faults
            yield begin[0][0], list(names)
        for number, fields in chain(begin, objects):
            yield number, [_cell(fields.get(name)) for name in names]


def _copied(lines: Iterable[str], spool: IO[str]) -> Iterator[str]:
    for line in lines:
        spool.write(line)
        yield line


def _objects(path: Path, lines: Iterable[str], broken: list[BrokenRow]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of JSON lines.

    Raises:
        DataError: the first one is none.
    """
    begun = False
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            yield number, load_object(text.encode("utf-8"))
        except RowError as error:
            if not begun:
                fix = 'Write one whole object a line, such as {"item": "q1", "rater": "ann", "label": "yes"}'
                raise DataError(f"{path}, line {number}", f"{error}.", fix) from None
            broken.append(BrokenRow(number, str(error)))
        begun = True


def _cell(value: Any) -> str:
    """A value of JSON as it would stand in a table."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)  # 1.0 is the number 1, however a program wrote it
    return json.dumps(value, ensure_ascii=False)


def _texts(path: Path) -> Iterator[str]:
    """The lines of a file as text.

    Raises:
        DataError: one is not UTF-8, too long, or the file is damaged.
    """
    for line in read_lines(path):
        if line.fault:
            raise DataError(
                f"{path}, line {line.number}", f"{line.fault}.", "Give the whole file, as a table with one row a line."
            )
        try:
            text = line.data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path} is not UTF-8 text",
                f"line {line.number} holds byte 0x{line.data[error.start]:02x} at position {error.start + 1}.",
                "Save it as UTF-8 (in a spreadsheet: as 'CSV UTF-8').",
            ) from None
        # Some spreadsheets end lines with a carriage return alone. A quoted cell that holds one is put together again.
        yield from _AFTER_RETURN.split(text) if "\r" in text else (text,)
