"""The store: prompts, completions, raters and what people said of them. Feedback is only ever added.

Identities are hashes of content, so whatever is put in twice is there once. Every call that adds returns after its last
transaction is on the disk: what it acknowledged survives ``kill -9``. Everything reads in the order it was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Select, Table, func, select
from sqlalchemy.exc import DBAPIError

from heed.feedback import database, intake, schema
from heed.feedback.kinds import AnyFeedback, PromptContent, parse_feedback
from heed.feedback.records import AddResult, CompletionRecord, PromptRecord, RaterKind, RaterRecord, StoredFeedback

__all__ = ["AddResult", "CompletionRecord", "PromptRecord", "RaterKind", "RaterRecord", "Store", "StoredFeedback"]

ROWS_PER_TRANSACTION = 1000
"""Small enough that a large import never blocks another writer for long, large enough to be quick."""

_TRIES = 4

T = TypeVar("T")


class Store:
    """The database of a project.

    Args:
        url: ``sqlite:///PATH`` or ``postgresql://...``; a database that is not there is made, an older one is migrated.

    Raises:
        ProjectError: the database cannot be opened (see :func:`heed.feedback.database.open_database`). Every method
            raises it when the disk is full, the file read-only or damaged, or the server away.
    """

    def __init__(self, url: str | URL) -> None:
        self.engine = database.open_database(url)

    @classmethod
    def open(cls, url: str | URL) -> Store:
        """Open or make the database at ``url``."""
        return cls(url)

    def close(self) -> None:
        self.engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reading(self, *, in_passing: bool = False) -> AbstractContextManager[Connection]:
        """A transaction that reads one state of the database; ``in_passing``: see :func:`heed.feedback.database.reading`."""
        return database.reading(self.engine, in_passing=in_passing)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in one transaction; it is on the disk when this returns. It may be done several times."""
        for _ in range(_TRIES - 1):
            try:
                with database.writing(self.engine) as connection:
                    return work(connection)
            except DBAPIError as error:
                if not database.worth_another_try(error):
                    raise
        with database.writing(self.engine) as connection:
            return work(connection)

    # Prompts

    def add_prompts(self, prompts: Iterable[tuple[PromptContent, str | None, str]]) -> list[str]:
        """Add prompts, each ``(content, split, source)``, and return their ids in the order given.

        A prompt that is there already keeps its split and source. Split None means no opinion: it fits any split, and a new
        prompt goes into "train".

        Raises:
            DataError: a prompt is empty, or stands in another split already: training on it would spoil the test.
        """
        ids: list[str] = []
        for chunk in database.batches(prompts, ROWS_PER_TRANSACTION):
            ids += self.write(lambda connection, chunk=chunk: intake.add_prompts(connection, chunk))  # type: ignore[misc]
        return ids

    def prompts(
        self, split: str | None = None, limit: int | None = None, ids: Sequence[str] | None = None
    ) -> list[PromptRecord]:
        """Prompts, optionally of one split, the first ``limit`` of them, or those named by ``ids``."""
        table = schema.prompts
        query = select(table)
        if split is not None:
            query = query.where(table.c.split == split)
        with self.reading() as connection:
            rows = _rows(connection, query, table, {table.c.id: ids}, limit)
        return [
            PromptRecord(row.id, intake.CONTENT.validate_python(row.content), row.split, row.source) for row in rows
        ]

    # Raters

    def add_raters(self, raters: Iterable[tuple[str, RaterKind, str]]) -> AddResult:
        """Add raters, each ``(name, kind, group)``; one that is there already takes the group given.

        Raises:
            DataError: an empty or overlong name, an unknown kind, or a name that is taken by a rater of another kind.
        """
        records = [RaterRecord(*rater) for rater in raters]
        return self.write(lambda connection: intake.add_raters(connection, records))

    def raters(self) -> list[RaterRecord]:
        """All raters."""
        with self.reading() as connection:
            rows = connection.execute(select(schema.raters).order_by(schema.raters.c.number)).all()
        return [RaterRecord(row.name, row.kind, row.group_name) for row in rows]

    # Completions

    def add_completions(self, completions: Iterable[CompletionRecord]) -> AddResult:
        """Add completions.

        Raises:
            DataError: the prompt or the run of a completion is not in the store.
        """
        added = total = 0
        for chunk in database.batches(completions, ROWS_PER_TRANSACTION):
            total += len(chunk)
            added += self.write(lambda connection, chunk=chunk: intake.add_completions(connection, chunk))  # type: ignore[misc]
        return AddResult(added, total - added)

    def completions(
        self,
        run_id: str | None = None,
        ids: Sequence[str] | None = None,
        prompt_ids: Sequence[str] | None = None,
    ) -> list[CompletionRecord]:
        """Completions that meet every condition given."""
        table = schema.completions
        query = select(table)
        if run_id is not None:
            query = query.where(table.c.run_id == run_id)
        with self.reading() as connection:
            rows = _rows(connection, query, table, {table.c.id: ids, table.c.prompt_id: prompt_ids})
        return [
            CompletionRecord(
                row.id, row.prompt_id, row.text, row.run_id, row.sample_index, row.tokens, row.finished, row.logprob
            )
            for row in rows
        ]

    # Feedback

    def add_feedback(self, feedback: Iterable[AnyFeedback]) -> AddResult:
        """Add judgments; all are on the disk when this returns.

        Goes in by transactions of ``ROWS_PER_TRANSACTION`` rows: after an error or a crash the rows of the transactions
        before it are in, and adding everything again adds the rest. A rater who is not known yet is entered as a person
        (kind "human") and named in the result.

        Raises:
            DataError: a prompt or a completion is not in the store or they do not belong together; or a correction
                supersedes what is not there, was superseded before, or was said by another rater or of another prompt.
        """
        added = duplicates = 0
        new_raters: list[str] = []
        for chunk in database.batches(feedback, ROWS_PER_TRANSACTION):
            result = self.write(lambda connection, chunk=chunk: intake.add_feedback(connection, chunk))  # type: ignore[misc]
            added, duplicates = added + result.added, duplicates + result.duplicates
            new_raters += result.new_raters
        return AddResult(added, duplicates, tuple(new_raters))

    def add_answer(self, answer: AnyFeedback) -> str:
        """Add what a rater who is being asked has answered, unless this rater has answered the same question before.

        It is the same question where kind, prompt and completions are the same, in whatever order. Looking and adding are
        one transaction, so that two sessions of one rater never leave two answers. A correction goes in where it
        supersedes the answer that stands.

        Returns:
            The id of the answer that stands: of this one, or of the one that was there.

        Raises:
            DataError: as for :meth:`add_feedback`.
        """
        return self.write(lambda connection: intake.add_answer(connection, answer))

    def feedback(
        self,
        kinds: Sequence[str] | None = None,
        raters: Sequence[str] | None = None,
        include_superseded: bool = False,
        ids: Sequence[str] | None = None,
    ) -> list[StoredFeedback]:
        """Judgments that meet every condition given, without those that a correction has superseded."""
        table = schema.feedback
        query = select(table)
        if not include_superseded:
            query = query.where(~intake.superseded())
        conditions = {table.c.kind: kinds, table.c.rater: raters, table.c.id: ids}
        with self.reading() as connection:
            rows = _rows(connection, query, table, conditions)
        return [StoredFeedback(row.id, parse_feedback(row.record)) for row in rows]

    def newest_feedback(self) -> int:
        """Row number of the judgment that was written last; 0 before the first."""
        with self.reading() as connection:
            return connection.scalar(select(func.max(schema.feedback.c.number))) or 0

    def feedback_pages(
        self,
        include_superseded: bool = False,
        after: int = 0,
        until: int | None = None,
        among: Select[tuple[str]] | None = None,
    ) -> Iterator[tuple[int, list[StoredFeedback]]]:
        """Judgments in the order they were given, a page at a time, each with the row number to go on from.

        Together the pages are one state of the store, though each is read by itself: rows are only ever added, so those up
        to a row number are what there was then, and a correction written later does not count yet.

        Args:
            include_superseded: also answers that were corrected.
            after: row number behind which to begin.
            until: last row number; the newest at the first page where None.
            among: selects the ids of those that are wanted; all where None.
        """
        table = schema.feedback
        last = self.newest_feedback() if until is None else until
        query = select(table).where(table.c.number <= last).order_by(table.c.number).limit(ROWS_PER_TRANSACTION)
        if not include_superseded:
            query = query.where(~intake.superseded(until=last))
        if among is not None:
            query = query.where(table.c.id.in_(among))
        while after < last:
            with self.reading(in_passing=True) as connection:
                rows = connection.execute(query.where(table.c.number > after)).all()
            if not rows:
                return
            after = rows[-1].number
            yield after, [StoredFeedback(row.id, parse_feedback(row.record)) for row in rows]

    def counts(self) -> dict[str, int]:
        """Rows by table; ``feedback`` counts all judgments, ``superseded`` those of them that were corrected."""
        tables = (schema.prompts, schema.completions, schema.raters, schema.feedback, schema.runs)
        with self.reading() as connection:
            counts = {table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables}
            corrected = select(func.count(schema.feedback.c.supersedes))
            return counts | {"superseded": connection.scalar(corrected) or 0}


def _rows(
    connection: Connection,
    query: Select[Any],
    table: Table,
    conditions: dict[Any, Sequence[str] | None],
    limit: int | None = None,
) -> list[Any]:
    """Rows of ``query`` in the order they were written, where each column of ``conditions`` is among its values."""
    wanted = {key: set(values) for key, values in conditions.items() if values is not None}
    if not wanted:
        return list(connection.execute(query.order_by(table.c.number).limit(limit)))
    # The shortest list goes to the database; the others, which may be longer than a query takes, are met here.
    first = min(wanted, key=lambda key: len(wanted[key]))
    rows = database.rows_among(connection, query, first, sorted(wanted[first]))
    kept = [row for row in rows if all(getattr(row, key.name) in values for key, values in wanted.items())]
    return sorted(kept, key=lambda row: row.number)[:limit]
