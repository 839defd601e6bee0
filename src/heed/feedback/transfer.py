"""Feedback between files and the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from heed.errors import DataError
from heed.feedback.database import batches
from heed.feedback.formats import BrokenRow, ImportReport, Row
from heed.feedback.store import CompletionRecord, Store, StoredFeedback

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
        report.broken += [row for row in piece if isinstance(row, BrokenRow)]
        good = [row for row in piece if isinstance(row, Row)]
        for row in good:
            report.ignored.update(row.ignored)
        _import_piece(store, good, report)
        read += len(piece)
        progress(read)
    report.broken.sort(key=lambda row: row.line)
    return report


def _import_piece(store: Store, rows: Sequence[Row], report: ImportReport) -> None:
    try:
        _add(store, rows, report)
    except DataError:
        # One of them is at fault: one by one, the others go in.
        for row in rows:
            try:
                _add(store, [row], report)
            except DataError as error:
                report.broken.append(BrokenRow(row.line, f"{error.what}: {error.why.removesuffix('.')}"))


def _add(store: Store, rows: Sequence[Row], report: ImportReport) -> None:
    records = [
        CompletionRecord(identity, row.feedback.prompt_id, text)
        for row in rows
        for identity, text in zip(row.feedback.completion_ids, row.completions, strict=True)
    ]
    texts = {known.id: known.text for known in store.completions(ids=[record.id for record in records])}
    for record in records:
        # Ids may be given in the file: one that is taken here must mean the same text, or the judgment would change.
        if texts.setdefault(record.id, record.text) != record.text:
            raise DataError(f"completion {record.id}", "this id belongs to another text.", "Correct the id.")
    store.add_prompts([(row.prompt, None, row.feedback.source) for row in rows])
    store.add_completions(records)
    result = store.add_feedback([row.feedback for row in rows])
    report.imported += result.added
    report.duplicates += result.duplicates


def stored_rows(store: Store, include_superseded: bool) -> Iterator[Row]:
    """Every judgment of the store with its texts, in the order they were given.

    Args:
        store: where from.
        include_superseded: also answers that were corrected later, before their corrections.
    """
    for piece in batches(store.feedback(include_superseded=include_superseded), ROWS_AT_ONCE):
        yield from _with_texts(store, piece)


def _with_texts(store: Store, piece: Sequence[StoredFeedback]) -> Iterator[Row]:
    judged = {identity for entry in piece for identity in entry.feedback.completion_ids}
    texts = {record.id: record.text for record in store.completions(ids=sorted(judged))}
    asked = sorted({entry.feedback.prompt_id for entry in piece})
    prompts = {record.id: record.content for record in store.prompts(ids=asked)}
    for entry in piece:
        feedback = entry.feedback
        yield Row(prompts[feedback.prompt_id], tuple(texts[one] for one in feedback.completion_ids), feedback)
