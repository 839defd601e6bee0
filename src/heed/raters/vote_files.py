"""Votes and known labels from plain files, tables as :mod:`heed.raters.vote_rows` reads them.

A file names its columns in its first line, in any order and under any of the usual words, or has just the three of them:
item, rater, label.
"""

from __future__ import annotations

import difflib
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

from heed.errors import DataError
from heed.feedback.formats.rows import BrokenRow, RowError
from heed.feedback.formats.table import as_written
from heed.lazily import np
from heed.raters.vote_rows import places_of, records
from heed.raters.votes import Codes, Votes
from heed.texts import shown

Contradictions = Literal["error", "last"]
"""What to do where one rater gave one item different labels: refuse the file, or let the last one count."""

MOST_VOTES = 20_000_000
LONGEST_CELL = 1_000
"""Characters of a name or a label: what is longer is a text in the wrong column."""

_LABELS_SHOWN = 5


@dataclass(frozen=True)
class VoteFile:
    """What a file of votes holds.

    Attributes:
        votes: each rater's vote on each item, once.
        columns: the name of the column that was read as each part.
        beside: columns [votes] of what else the file says of a vote: "question", "group" of the rater, "time".
        ignored: names of columns that were passed over.
        repeated: rows that say again what the same rater said of the same item (count).
        contradicted: rows that a later one of the same rater on the same item took the place of (count).
        unlabelled: rows without a label: answers that are missing (count).
        broken: rows that could not be read.
    """

    votes: Votes
    columns: Mapping[str, str]
    beside: Mapping[str, list[str]]
    ignored: tuple[str, ...] = ()
    repeated: int = 0
    contradicted: int = 0
    unlabelled: int = 0
    broken: tuple[BrokenRow, ...] = ()


def read_votes(path: Path, contradictions: Contradictions = "error") -> VoteFile:
    """The votes of a file.

    Args:
        path: of a file as the module describes it.
        contradictions: what to do with different labels of one rater for one item.

    Raises:
        DataError: the file cannot be read, is no such table, holds no vote or too many, contradicts itself, or begins with
            what looks like names of columns that are not known.
    """
    read = _read(path, ("item", "rater", "label"), ("question", "group", "time"))
    if not len(read.lines):
        raise _without(path, "vote", read)
    _check_first_row(path, read)
    kept, repeated, contradicted = _each_once(path, read, contradictions)
    item, rater, label = read.codes()
    items, raters, labels = read.names()
    whole = Votes(item, rater, label, items, raters, labels)
    beside = {name: [cells[place] for place in kept.tolist()] for name, cells in read.beside.items()}
    return VoteFile(
        whole.where(kept).used().sorted_labels(),
        read.columns,
        beside,
        read.ignored,
        repeated,
        contradicted,
        read.unlabelled,
        tuple(read.broken),
    )


def read_gold(path: Path, votes: Votes | None = None) -> dict[str, str]:
    """The known label of each item of a file with the columns item and label.

    Args:
        path: of the file.
        votes: what the labels are for. By these votes every rater is wrong about an item whose known label nobody ever
            gave, which nothing can be learned from, and which is far more often a misspelling than the truth: an error.

    Raises:
        DataError: as for :func:`read_votes`; a row that cannot be read or two labels of one item are errors here.
    """
    read = _read(path, ("item", "label"), ())
    if read.broken:
        raise DataError(f"{path}, line {read.broken[0].line}", f"{read.broken[0].reason}.", "Correct the known labels.")
    if not len(read.lines):
        raise _without(path, "known label", read)
    if votes is not None:
        _check_labels(path, read, votes)
    items, labels = read.names()
    found: dict[str, str] = {}
    for item, label, line in zip(*read.coded, read.lines, strict=True):
        if found.setdefault(items[item], labels[label]) != labels[label]:
            why = f"item {shown(items[item])} has another known label before: {shown(found[items[item]])}."
            raise DataError(f"{path}, line {line}", why, "Keep the label that is right.")
    return found


# Reading a table


class _Codes(dict[str, int]):
    """Codes of the cells of a column, -1 of a label that is missing; ``names`` are what the codes stand for."""

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
            if self._part != "label":
                raise RowError(f"it names no {self._part}")
            return -1
        self[cell] = self.names.setdefault(as_written(name), len(self.names))
        return self[cell]


@dataclass
class _Read:
    """The rows of a table in columns of codes, with the names behind the codes and the line each row ends on.

    ``headless`` is the line of the first row where that was taken for one of votes, as it names no column.
    """

    columns: dict[str, str]
    ignored: tuple[str, ...]
    known: dict[str, _Codes]
    beside: dict[str, list[str]]
    coded: list[array[int]]
    headless: int | None = None
    lines: array[int] = field(default_factory=lambda: array("q"))
    unlabelled: int = 0
    broken: list[BrokenRow] = field(default_factory=list)

    def codes(self) -> list[Codes]:
        """The columns as numpy has them."""
        return [np.array(column, dtype=np.intp) for column in self.coded]

    def names(self) -> list[list[str]]:
        """What the codes of each column stand for."""
        return [list(codes.names) for codes in self.known.values()]


def _read(path: Path, parts: tuple[str, ...], optional: tuple[str, ...]) -> _Read:
    """The columns of a file that are ``parts`` of what is wanted, and the ``optional`` ones that it has."""
    rows = records(path)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path} is empty", "it has no line with anything in it.", f"Give rows of {', '.join(parts)}.")
    places, header = places_of(path, first[1], parts, optional)
    if header:
        columns = {part: first[1][place].strip() for part, place in places.items()}
        taken = set(places.values())
        ignored = tuple(name.strip() for place, name in enumerate(first[1]) if place not in taken)
    else:
        columns, ignored = {part: f"column {place + 1}" for part, place in places.items()}, ()
        rows = chain([first], rows)
    read = _Read(
        columns,
        ignored,
        {part: _Codes(part) for part in parts},
        {part: [] for part in optional if part in places},
        [array("q") for _ in parts],
        None if header else first[0],
    )
    _take_all(path, read, rows, places, len(first[1]))
    return read


def _take_all(
    path: Path, read: _Read, rows: Iterable[tuple[int, list[str]]], places: Mapping[str, int], width: int
) -> None:
    """Take the rows in. One without a label is a missing answer; one that cannot be read is named by its line."""
    wanted = [(places[part], codes) for part, codes in read.known.items()]
    beside = [(places[part], cells) for part, cells in read.beside.items()]
    for line, cells in rows:
        try:
            if len(cells) != width:
                raise RowError(f"{len(cells)} cells where the first line has {width}")
            row = [codes[cells[place]] for place, codes in wanted]
        except RowError as error:
            read.broken.append(BrokenRow(line, str(error)))
            continue
        if -1 in row:
            read.unlabelled += 1
            continue
        for code, column in zip(row, read.coded, strict=True):
            column.append(code)
        for place, others in beside:
            others.append(cells[place].strip())
        read.lines.append(line)
        if len(read.lines) > MOST_VOTES:
            raise DataError(
                f"{path}",
                f"it has more than {MOST_VOTES:,} rows.",
                "Give a part of it, such as one question at a time.",
            )


def _check_first_row(path: Path, read: _Read) -> None:
    """See that the first row is a vote where no line names the columns.

    Raises:
        DataError: what it says occurs nowhere else, neither its item nor its rater nor its label, while other labels do.
    """
    if read.headless is None or read.lines[0] != read.headless:
        return
    columns = read.codes()
    others = columns[-1][1:]
    if all((column == column[0]).sum() == 1 for column in columns) and np.unique(others).size < others.size:
        raise _names_unknown(path, read)


def _check_labels(path: Path, read: _Read, votes: Votes) -> None:
    """See that raters gave the known labels of the items that were voted on.

    Raises:
        DataError: of one nobody did.
    """
    items, labels = read.names()
    voted = set(votes.items)
    rows = [(items[item], labels[label], line) for item, label, line in zip(*read.coded, read.lines, strict=True)]
    if read.lines[0] == read.headless and rows[0][0] not in voted and rows[0][1] not in votes.labels:
        raise _names_unknown(path, read)
    known = [row for row in rows if row[0] in voted]
    never = [row for row in known if row[1] not in votes.labels]
    if never:
        item, label, line = never[0]
        why = (
            f"nobody gave any item the label {shown(label)}, which item {shown(item)} has here; {_like(label, votes)}."
        )
        if len(never) > 1:
            why += f" {len(never):,} of {len(known):,} known labels are such."
        fix = "Correct it, or, if it is right, leave the item out: the votes tell nothing of a label that nobody gave."
        raise DataError(f"{path}, line {line}", why, fix)


def _like(label: str, votes: Votes) -> str:
    """What raters gave that may be meant by ``label``."""
    given = {label.casefold(): label for label in votes.labels}
    near = difflib.get_close_matches(label.casefold(), list(given), n=1)
    if near:
        return f"the nearest that was given is {shown(given[near[0]])}"
    some = ", ".join(map(shown, votes.labels[:_LABELS_SHOWN]))
    return f"given were {some}{' and others' if len(votes.labels) > _LABELS_SHOWN else ''}"


def _names_unknown(path: Path, read: _Read) -> DataError:
    """That the first row looks like names of columns."""
    cells = " and ".join(shown(names[0]) for names in read.names())
    parts = ",".join(read.known)
    return DataError(
        f"{path}, line {read.headless}",
        f"{cells} occur nowhere else, as names of columns would, but are not the usual ones.",
        f"If they name the columns, call them {parts}; if not, put the line {parts} above.",
    )


def _without(path: Path, thing: str, read: _Read) -> DataError:
    """Why a file that was read holds nothing."""
    if read.broken:
        why = f"none of its rows can be read; line {read.broken[0].line}: {read.broken[0].reason}."
    elif read.unlabelled:
        why = f"none of its {read.unlabelled:,} rows has a label."
    else:
        why = "nothing stands below its first line."
    return DataError(f"{path} has no {thing}", why, f"Give rows of {', '.join(read.known)}.")


def _each_once(path: Path, read: _Read, contradictions: Contradictions) -> tuple[Codes, int, int]:
    """The rows that count, one for each rater on each item, in their order; how many repeat one and how many are overruled.

    Raises:
        DataError: two rows of a rater on an item differ, and the last is not to count.
    """
    item, rater, label = read.codes()
    pair = item * (int(rater.max()) + 1) + rater
    order = np.argsort(pair, kind="stable")
    again = np.flatnonzero(pair[order][1:] == pair[order][:-1])
    if not again.size:
        return np.arange(pair.size), 0, 0
    earlier, later = order[again], order[again + 1]
    differ = label[earlier] != label[later]
    if differ.any() and contradictions == "error":
        a, b = earlier[differ][0], later[differ][0]
        items, raters, labels = read.names()
        what = f"{path}, lines {read.lines[a]} and {read.lines[b]}"
        why = (
            f"rater {shown(raters[rater[a]])} calls item {shown(items[item[a]])} {shown(labels[label[a]])} and then "
            f"{shown(labels[label[b]])}; {int(differ.sum()):,} such contradictions in all."
        )
        raise DataError(what, why, "Correct the file, or let the last one count: --contradictions last")
    kept = np.ones(pair.size, np.bool_)
    kept[earlier] = False
    return np.flatnonzero(kept), int((~differ).sum()), int(differ.sum())
