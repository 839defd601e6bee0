"""What raters are asked: questions by name, each a form with all its versions. A version never changes; saving adds one."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import Connection, and_, bindparam, func, insert, select, update

from heed.errors import ConfigError, ConflictError, DataError, MissingError
from heed.feedback import selectors
from heed.feedback.forms import Form, parse_form
from heed.feedback.studio_schema import items, question_versions, questions
from heed.texts import name_fault, shown

QuestionState = Literal["open", "paused", "closed"]

TRAINING_QUESTION = "Reward of the policy in training"
"""The question that people find the texts of a policy under whose reward they are; its run waits for their answers. A lead may reword
it, and ask several attributes or a thumb."""

_FORMS: dict[tuple[str, int], Form] = {}
"""Parsed forms. A version never changes and ids are random, so what is here stays right, in whatever database it is."""
_MOST_FORMS = 256


@dataclass(frozen=True)
class Question:
    """A question in its newest version.

    Attributes:
        id: random.
        name: by which people know it; no two questions share one.
        state: "open" is handed out to raters; "paused" not now, "closed" no more.
        version: of the form, from 1.
        form: what is asked.
        note: what the newest version changed.
        author: who wrote the newest version.
        created: when the question was first made (UTC).
        saved: when the newest version was (UTC).
    """

    id: str
    name: str
    state: QuestionState
    version: int
    form: Form
    note: str
    author: str
    created: datetime
    saved: datetime


@dataclass(frozen=True)
class QuestionVersion:
    """One version of a question's form, with who wrote it, when (UTC) and why."""

    version: int
    form: Form
    note: str
    author: str
    created: datetime


def create_question(
    connection: Connection,
    name: str,
    form: Form,
    author: str,
    now: datetime,
    note: str = "",
    state: QuestionState = "open",
) -> Question:
    """A new question, open at once unless ``state`` says otherwise.

    Raises:
        DataError: no fit name, or a selector that there is not. ConflictError: another question has the name.
    """
    _check_name(connection, name)
    _check_selector(form)
    identity = "q" + secrets.token_hex(8)
    row = {"id": identity, "name": name, "state": state, "version": 1, "created": now}
    connection.execute(insert(questions), row)
    _add_version(connection, identity, 1, form, note, author, now)
    return question(connection, identity)


def save_question(
    connection: Connection,
    question_id: str,
    form: Form,
    note: str,
    author: str,
    expected_version: int,
    now: datetime,
    name: str | None = None,
) -> Question:
    """A new version of a question's form, unless it says what the newest one says.

    Items that have the overlap of the form that it replaces take that of the new one. Answers and showings keep the version
    that they were given under.

    Args:
        expected_version: the one that the author began from.
        name: what the question is called from now on; None: as before.

    Raises:
        MissingError: there is no such question. ConflictError: somebody saved another version meanwhile, or another
            question has the name. DataError: no fit name, or a selector that there is not.
    """
    row = connection.execute(
        select(questions.c.version, questions.c.name)
        .where(questions.c.id == question_id)
        .with_for_update(key_share=True)
    ).first()
    if row is None:
        raise _missing(question_id)
    if row.version != expected_version:
        raise ConflictError(
            "the question",
            f"somebody saved version {row.version} while you worked on version {expected_version}.",
            "Look at the newest version and put your change in once more.",
        )
    old = form_of(connection, question_id, row.version)
    if name is not None and name != row.name:
        _check_name(connection, name)
        connection.execute(update(questions).where(questions.c.id == question_id).values(name=name))
    if form == old:
        return question(connection, question_id)
    _check_selector(form)
    _add_version(connection, question_id, row.version + 1, form, note, author, now)
    connection.execute(update(questions).where(questions.c.id == question_id).values(version=row.version + 1))
    if form.overlap != old.overlap:
        _change_overlap(connection, question_id, old.overlap, form.overlap)
    return question(connection, question_id)


def _check_name(connection: Connection, name: str) -> None:
    fault = name_fault(name)
    if fault:
        raise DataError(f"question {shown(name)}", f"{fault}.", "Name it otherwise.")
    if connection.execute(select(questions.c.id).where(questions.c.name == name)).first():
        raise ConflictError(f"question '{name}'", "there is one of this name already.", "Choose another name.")


def _check_selector(form: Form) -> None:
    """See that the queue will know how to choose: else every rater would run into it."""
    try:
        selectors.selector_named(form.selector)
    except ConfigError as error:
        raise DataError(error.what, error.why, error.fix) from None


def set_state(connection: Connection, question_id: str, state: QuestionState) -> None:
    """Open, pause or close a question. Who holds an item of it may still answer that one.

    Raises:
        MissingError: there is no such question. DataError: no such state.
    """
    if state not in get_args(QuestionState):
        raise DataError(
            f"state {shown(state)}", "there is no such state.", f"Use {', '.join(get_args(QuestionState))}."
        )
    if connection.execute(update(questions).where(questions.c.id == question_id).values(state=state)).rowcount != 1:
        raise _missing(question_id)


def question(connection: Connection, question_id: str) -> Question:
    """The question of this id.

    Raises:
        MissingError: there is none.
    """
    found = _questions(connection, questions.c.id == question_id)
    if not found:
        raise _missing(question_id)
    return found[0]


def question_named(connection: Connection, name: str) -> Question | None:
    """The question of this name, if there is one."""
    found = _questions(connection, questions.c.name == name)
    return found[0] if found else None


def questions_asked(connection: Connection) -> list[Question]:
    """All questions in the order in which they were made."""
    return _questions(connection)


def versions(connection: Connection, question_id: str) -> list[QuestionVersion]:
    """All versions of a question's form, oldest first."""
    table = question_versions
    rows = connection.execute(select(table).where(table.c.question_id == question_id).order_by(table.c.version))
    return [
        QuestionVersion(
            row.version, _parsed(question_id, row.version, row.definition), row.note, row.author, row.created
        )
        for row in rows
    ]


_DEFINITION = select(question_versions.c.definition).where(
    question_versions.c.question_id == bindparam("question"), question_versions.c.version == bindparam("version")
)


def form_of(connection: Connection, question_id: str, version: int) -> Form:
    """The form of one version of a question; those used before come from memory.

    Raises:
        MissingError: there is none.
    """
    known = _FORMS.get((question_id, version))
    if known is not None:
        return known
    row = connection.execute(_DEFINITION, {"question": question_id, "version": version}).first()
    if row is None:
        raise _missing(question_id)
    return _parsed(question_id, version, row.definition)


def _parsed(question_id: str, version: int, definition: Any) -> Form:
    form = _FORMS.get((question_id, version)) or parse_form(definition)
    if len(_FORMS) >= _MOST_FORMS:
        _FORMS.clear()
    _FORMS[question_id, version] = form
    return form


def _questions(connection: Connection, *conditions: Any) -> list[Question]:
    table = question_versions
    newest = and_(table.c.question_id == questions.c.id, table.c.version == questions.c.version)
    columns = (table.c.definition, table.c.note, table.c.author, table.c.created.label("saved"))
    query = select(questions, *columns).join(table, newest).where(*conditions).order_by(questions.c.number)
    return [
        Question(
            row.id,
            row.name,
            row.state,
            row.version,
            _parsed(row.id, row.version, row.definition),
            row.note,
            row.author,
            row.created,
            row.saved,
        )
        for row in connection.execute(query)
    ]


def _add_version(
    connection: Connection, question_id: str, version: int, form: Form, note: str, author: str, now: datetime
) -> None:
    row = {"question_id": question_id, "version": version, "definition": form.model_dump(mode="json")}
    connection.execute(insert(question_versions), row | {"note": note, "author": author, "created": now})


def _change_overlap(connection: Connection, question_id: str, old: int, new: int) -> None:
    wanted = and_(items.c.question_id == question_id, items.c.overlap == old)
    open_to_work = and_(items.c.state == "active", items.c.purpose == "work", ~items.c.adjudicated)
    available = and_(open_to_work, items.c.level < new)
    connection.execute(update(items).where(wanted).values(overlap=new, available=available))


def count_items(connection: Connection, question_id: str) -> int:
    """How many items a question has, of every purpose and state."""
    query = select(func.count()).select_from(items).where(items.c.question_id == question_id)
    return connection.scalar(query) or 0


def _missing(question_id: str) -> MissingError:
    return MissingError(f"question {shown(question_id)}", "there is no such question.", "Choose one from the list.")
