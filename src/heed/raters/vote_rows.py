"""Rows of plain tables of votes, and which column is which.

A table is CSV, with commas, semicolons or tabs, or columns with blanks between them, plain or gzip, UTF-8; its lines end as
on any system.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from heed.errors import DataError
from heed.feedback.formats.lines import read_lines
from heed.texts import shown

_AFTER_RETURN = re.compile(r"(?<=\r)(?=[^\n])")

_NAMES: dict[str, tuple[str, ...]] = {
    "item": (
        *("item", "task", "unit", "example", "instance", "sample", "object", "subject", "document", "doc", "pair"),
        "question",
    ),
    "rater": (
        *("rater", "worker", "annotator", "labeler", "labeller", "coder", "judge", "observer", "performer", "assessor"),
        *("reviewer", "user", "person"),
    ),
    "label": (
        *("label", "answer", "response", "vote", "judgment", "judgement", "annotation", "class", "category", "rating"),
        *("value", "choice", "score", "gold", "truth"),
    ),
    "question": ("question", "field"),
    "group": ("group", "rater_group"),
    "time": ("time", "created", "timestamp", "date"),
}
"""What a column may be called, the first name that is there; also with "id" behind it. Each column has one part."""


def places_of(
    path: Path, cells: list[str], parts: tuple[str, ...], optional: tuple[str, ...]
) -> tuple[dict[str, int], bool]:
    """Where the parts stand, and whether the first line names them.

    Raises:
        DataError: it names some of them only, or names none and has more or fewer columns.
    """
    names = [cell.strip().lower().replace(" ", "_").replace("-", "_") for cell in cells]
    found: dict[str, int] = {}
    for part in (*parts, *optional):
        for word in _NAMES[part]:
            place = next((names.index(name) for name in (word, f"{word}_id", f"{word}id") if name in names), None)
            if place is not None and place not in found.values():
                found[part] = place
                break
    missing = [part for part in parts if part not in found]
    if not missing:
        return found, True
    if len(missing) == len(parts) and len(cells) == len(parts):
        return {part: place for place, part in enumerate(parts)}, False
    if len(missing) < len(parts):
        why = f"its first line names no column for {' and '.join(missing)}; it has {', '.join(map(shown, cells[:12]))}."
    else:
        why = f"its first line has {len(cells)} columns and names none of {', '.join(parts)}."
    raise DataError(f"{path}", why, f"Begin it with a line of names: {','.join(parts)}")


def records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a file that hold anything, as cells, each with the line that it ends on."""
    lines = _texts(path)
    begin: list[str] = []
    for text in lines:
        begin.append(text)
        if text.strip():
            break
    else:
        return
    first = begin[-1]
    if first.lstrip().startswith("{"):
        raise DataError(
            f"{path}", "it looks like JSON, and votes are read from tables.", "Save it as CSV: item,rater,label"
        )
    separator = next((mark for mark in ("\t", ",", ";") if mark in first), None)
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


def _texts(path: Path) -> Iterator[str]:
    """The lines of a file as text.

    Raises:
        DataError: one is not UTF-8, too long, or the file is damaged.
    """
    for line in read_lines(path):
        if line.fault:
            raise DataError(
                f"{path}, line {line.number}", f"{line.fault}.", "Give the whole file, as a table with one vote a line."
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
