"""Items of a question: put in, given a known answer, put first, taken out. What is put in twice is there once."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ARRAY, Connection, String, and_, bindparam, case, func, select, update

from heed.errors import DataError, MissingError
from heed.feedback import asked, forms, intake
from heed.feedback.bulk import insert_rows
from heed.feedback.database import batches, rows_among
from heed.feedback.forms import Form
from heed.feedback.item_files import ItemRow
from heed.feedback.kinds import IMPORT_ORIGIN, PromptContent, completion_id
from heed.feedback.records import CompletionRecord
from heed.feedback.showings import has_place
from heed.feedback.studio_schema import items
from heed.texts import cut, shown

_SEARCHED = 4000
"""Characters of an item that a search looks through."""
_AT_ONCE = 500


@dataclass(frozen=True)
class NewItem:
    """An item whose prompt and completions are in the store. ``expected`` is in item order; ``search_text`` for people."""

    prompt_id: str
    completion_ids: tuple[str, ...]
    search_text: str
    source: str
    external_id: str | None = None
    priority: int = 0
    overlap: int | None = None
    purpose: str = "work"
    expected: dict[str, Any] | None = None
    explanation: str = ""


@dataclass(frozen=True)
class AddedItems:
    """What an addition did: the ids in the order given, how many are new and how many were there."""

    ids: tuple[str, ...]
    added: int
    duplicates: int


def item_id(question_id: str, prompt_id: str, completion_ids: Iterable[str]) -> str:
    """Id of an item: ``i`` and 16 hex digits. The order of the completions is no part of it."""
    # As json.dumps([question_id, prompt_id, sorted(completion_ids)]) writes it, which takes four times as long.
    completions = ", ".join(map(json.dumps, sorted(completion_ids)))
    content = f"[{json.dumps(question_id)}, {json.dumps(prompt_id)}, [{completions}]]"
    return "i" + hashlib.sha256(content.encode()).hexdigest()[:16]


def add_items(
    connection: Connection, question_id: str, rows: Sequence[ItemRow], now: datetime, rng: random.Random
) -> AddedItems:
    """Add items with their prompts and completions; those that are there stay as they are.

    Args:
        connection: a transaction that may write. A thousand rows at a time keep it short.
        question_id: which question they are asked under.
        rows: the items.
        now: the time (UTC).
        rng: where chance comes from: the order in which items are asked.

    Raises:
        MissingError: there is no such question. DataError: an item does not fit the question, its known answer is none, or
            its external id belongs to another item.
    """
    form = asked.question(connection, question_id).form
    for row in rows:
        forms.check_item(form, len(row.completions))
    prompt_ids = intake.add_prompts(connection, [(row.prompt, None, row.source) for row in rows])
    records = [
        [CompletionRecord(completion_id(prompt, text, IMPORT_ORIGIN), prompt, text) for text in row.completions]
        for prompt, row in zip(prompt_ids, rows, strict=True)
    ]
    intake.add_completions(connection, [record for found in records for record in found], frozenset(prompt_ids))
    new = [
        NewItem(
            prompt,
            tuple(record.id for record in found),
            searchable(row.prompt, row.completions),
            row.source,
            row.external_id,
            row.priority,
            row.overlap,
            row.purpose,
            None if row.expected is None else forms.check_expected(form, row.expected, len(found)),
            row.explanation,
        )
        for prompt, found, row in zip(prompt_ids, records, rows, strict=True)
    ]
    return add_known_items(connection, question_id, new, now, rng)


def add_known_items(
    connection: Connection, question_id: str, new: Sequence[NewItem], now: datetime, rng: random.Random
) -> AddedItems:
    """As :func:`add_items`, for prompts and completions that are in the store and have been checked.

    Raises:
        MissingError: there is no such question. DataError: an external id belongs to another item.
    """
    form = asked.question(connection, question_id).form
    ids = [item_id(question_id, item.prompt_id, item.completion_ids) for item in new]
    known = {row.id for row in rows_among(connection, select(items.c.id), items.c.id, ids)}
    _check_external_ids(connection, question_id, dict(zip(ids, new, strict=True)))
    rows = {
        identity: _row(identity, question_id, item, form, now, rng)
        for identity, item in zip(ids, new, strict=True)
        if identity not in known
    }
    insert_rows(connection, items, list(rows.values()))
    return AddedItems(tuple(ids), len(rows), len(ids) - len(rows))


def searchable(prompt: PromptContent, completions: Iterable[str]) -> str:
    """What a search for an item looks through: the beginning of its texts, in small letters."""
    turns = [prompt] if isinstance(prompt, str) else [turn.content for turn in prompt]
    found = "\n".join([*turns, *completions])[:_SEARCHED].lower()
    return found.replace("\x00", "")  # which a model may write and PostgreSQL's text refuses


def _row(
    identity: str, question_id: str, item: NewItem, form: Form, now: datetime, rng: random.Random
) -> dict[str, Any]:
    return {
        "id": identity,
        "question_id": question_id,
        "prompt_id": item.prompt_id,
        "completion_ids": list(item.completion_ids),
        "purpose": item.purpose,
        "expected": item.expected,
        "explanation": item.explanation,
        "priority": item.priority,
        "overlap": form.overlap if item.overlap is None else item.overlap,
        "level": 0,
        "answers": 0,
        "available": item.purpose == "work",
        "state": "active",
        "adjudicated": False,
        "random_key": rng.random(),
        "external_id": item.external_id,
        "source": item.source,
        "search_text": item.search_text,
        "created": now,
    }


def _check_external_ids(connection: Connection, question_id: str, new: dict[str, NewItem]) -> None:
    owners: dict[str, str] = {}
    for identity, item in new.items():
        if item.external_id is not None and owners.setdefault(item.external_id, identity) != identity:
            raise _taken(item.external_id)
    for external_id, identity in _owners(connection, question_id, owners):
        if owners[external_id] != identity:
            raise _taken(external_id)


def _owners(connection: Connection, question_id: str, external_ids: Collection[str]) -> Iterator[tuple[str, str]]:
    """(external id, id of the item that has it) of those external ids that are taken."""
    if connection.dialect.name != "postgresql":
        query = select(items.c.external_id, items.c.id).where(items.c.question_id == question_id)
        yield from (tuple(row) for row in rows_among(connection, query, items.c.external_id, external_ids))
        return
    # One by one, inside: for a list PostgreSQL may find it quicker to read all items of the question, and keep that plan
    # when there are many.
    wanted = func.unnest(bindparam("wanted", list(external_ids), ARRAY(String))).column_valued("wanted")
    owner = select(items.c.id).where(items.c.question_id == question_id, items.c.external_id == wanted)
    for external_id, identity in connection.execute(select(wanted, owner.scalar_subquery())):
        if identity is not None:
            yield external_id, identity


def _taken(external_id: str) -> DataError:
    return DataError(
        f"external_id {shown(external_id)}", "it belongs to another item of this question.", "Give the item another."
    )


# What becomes of them


def make_gold(
    connection: Connection,
    item_id: str,
    expected: Any,
    explanation: str,
    purpose: Literal["gold", "training", "qualification"] = "gold",
) -> None:
    """Give an item a known answer. It is asked for work no more; what was answered to it stays.

    Args:
        expected: by field, in item order; it may leave fields open.
        explanation: markdown, shown where the purpose is training or a test that explains.

    Raises:
        MissingError: there is no such item. DataError: it is no answer to the question.
    """
    query = select(items.c.question_id, items.c.completion_ids).where(items.c.id == item_id)
    row = connection.execute(query.with_for_update(key_share=True)).first()
    if row is None:
        raise _missing(item_id)
    form = asked.question(connection, row.question_id).form
    checked = forms.check_expected(form, expected, len(row.completion_ids))
    values = {"purpose": purpose, "expected": checked, "explanation": explanation, "available": False}
    connection.execute(update(items).where(items.c.id == item_id).values(**values))


def make_work(connection: Connection, item_id: str) -> None:
    """Ask for an item as work (again), with no known answer.

    Raises:
        MissingError: there is no such item.
    """
    available = and_(items.c.state == "active", ~items.c.adjudicated, items.c.level < items.c.overlap)
    values = {"purpose": "work", "expected": None, "explanation": "", "available": available}
    if connection.execute(update(items).where(items.c.id == item_id).values(**values)).rowcount != 1:
        raise _missing(item_id)


def set_priority(connection: Connection, item_ids: Sequence[str], priority: int) -> int:
    """Ask items of a higher priority before all of a lower one; how many items there are of those named."""
    return _update(connection, item_ids, {"priority": priority})


def ask_more(connection: Connection, item_ids: Sequence[str], more: int) -> int:
    """Ask ``more`` raters about each of these items than have answered it or were to; how many of them are asked as work.

    Nobody gets an item twice, so these are raters who have not judged it yet. Decided and withdrawn items stay as they are.

    Raises:
        DataError: not one rater more.
    """
    if more < 1:
        raise DataError(f"{more} more answers", "that asks nobody.", "Ask one rater more, or several.")
    asked_as_work = and_(items.c.state == "active", items.c.purpose == "work", ~items.c.adjudicated)
    # In the order in which every transaction locks them.
    pieces = list(batches(sorted(set(item_ids)), _AT_ONCE))
    wider = {"overlap": case((items.c.level > items.c.overlap, items.c.level), else_=items.c.overlap) + more}
    count = sum(
        connection.execute(update(items).where(items.c.id.in_(piece), asked_as_work).values(**wider)).rowcount
        for piece in pieces
    )
    _update(connection, item_ids, {"available": has_place(items.c.level)})
    return count


def ask_fewer(connection: Connection, item_ids: Sequence[str], fewer: int) -> int:
    """Ask ``fewer`` raters about each of these items than they were to be asked of, one at least; how many items there are.

    Whoever holds one may still answer it, and all answers stay.
    """
    left = case((items.c.overlap > fewer, items.c.overlap - fewer), else_=1)
    count = _update(connection, item_ids, {"overlap": left})
    _update(connection, item_ids, {"available": has_place(items.c.level)})
    return count


def withdraw(connection: Connection, item_ids: Sequence[str]) -> int:
    """Ask for items no more; how many there are. Whoever holds one may still answer it, and all answers stay."""
    return _update(connection, item_ids, {"state": "withdrawn", "available": False})


def restore(connection: Connection, item_ids: Sequence[str]) -> int:
    """Ask for withdrawn items again; how many there are."""
    count = _update(connection, item_ids, {"state": "active"})
    _update(connection, item_ids, {"available": has_place(items.c.level)})
    return count


def _update(connection: Connection, item_ids: Sequence[str], values: dict[str, Any]) -> int:
    # In the order in which every transaction locks them.
    pieces = batches(sorted(set(item_ids)), _AT_ONCE)
    return sum(
        connection.execute(update(items).where(items.c.id.in_(piece)).values(**values)).rowcount for piece in pieces
    )


def _missing(item_id: str) -> MissingError:
    return MissingError(f"item {shown(cut(item_id))}", "there is no such item.", "Choose one from the list.")
