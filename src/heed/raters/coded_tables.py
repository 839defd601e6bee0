"""Columns of a table as codes with the names behind them: what votes, known labels and comparisons are read from."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from heed.errors import DataError
from heed.feedback.formats.rows import BrokenRow, RowError
from heed.feedback.formats.table import as_written
from heed.lazily import np
from heed.raters.column_names import Columns, find_columns
from heed.raters.tables import Record, records
from heed.raters.votes import Codes
from heed.texts import shown

MOST_ROWS = 20_000_000
LONGEST_CELL = 1_000
"""Characters of a name or a label: what is longer is a text in the wrong column."""

_ROWS_BETWEEN_WORDS = 500_000

_MAY_BE_EMPTY = ("label", "winner", "won_left", "won_right", "won_neither", "strength", "gold")

Progress = Callable[[int], None]
"""Hears how many rows have been read, now and then."""


Unfold = Callable[[list[str], Iterator[Record], list[BrokenRow]], tuple[Iterator[Record], str]]
"""Makes of a wide sheet, its first line apart, the rows of a plain one, first line first, with a sentence that says so; gives
the rows back as they are, with "", where they are no wide sheet's. What cannot be read goes to the broken rows."""


class CellCodes(dict[str, int]):
    """Codes of the cells of a column, -1 of one that is empty and may be; ``names`` are what the codes stand for.

    Blanks around a name do not count: the keys are the cells as they were written.
    """

    def __init__(self, part: str) -> None:
        super().__init__()
        self._part = part
        self.names: dict[str, int] = {}

    def __missing__(self, cell: str) -> int:
        """The code of a cell that has not come before.

        Raises:
            RowError: it cannot be a name.
        """
        name = cell.strip()
        if len(name) > LONGEST_CELL:
            raise RowError(f"its {self._part} has {len(name):,} characters, and {LONGEST_CELL:,} is the most")
        if not name:
            if self._part not in _MAY_BE_EMPTY:
                side = self._part in ("left", "right")
                raise RowError(f"it names nothing on the {self._part}" if side else f"it names no {self._part}")
            self[cell] = -1
        else:
            self[cell] = self.names.setdefault(as_written(name), len(self.names))
        return self[cell]

    def trimmed(self) -> list[tuple[str, str]]:
        """Names that stand there with blanks around them and without, each with a cell that has them."""
        bare = {cell for cell in self if cell == cell.strip()}
        return [(cell.strip(), cell) for cell in self if cell not in bare and cell.strip() in bare]


@dataclass
class CodedTable:
    """The rows of a table in columns of codes, with the names behind the codes and the line each row ends on.

    Attributes:
        columns: where the parts stood.
        known: codes of the cells of each part. coded: [rows], the codes of each part.
        beside: cells of what else the table says of a row.
        headless: the line of the first row where that was taken for one of data, as it names no column.
        wide: what is said of a sheet that had one row an item and one column a rater, or the other way round; else "".
        unlabelled: rows without a label (count), which are left out.
    """

    columns: Columns
    known: dict[str, CellCodes]
    beside: dict[str, list[str]]
    coded: dict[str, array[int]]
    headless: int | None = None
    wide: str = ""
    lines: array[int] = field(default_factory=lambda: array("q"))
    unlabelled: int = 0
    broken: list[BrokenRow] = field(default_factory=list)

    def codes(self, part: str) -> Codes:
        """The column of a part as numpy has it."""
        return np.array(self.coded[part], dtype=np.intp)

    def names(self, part: str) -> list[str]:
        """What the codes of a part stand for."""
        return list(self.known[part].names)


def read_table(
    path: Path,
    parts: Sequence[str],
    beside: Sequence[str] = (),
    named: Mapping[str, str] | None = None,
    *,
    optional: Sequence[str] = (),
    progress: Progress = lambda rows: None,
    unfold: Unfold | None = None,
    strict: bool = True,
) -> CodedTable:
    """The columns of a file that are the parts of what is wanted.

    Args:
        path: of the file.
        parts: what each row has.
        beside: what else may be kept of each row, as it is written.
        named: what somebody said that the column of a part is called.
        optional: parts that it may have, which are coded as well.
        progress: hears of the rows.
        unfold: what makes a table of ``parts`` of a wide sheet.
        strict: whether all of ``named`` must be there.

    Raises:
        DataError: the file cannot be read, is empty, has too many rows, or its first line does not say which column is which.
        ConfigError: a column was named for a part that this table has not.
    """
    broken: list[BrokenRow] = []
    rows = records(path, broken)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path} is empty", "it has no line with anything in it.", f"Give rows of {', '.join(parts)}.")
    wide = ""
    if unfold is not None:
        rows, wide = unfold(first[1], rows, broken)
        if wide:
            first, named = next(rows), None
    columns = find_columns(path, first[1], parts, (*optional, *beside), named, strict=strict)
    if not columns.header:
        rows = chain([first], rows)
    kept = [part for part in columns.places if part not in beside]
    read = CodedTable(
        columns,
        {part: CellCodes(part) for part in kept},
        {part: [] for part in beside if part in columns.places},
        {part: array("q") for part in kept},
        None if columns.header else first[0],
        wide,
        broken=broken,
    )
    _take_all(path, read, rows, len(first[1]), progress)
    broken.sort(key=lambda row: row.line)
    return read


def _take_all(path: Path, read: CodedTable, rows: Iterable[Record], width: int, progress: Progress) -> None:
    """Take the rows in. One without a label is a missing answer; one that cannot be read is named by its line."""
    places = read.columns.places
    wanted = [(places[part], codes) for part, codes in read.known.items()]
    beside = [(places[part], cells) for part, cells in read.beside.items()]
    columns = list(read.coded.values())
    label = list(read.known).index("label") if "label" in read.known else None
    for line, cells in rows:
        try:
            if len(cells) != width:
                raise RowError(f"{len(cells)} cells where the first line has {width}")
            row = [codes[cells[place]] for place, codes in wanted]
        except RowError as error:
            read.broken.append(BrokenRow(line, str(error)))
            continue
        if label is not None and row[label] < 0:
            read.unlabelled += 1
            continue
        for code, column in zip(row, columns, strict=True):
            column.append(code)
        for place, others in beside:
            others.append(cells[place].strip())
        read.lines.append(line)
        taken = len(read.lines)
        if taken % _ROWS_BETWEEN_WORDS == 0:
            progress(taken)
        if taken > MOST_ROWS:
            raise DataError(
                f"{path}", f"it has more than {MOST_ROWS:,} rows.", "Give a part of it, such as one question at a time."
            )


def nothing_read(path: Path, thing: str, read: CodedTable, parts: Sequence[str]) -> DataError:
    """Why a file that was read holds nothing."""
    if read.broken:
        why = f"none of its rows can be read; line {read.broken[0].line}: {read.broken[0].reason}."
    elif read.unlabelled:
        why = f"none of its {read.unlabelled:,} rows has a label."
    else:
        why = "nothing stands below its first line."
    return DataError(f"{path} has no {thing}", why, f"Give rows of {', '.join(parts)}.")


def names_unknown(path: Path, read: CodedTable, parts: Sequence[str]) -> DataError:
    """That the first row looks like names of columns."""
    found = [read.names(part)[0] for part in parts]
    option = " ".join(f"--column {part}={name}" for part, name in zip(parts, found, strict=True))
    return DataError(
        f"{path}, line {read.headless}",
        f"{' and '.join(map(shown, found))} occur nowhere else, as names of columns would, but are not the usual ones.",
        f"If they name the columns, call them {','.join(parts)} or say which is which: {option}; if not, put the line "
        f"{','.join(parts)} above.",
    )
