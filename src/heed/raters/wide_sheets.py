"""Wide sheets of votes: one row an item and one column a rater, or one row a rater and one column an item.

A sheet is taken for one without being told where nothing else is possible: its first line names the column of items or that of
raters, nothing else that votes have; each row is of another one; and all other columns share a few values. The shape is always
told. What is less clear needs the names of the columns that hold labels; where all are asked for, those that cannot be labels are
left out, and it is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path

from heed.errors import DataError
from heed.feedback.formats.rows import BrokenRow
from heed.raters.coded_tables import Unfold
from heed.raters.column_names import KNOWN_ANSWERS, listed, named_places, plain_name, quoted, take
from heed.raters.tables import Record

ALL = "all"
"""In place of names of columns: all but those of something else, and those that hold no labels."""

_LOOKED_AT = 1_000
_MOST_VALUES = 12
"""Values that all columns of labels have together, where nobody said that they are such."""

_TEXTS = 0.9
"""Different values by filled cells from which on more than ``_MOST_VALUES`` of them are texts, or numbers of rows, but no labels."""

_SHARED = 0.5
"""Filled cells of a column of labels (share, at least) that say what another column of the sheet says somewhere too."""

_BESIDE = {"item": ("question", "time"), "rater": ("group", "time")}
"""What else a row of one item, or of one rater, can say of its votes."""

_PARTS = ("item", "rater", "label", "question", "group", "time")
_OTHER = {"item": "rater", "rater": "item"}


def unfolding(path: Path, named: Mapping[str, str], chosen: Sequence[str]) -> Unfold:
    """What makes rows of item, rater and label of a wide sheet.

    Args:
        path: of the sheet.
        named: what the column of items or that of raters is called, where it is none of the usual words.
        chosen: names of the columns of labels, or ``ALL``; none: those of a sheet that cannot be anything else.

    Raises:
        DataError: a chosen column is not there, or no column says what each row is of.
    """

    def unfold(header: list[str], rows: Iterator[Record], broken: list[BrokenRow]) -> tuple[Iterator[Record], str]:
        given = named_places(path, header, _PARTS, named)
        key, place = _key(path, header, given, bool(chosen))
        if not key:
            return rows, ""
        names = [plain_name(cell) for cell in header]
        found = {key: place, **{part: given[part] for part in _BESIDE[key] if part in given}}
        for part in _BESIDE[key]:
            take(part, names, found)
        beside = {part: k for part, k in found.items() if part != key}
        others = [
            k
            for k, cell in enumerate(header)
            if cell.strip() and k not in (place, *beside.values()) and names[k] not in KNOWN_ANSWERS
        ]
        left_out: list[int] = []
        if chosen and list(chosen) != [ALL]:
            columns = _chosen(path, header, chosen, place)
        else:
            begin = list(islice(rows, _LOOKED_AT))
            rows, columns = chain(begin, rows), others
            if chosen:
                columns, left_out = _labels(begin, others, len(header))
            elif not _is_wide(begin, place, columns, len(header)):
                return rows, ""
        if not columns:
            raise _without_labels(path, header, left_out)
        told = (
            f"read as a wide sheet, one row for each {key}: {key} from {_called(header, place)}, and one "
            f"{_OTHER[key]} in each of the {len(columns):,} columns {listed([header[k] for k in columns])}."
        )
        if left_out:
            told += (
                f" Left out, as they say what no other column says, or something else in nearly each row, which labels do "
                f"not: {listed([header[k] for k in left_out])}; if they are labels, name all columns of labels: "
                "--wide NAME,NAME."
            )
        return _long(header, rows, broken, key, place, columns, beside), told

    return unfold


def _called(header: Sequence[str], place: int) -> str:
    return quoted(header[place].strip()) if header[place].strip() else f"column {place + 1}, which has no name"


def _key(path: Path, header: Sequence[str], given: Mapping[str, int], asked: bool) -> tuple[str, int]:
    """What each row is of, "item" or "rater", and the place of the column that names it; "" where it is no wide sheet."""
    names, found = [plain_name(cell) for cell in header], dict(given)
    for part in ("item", "rater", "label"):
        take(part, names, found)
    if not set(found) & {"item", "rater", "label"} and names[:1] == [""]:
        found["item"] = 0  # programs that number rows leave the name of that column out
    if asked:
        key = next((part for part in ("item", "rater") if part in found), "")
        if not key:
            raise DataError(
                f"{path}",
                f"no column names the item of a row; it has {listed(header)}.",
                "Say which does: --column item=NAME, or --column rater=NAME where a row is one rater's.",
            )
        return key, found[key]
    keys = [part for part in ("item", "rater") if part in found]
    return (keys[0], found[keys[0]]) if len(keys) == 1 and "label" not in found else ("", -1)


def _chosen(path: Path, header: Sequence[str], chosen: Sequence[str], place: int) -> list[int]:
    cells = [cell.strip() for cell in header]
    missing = [name for name in chosen if name.strip() not in cells]
    if missing:
        raise DataError(
            f"{path} has no column {quoted(missing[0])}",
            f"its first line has {listed(header)}.",
            f"Name the columns of labels as they stand there, with commas between, or {ALL}.",
        )
    places = [cells.index(name.strip()) for name in chosen]
    return [found for found in dict.fromkeys(places) if found != place]


def _labels(rows: Sequence[Record], columns: Sequence[int], width: int) -> tuple[list[int], list[int]]:
    """Of the columns those that may be labels, and the others: texts, and what says nothing that another column says.

    Numbers may differ in each row, as on a scale of a thousand; where no two columns share any, all are of such a scale.
    """
    whole = [cells for _, cells in rows if len(cells) == width]
    values = {k: [cells[k].strip().casefold() for cells in whole if cells[k].strip()] for k in columns}
    numbers = {k for k in columns if all(map(_is_number, values[k]))}
    texts = {
        k for k in columns if k not in numbers and len(set(values[k])) > max(_MOST_VALUES, _TEXTS * len(values[k]))
    }
    own = {k: set(values[k]) for k in columns if k not in texts}
    places = Counter(chain.from_iterable(own.values()))
    shared = {k for k in own if sum(places[value] > 1 for value in values[k]) >= max(1.0, _SHARED * len(values[k]))}
    if not shared:
        shared = numbers if len(numbers) > 1 else set()
    if shared:
        shared |= {k for k in columns if not values[k]}  # whoever began later than these rows
    return [k for k in columns if k in shared], [k for k in columns if k not in shared]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _without_labels(path: Path, header: Sequence[str], left_out: Sequence[int]) -> DataError:
    """That no column is one of labels."""
    if not left_out:
        return DataError(f"{path}", "beside the rows' own names it has no column.", "Give one for each rater.")
    return DataError(
        f"{path}",
        f"no two columns of {listed([header[k] for k in left_out])} say the same anywhere, as two raters' labels would, or "
        "they say something else in nearly each row.",
        "Name the columns of labels: --wide NAME,NAME.",
    )


def _is_wide(rows: Sequence[Record], place: int, columns: Sequence[int], width: int) -> bool:
    """Whether rows that begin a sheet can be of nothing but a wide one: one each, and columns that share a few values."""
    whole = [cells for _, cells in rows if len(cells) == width]
    keys = [cells[place].strip() for cells in whole]
    if len(columns) < 2 or not keys or len(set(keys)) < len(keys):
        return False
    values = [{cells[k].strip() for cells in whole} - {""} for k in columns]
    if not all(values) or len(set().union(*values)) > _MOST_VALUES:
        return False
    # Each column says at least one thing that another says too: names of people and their answers do not.
    return all(own & set().union(*values[:k], *values[k + 1 :]) for k, own in enumerate(values))


def _long(
    header: Sequence[str],
    rows: Iterable[Record],
    broken: list[BrokenRow],
    key: str,
    place: int,
    columns: Sequence[int],
    beside: Mapping[str, int],
) -> Iterator[Record]:
    """The votes of the rows, one each, below a line of names; an empty cell is a question that was not asked."""
    yield 1, [key, _OTHER[key], "label", *beside]
    names = [header[k].strip() for k in columns]
    for line, cells in rows:
        if len(cells) != len(header):
            broken.append(BrokenRow(line, f"{len(cells)} cells where the first line has {len(header)}"))
            continue
        more = [cells[k] for k in beside.values()]
        for k, name in zip(columns, names, strict=True):
            if cells[k].strip():
                yield line, [cells[place], name, cells[k], *more]
