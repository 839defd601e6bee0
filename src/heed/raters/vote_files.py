"""Votes and known labels from plain files, tables as :mod:`heed.raters.tables` reads them.

A file names its columns in its first line, in any order and under any of the usual words, or has just the three of them:
item, rater, label; or it is a wide sheet, see :mod:`heed.raters.wide_sheets`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from heed.errors import DataError
from heed.feedback.formats.rows import BrokenRow
from heed.lazily import np
from heed.raters.coded_tables import CodedTable, Progress, names_unknown, nothing_read, read_table
from heed.raters.column_names import Columns
from heed.raters.misspelt import items_alike, labels_alike, raters_alike, trimmed_told
from heed.raters.votes import Codes, Votes
from heed.raters.wide_sheets import unfolding
from heed.texts import shown

Contradictions = Literal["error", "last"]
"""What to do where one rater gave one item different labels: refuse the file, or let the last one count."""

VOTE_PARTS, GOLD_PARTS, BESIDE = ("item", "rater", "label"), ("item", "label"), ("question", "group", "time")

_LABELS_SHOWN = 5


@dataclass(frozen=True)
class VoteFile:
    """What a file of votes holds.

    Attributes:
        votes: each rater's vote on each item, once.
        columns: which column was read as what.
        read_as: the same, a sentence.
        beside: columns [votes] of what else the file says of a vote: "question", "group" of the rater, "time".
        notes: what somebody should know who reads numbers of it, sentences: names that may be misspelt, columns that may be
            meant.
        repeated: rows that say again what the same rater said of the same item (count).
        contradicted: rows that a later one of the same rater on the same item took the place of (count).
        unlabelled: rows without a label: answers that are missing (count).
        broken: rows that could not be read.
    """

    votes: Votes
    columns: Columns
    read_as: str
    beside: Mapping[str, list[str]]
    notes: tuple[str, ...] = ()
    repeated: int = 0
    contradicted: int = 0
    unlabelled: int = 0
    broken: tuple[BrokenRow, ...] = ()


def read_votes(
    path: Path,
    contradictions: Contradictions = "error",
    named: Mapping[str, str] | None = None,
    wide: Sequence[str] = (),
    progress: Progress = lambda rows: None,
) -> VoteFile:
    """The votes of a file.

    Args:
        path: of a file as the module describes it.
        contradictions: what to do with different labels of one rater for one item.
        named: what the columns of parts are called, where it is none of the usual words.
        wide: the columns of labels of a wide sheet; without them a sheet is taken for one where nothing else is possible.
        progress: hears of the rows.

    Raises:
        DataError: the file cannot be read, is no such table, holds no vote or too many, contradicts itself, or begins with
            what looks like names of columns that are not known.
        ConfigError: a column was named for a part that votes have not.
    """
    unfold = unfolding(path, named or {}, wide)
    read = read_table(path, VOTE_PARTS, BESIDE, named, progress=progress, unfold=unfold)
    if not len(read.lines):
        raise nothing_read(path, "answer", read, VOTE_PARTS)
    _check_first_row(path, read)
    kept, repeated, contradicted = _each_once(path, read, contradictions)
    item, rater, label = (read.codes(part) for part in VOTE_PARTS)
    whole = Votes(item, rater, label, *(read.names(part) for part in VOTE_PARTS))
    votes = whole.where(kept).used().sorted_labels()
    beside = {name: [cells[place] for place in kept.tolist()] for name, cells in read.beside.items()}
    notes = [] if read.wide else read.columns.doubts()
    for part in ("label", "rater"):
        notes += trimmed_told(part, read.known[part].trimmed())
    return VoteFile(
        votes,
        read.columns,
        read.wide or read.columns.told(),
        beside,
        (*notes, *labels_alike(votes), *raters_alike(votes), *items_alike(votes)),
        repeated,
        contradicted,
        read.unlabelled,
        tuple(read.broken),
    )


def read_gold(path: Path, votes: Votes | None = None, named: Mapping[str, str] | None = None) -> dict[str, str]:
    """The known label of each item of a file with the columns item and label.

    Args:
        path: of the file.
        votes: what the labels are for. By these votes every rater is wrong about an item whose known label nobody ever
            gave, which nothing can be learned from, and which is far more often a misspelling than the truth: an error.
        named: what the columns of the votes are called; those that this file has as well are the same here.

    Raises:
        DataError: as for :func:`read_votes`; a row that cannot be read or two labels of one item are errors here.
    """
    read = read_table(path, GOLD_PARTS, named=named, strict=False)
    if read.broken:
        raise DataError(f"{path}, line {read.broken[0].line}", f"{read.broken[0].reason}.", "Correct the known labels.")
    if not len(read.lines):
        raise nothing_read(path, "known label", read, GOLD_PARTS)
    if votes is not None:
        _check_labels(path, read, votes)
    found: dict[str, str] = {}
    for item, label, line in _known_rows(read):
        if found.setdefault(item, label) != label:
            why = f"item {shown(item)} has another known label before: {shown(found[item])}."
            raise DataError(f"{path}, line {line}", why, "Keep the label that is right.")
    return found


def _known_rows(read: CodedTable) -> list[tuple[str, str, int]]:
    """Item, label and line of each row."""
    items, labels = read.names("item"), read.names("label")
    rows = zip(read.coded["item"], read.coded["label"], read.lines, strict=True)
    return [(items[item], labels[label], line) for item, label, line in rows]


def _check_first_row(path: Path, read: CodedTable) -> None:
    """See that the first row is a vote where no line names the columns.

    Raises:
        DataError: what it says occurs nowhere else, neither its item nor its rater nor its label, while other labels do.
    """
    if read.headless is None or read.lines[0] != read.headless:
        return
    columns = [read.codes(part) for part in VOTE_PARTS]
    others = columns[-1][1:]
    if all((column == column[0]).sum() == 1 for column in columns) and np.unique(others).size < others.size:
        raise names_unknown(path, read, VOTE_PARTS)


def _check_labels(path: Path, read: CodedTable, votes: Votes) -> None:
    """See that raters gave the known labels of the items that were voted on.

    Raises:
        DataError: of one nobody did.
    """
    voted = set(votes.items)
    rows = _known_rows(read)
    if read.lines[0] == read.headless and rows[0][0] not in voted and rows[0][1] not in votes.labels:
        raise names_unknown(path, read, GOLD_PARTS)
    known = [row for row in rows if row[0] in voted]
    never = [row for row in known if row[1] not in votes.labels]
    if never:
        item, label, line = never[0]
        why = (
            f"nobody gave any item the label {shown(label)}, which item {shown(item)} has here; {_like(label, votes)}."
        )
        if len(never) > 1:
            why += f" {len(never):,} of {len(known):,} known labels are such."
        fix = (
            "Correct it, or, if it is right, leave the item out: the answers tell nothing of a label that nobody gave."
        )
        raise DataError(f"{path}, line {line}", why, fix)


def _like(label: str, votes: Votes) -> str:
    """What raters gave that may be meant by ``label``."""
    given = {label.casefold(): label for label in votes.labels}
    near = difflib.get_close_matches(label.casefold(), list(given), n=1)
    if near:
        return f"the nearest that was given is {shown(given[near[0]])}"
    some = ", ".join(map(shown, votes.labels[:_LABELS_SHOWN]))
    return f"given were {some}{' and others' if len(votes.labels) > _LABELS_SHOWN else ''}"


def _each_once(path: Path, read: CodedTable, contradictions: Contradictions) -> tuple[Codes, int, int]:
    """The rows that count, one for each rater on each item, in their order; how many repeat one and how many are overruled.

    Raises:
        DataError: two rows of a rater on an item differ, and the last is not to count.
    """
    item, rater, label = (read.codes(part) for part in VOTE_PARTS)
    pair = item * (int(rater.max()) + 1) + rater
    order = np.argsort(pair, kind="stable")
    again = np.flatnonzero(pair[order][1:] == pair[order][:-1])
    if not again.size:
        return np.arange(pair.size), 0, 0
    earlier, later = order[again], order[again + 1]
    differ = label[earlier] != label[later]
    if differ.any() and contradictions == "error":
        a, b = earlier[differ][0], later[differ][0]
        items, raters, labels = (read.names(part) for part in VOTE_PARTS)
        what = f"{path}, lines {read.lines[a]} and {read.lines[b]}"
        why = (
            f"rater {shown(raters[rater[a]])} calls item {shown(items[item[a]])} {shown(labels[label[a]])} and then "
            f"{shown(labels[label[b]])}; {int(differ.sum()):,} such contradictions in all."
        )
        raise DataError(what, why, "Correct the file, or let the last one count: --contradictions last")
    kept = np.ones(pair.size, np.bool_)
    kept[earlier] = False
    return np.flatnonzero(kept), int((~differ).sum()), int(differ.sum())
