"""Import jobs: a file read piece by piece, each piece one transaction together with the note of how far it is."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from sqlalchemy import Connection

from heed.errors import DataError
from heed.feedback.blindness import model_names, tells_its_author
from heed.feedback.formats import BrokenRow, FileFormat, Row, read_rows
from heed.feedback.formats.rows import RowError
from heed.feedback.item_files import ItemFormat, ItemRow, parse_item, read_items
from heed.feedback.items import add_items
from heed.feedback.transfer import add_piece
from heed.project import Project
from heed.stages.data import load_prompts
from heed.web.exchange import jobs
from heed.web.exchange.files import naming
from heed.web.exchange.work import Work

ROWS_AT_ONCE = 100
"""About 20 ms of the database: an answer that comes in meanwhile waits no longer than that."""

ROWS_ALONE = 500
"""Where no request has written since the last piece."""

SECONDS_ALONE = 1.0
"""How long pieces go into one transaction while no request has written. Ids are hashes, so that every piece touches pages
all over the indexes: the more rows a transaction has, the fewer pages it writes for each. Whoever comes first waits until the
piece in hand is in and all are on the disk, some 300 ms in a large database, once."""

SECONDS_READING = 0.5
"""How long one piece may take to be read: after each one a job looks whether it was stopped, and whether its process ends."""

_ROWS_PASSED_OVER = 10_000
"""In a piece, where a job goes on."""

PAUSE = 0.004
"""Seconds between pieces, in which other threads get their turn."""

PAUSE_ALONE = 0.03
"""The same after a long transaction, for other processes: one that waits for SQLite looks every 0.1 s whether it is free."""

_UNNAMED = "upload"
"""What a file that came without a name is called in the source of what it held."""

_MOST_NAMED, _MOST_FIELDS = 500, 100
_LONGEST_REASON, _LONGEST_NAME = 300, 80


class Tally(BaseModel):
    """What has come of an import so far: counts, the first broken rows by line and reason, and fields passed over."""

    added: int = 0
    duplicates: int = 0
    broken: int = 0
    named: list[tuple[int, str]] = []
    ignored: dict[str, int] = {}
    telling: int = 0
    telling_named: list[tuple[int, str]] = []

    def plus(
        self,
        added: int,
        duplicates: int,
        broken: Sequence[BrokenRow],
        ignored: Counter[str],
        telling: Sequence[tuple[int, str]] = (),
    ) -> Tally:
        """The counts after one more piece. ``telling``: lines of items that tell who wrote them, with the words."""
        rows = [(row.line, row.reason[:_LONGEST_REASON]) for row in sorted(broken, key=lambda row: row.line)]
        passed_over = Counter(self.ignored)
        for name, count in ignored.items():
            passed_over[name[:_LONGEST_NAME]] += count
        return Tally(
            added=self.added + added,
            duplicates=self.duplicates + duplicates,
            broken=self.broken + len(broken),
            named=(self.named + rows)[:_MOST_NAMED],
            ignored=dict(passed_over.most_common(_MOST_FIELDS)),
            telling=self.telling + len(telling),
            telling_named=[*self.telling_named, *telling][:_MOST_NAMED],
        )


def check_upload(kind: str, path: Path, format: str, name: str) -> None:
    """See at once whether a file, which its owner calls ``name``, can be read at all.

    Raises:
        DataError: it cannot, with the reason.
    """
    with naming(path, name):
        if kind == "import_items":
            _check_format(format, get_args(ItemFormat))
            read_items(path, format)  # type: ignore[arg-type]
        else:
            _check_format(format, get_args(FileFormat))
            read_rows(path, format)  # type: ignore[arg-type]


def _check_format(format: str, known: tuple[str, ...]) -> None:
    if format not in ("auto", *known):
        raise DataError(f"format '{format[:40]}'", "it is not read from.", f"Use auto, {', '.join(known)}.")


def run_import(work: Work) -> None:
    """Read what is left of the file of an import job.

    Raises:
        HeedError: the file cannot be read, or the question is gone.
    """
    path = work.folder.uploaded(work.job.id)
    if not path.is_file():
        raise DataError("the import", "its file is gone.", "Upload it again; what is in is not put in twice.")
    load_own_prompts(work.project)
    add: Adder
    rows: Iterator[Any]
    name = work.job.parameters.get("name", "")
    with naming(path, name):
        if work.job.kind == "import_items":
            add, rows = _ItemAdder(work), read_items(path, work.job.parameters["format"], name or _UNNAMED)
        else:
            add, rows = _FeedbackAdder(work), _feedback_rows(work, path)
        done = _put_all(work, add, _Rows(rows))
    work.submit(lambda connection: jobs.end(connection, work.job.id, work.owner, work.clock(), total=done))
    path.unlink(missing_ok=True)


def _put_all(work: Work, add: Adder, rows: _Rows) -> int:
    """Add what is left of the rows; how many there are in all."""
    _pass_over(work, rows)
    done, report = work.job.done, work.job.report
    size, seconds, asked = ROWS_AT_ONCE, 0.0, work.requests()
    while piece := rows.take(size):
        if len(piece) < size:
            seconds = 0.0  # no more of it, or of a file that is slow to read, while others wait for the database
        done, report = _put(
            work, add, _Pieces(piece, rows, size, seconds, partial(_unasked, work, asked)), done, report
        )
        if _unasked(work, asked):
            size, seconds, pause = min(2 * size, ROWS_ALONE), SECONDS_ALONE, PAUSE_ALONE
        else:
            size, seconds, pause, asked = ROWS_AT_ONCE, 0.0, PAUSE, work.requests()
        work.stopping.wait(pause)
    rows.check()
    return done


def _pass_over(work: Work, rows: _Rows) -> None:
    """Read the rows that are in already, and see meanwhile whether the job is still to be done."""
    left = work.job.done
    while left and (piece := rows.take(min(left, _ROWS_PASSED_OVER))):
        left -= len(piece)
        work.note()


def _unasked(work: Work, asked: int) -> bool:
    """Whether no request has written since ``asked`` of them had."""
    return work.requests() == asked and not work.stopping.is_set()


def _put(work: Work, add: Adder, pieces: _Pieces, done: int, report: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Add pieces and note them, in one transaction; how far the job is then, and what has come of it."""

    def put(connection: Connection) -> dict[str, Any]:
        tally, count = Tally(**report), done
        for piece in pieces:
            tally, count = add(connection, piece, tally), count + len(piece)
        return {"done": count, "report": tally.model_dump(mode="json")}

    values = work.step(put)
    return values["done"], values["report"]


class _Rows:
    """The rows of a file, in pieces that come soon, however much of the file lies between two rows.

    What is wrong with the file ends the rows; :meth:`check` tells it, when those before it are in.
    """

    def __init__(self, rows: Iterator[Any]) -> None:
        self._rows = rows
        self._fault: DataError | None = None

    def take(self, size: int) -> list[Any]:
        """The next rows: as many as ``size``, or as come in ``SECONDS_READING``; none at the end."""
        taken: list[Any] = []
        end = time.monotonic() + SECONDS_READING
        try:
            for row in islice(self._rows, size):
                taken.append(row)
                if time.monotonic() > end:
                    break
        except DataError as error:
            self._fault = error
        return taken

    def check(self) -> None:
        """Tell what ended the rows before their time.

        Raises:
            DataError: something did.
        """
        if self._fault is not None:
            raise self._fault


class _Pieces:
    """Rows for one transaction: a first piece, and more while it is ``alone``.

    A transaction may be done twice: the second time gives the same pieces again.

    Args:
        first: the first piece.
        rows: where more come from.
        size: rows of a piece (count).
        seconds: for how long there are more.
        alone: whether nobody waits for the transaction to end.
    """

    def __init__(self, first: list[Any], rows: _Rows, size: int, seconds: float, alone: Callable[[], bool]) -> None:
        self._taken, self._rows, self._size, self._alone = [first], rows, size, alone
        self._end = time.monotonic() + seconds

    def __iter__(self) -> Iterator[list[Any]]:
        yield from list(self._taken)
        while time.monotonic() < self._end and self._alone() and (piece := self._rows.take(self._size)):
            self._taken.append(piece)
            yield piece
            if len(piece) < self._size:
                return


def load_own_prompts(project: Project) -> None:
    """The project's own prompts go in before anybody else's: their split is the one that counts."""
    file = project.folder / project.settings.prompts
    if file.is_file():
        load_prompts(project.store, file)


Adder = Callable[[Connection, Sequence[Any], Tally], Tally]


class _FeedbackAdder:
    def __init__(self, work: Work) -> None:
        simulated = work.project.settings.raters.simulated
        # As what they are: entered as people they would stand in the way of the simulated ones for ever.
        work.project.store.add_raters([(entry.name, "simulated", entry.group) for entry in simulated])

    def __call__(self, connection: Connection, piece: Sequence[Row | BrokenRow], tally: Tally) -> Tally:
        done = add_piece(connection, piece)
        return tally.plus(done.imported, done.duplicates, done.broken, done.ignored)


def _feedback_rows(work: Work, path: Path) -> Iterator[Row | BrokenRow]:
    """Rows of the file; those of held-out raters are broken ones: who judges the result must not have taught it."""
    held_out = {entry.name for entry in work.project.settings.raters.held_out}
    parameters = work.job.parameters
    for row in read_rows(path, parameters["format"], parameters["rater"], parameters.get("name") or _UNNAMED):
        if isinstance(row, Row) and row.feedback.rater in held_out:
            reason = f"rater '{row.feedback.rater}' is held out in heed.yaml, and judges the result only"
            yield BrokenRow(row.line, reason)
        else:
            yield row


class _ItemAdder:
    def __init__(self, work: Work) -> None:
        self._question: str = work.job.parameters["question_id"]
        self._clock = work.clock
        self._own_names = model_names(work.project.settings)

    def __call__(self, connection: Connection, piece: Sequence[ItemRow | BrokenRow], tally: Tally) -> Tally:
        done = add_item_rows(connection, self._question, piece, self._clock())
        items = [row for row in piece if isinstance(row, ItemRow)]
        told = [(row.line, tells_its_author("\n".join(row.completions), self._own_names)) for row in items]
        telling = [(line, words[:_LONGEST_NAME]) for line, words in told if words]
        return tally.plus(done.added, done.duplicates, done.broken, passed_over(items), telling)


@dataclass(frozen=True)
class ItemsDone:
    """What became of a list of items."""

    added: int
    duplicates: int
    broken: tuple[BrokenRow, ...]


def parse_items(values: Sequence[dict[str, Any]], source: str) -> list[ItemRow | BrokenRow]:
    """Items from plain values; ``line`` of each is its place in the list, from 0."""
    rows: list[ItemRow | BrokenRow] = []
    for place, entry in enumerate(values):
        try:
            rows.append(parse_item(entry, place, source))
        except RowError as error:
            rows.append(BrokenRow(place, str(error)))
    return rows


def passed_over(rows: Sequence[ItemRow | BrokenRow]) -> Counter[str]:
    """How often fields were named that an item has no place for."""
    return Counter(name[:_LONGEST_NAME] for row in rows if isinstance(row, ItemRow) for name in row.ignored)


def add_item_rows(
    connection: Connection, question_id: str, rows: Sequence[ItemRow | BrokenRow], now: datetime
) -> ItemsDone:
    """Add the good ones among ``rows``; what does not fit the question is broken like what cannot be read.

    Raises:
        MissingError: there is no such question.
    """
    broken = [row for row in rows if isinstance(row, BrokenRow)]
    good = [row for row in rows if isinstance(row, ItemRow)]
    rng = random.Random()  # which begins with chance of the system, and asks it no more for each item
    try:
        with connection.begin_nested():
            done = add_items(connection, question_id, good, now, rng)
        return ItemsDone(done.added, done.duplicates, tuple(broken))
    except DataError:
        added = duplicates = 0
    # One of them is at fault: one by one, the others go in.
    for row in good:
        try:
            with connection.begin_nested():
                done = add_items(connection, question_id, [row], now, rng)
            added, duplicates = added + done.added, duplicates + done.duplicates
        except DataError as error:
            broken.append(BrokenRow(row.line, f"{error.what}: {error.why.removesuffix('.')}"))
    return ItemsDone(added, duplicates, tuple(sorted(broken, key=lambda row: row.line)))
