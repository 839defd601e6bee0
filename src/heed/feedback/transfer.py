"""Feedback between files and the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from sqlalchemy import Connection, Select, func, select

from heed.errors import DataError
from heed.feedback import intake, schema
from heed.feedback.database import batches, rows_among
from heed.feedback.formats import BrokenRow, ImportReport, Row
from heed.feedback.store import CompletionRecord, Store, StoredFeedback
from heed.feedback.studio_schema import answer_feedback, answers

ROWS_AT_ONCE = 1000


def import_rows(store: Store, rows: Iterable[Row | BrokenRow], progress: Callable[[int], None]) -> ImportReport:
    """Put rows with their prompts and completions into the store, in pieces; what is there already stays as it is.

    Rows that the store refuses, such as a correction of an answer that is nowhere, are broken like those that cannot be
    read; the others of their piece go in.

    Args:
        store: where to.
        rows: as ``heed.feedback.formats.read_rows`` gives them.
        progress: called with the number of rows read so far, after each piece.
    """
    report = ImportReport()
    read = 0
    for piece in batches(rows, ROWS_AT_ONCE):
        done = store.write(lambda connection, piece=piece: add_piece(connection, piece))  # type: ignore[misc]
        report.imported += done.imported
        report.duplicates += done.duplicates
        report.broken += done.broken
        report.ignored.update(done.ignored)
        read += len(piece)
        progress(read)
    report.broken.sort(key=lambda row: row.line)
    return report


def add_piece(connection: Connection, piece: Sequence[Row | BrokenRow]) -> ImportReport:
    """Add the good rows among ``piece`` with their prompts and completions, in the caller's transaction."""
    report = ImportReport(broken=[row for row in piece if isinstance(row, BrokenRow)])
    good = [row for row in piece if isinstance(row, Row)]
    for row in good:
        report.ignored.update(row.ignored)
    try:
        with connection.begin_nested():
            _add(connection, good, report)
    except DataError:
        # One of them is at fault: one by one, the others go in.
        for row in good:
            try:
                with connection.begin_nested():
                    _add(connection, [row], report)
            except DataError as error:
                report.broken.append(BrokenRow(row.line, f"{error.what}: {error.why.removesuffix('.')}"))
    return report


def _add(connection: Connection, rows: Sequence[Row], report: ImportReport) -> None:
    records = [
        CompletionRecord(identity, row.feedback.prompt_id, text)
        for row in rows
        for identity, text in zip(row.feedback.completion_ids, row.completions, strict=True)
    ]
    table = schema.completions
    known = rows_among(connection, select(table.c.id, table.c.text), table.c.id, [record.id for record in records])
    texts = {row.id: row.text for row in known}
    for record in records:
        # Ids may be given in the file: one that is taken here must mean the same text, or the judgment would change.
        if texts.setdefault(record.id, record.text) != record.text:
            raise DataError(f"completion {record.id}", "this id belongs to another text.", "Correct the id.")
    prompts = intake.add_prompts(connection, [(row.prompt, None, row.feedback.source) for row in rows])
    intake.add_completions(connection, records, frozenset(prompts))
    result = intake.add_feedback(connection, [row.feedback for row in rows])
    report.imported += result.added
    report.duplicates += result.duplicates


def stored_rows(store: Store, include_superseded: bool, question_id: str | None = None) -> Iterator[Row]:
    """Every judgment of the store with its texts, in the order they were given, as the store is at the first one.

    Holds one page of rows at a time, however many there are.

    Args:
        store: where from.
        include_superseded: also answers that were corrected later, before their corrections.
        question_id: what answers to this question of the studio became, alone.
    """
    for _, page in stored_pages(store, include_superseded, question_id=question_id):
        yield from page


def stored_pages(
    store: Store,
    include_superseded: bool,
    after: int = 0,
    until: int | None = None,
    question_id: str | None = None,
) -> Iterator[tuple[int, list[Row]]]:
    """As :func:`stored_rows`, in pages, each with the row number behind which the next one begins.

    Args:
        store: where from.
        include_superseded: also answers that were corrected later.
        after: row number behind which to begin.
        until: last row number; None for the newest (see :meth:`Store.newest_feedback`).
        question_id: what answers to this question of the studio became, alone.
    """
    among = None if question_id is None else _of_question(question_id)
    for number, page in store.feedback_pages(include_superseded, after, until, among):
        yield number, list(_with_texts(store, page))


def count_feedback(store: Store, include_superseded: bool, until: int, question_id: str | None = None) -> int:
    """How many judgments :func:`stored_pages` gives."""
    table = schema.feedback
    query = select(func.count()).select_from(table).where(table.c.number <= until)
    if not include_superseded:
        query = query.where(~intake.superseded(until=until))
    if question_id is not None:
        query = query.where(table.c.id.in_(_of_question(question_id)))
    with store.reading() as connection:
        return connection.scalar(query) or 0


def _of_question(question_id: str) -> Select[tuple[str]]:
    both = answer_feedback.join(answers, answers.c.id == answer_feedback.c.answer_id)
    return select(answer_feedback.c.feedback_id).select_from(both).where(answers.c.question_id == question_id)


def _with_texts(store: Store, piece: Sequence[StoredFeedback]) -> Iterator[Row]:
    judged = {identity for entry in piece for identity in entry.feedback.completion_ids}
    texts = {record.id: record.text for record in store.completions(ids=sorted(judged))}
    asked = sorted({entry.feedback.prompt_id for entry in piece})
    prompts = {record.id: record.content for record in store.prompts(ids=asked)}
    for entry in piece:
        feedback = entry.feedback
        yield Row(prompts[feedback.prompt_id], tuple(texts[one] for one in feedback.completion_ids), feedback)
