"""The items: found, seen with all their history, decided, made gold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import Query
from markupsafe import Markup
from pydantic import BeforeValidator, Field, TypeAdapter
from sqlalchemy import Connection
from starlette.responses import HTMLResponse, JSONResponse, Response

from heed.errors import DataError, MissingError
from heed.feedback import adjudication, asked, explorer, items
from heed.feedback.asked import Question
from heed.feedback.blindness import model_names, tells_its_author
from heed.feedback.explorer import ItemDetail, ItemFilter
from heed.feedback.forms import Form
from heed.feedback.kinds import Text
from heed.feedback.showings import Rater
from heed.people import audit, exclusions
from heed.project import Project
from heed.statistics import Record
from heed.texts import shown
from heed.web.board import answer_form, suggestions
from heed.web.board.common import (
    PAGE_SIZE,
    Before,
    Body,
    Choice,
    Done,
    ItemId,
    Limit,
    Purpose,
    SearchText,
    board_page,
    numbers,
)
from heed.web.call import Call, Called
from heed.web.errors import status_of
from heed.web.rendering import beside_the_loop
from heed.web.studio.content import CONTENTS

State = Annotated[
    Literal["open", "done", "withdrawn", "adjudicated"] | None,
    BeforeValidator(lambda value: None if value == "" else value),
    Query(),
]
_LONGEST_EXPLANATION = 20_000


class ItemList(Record):
    """A page of items, the newest first; ``next`` is the ``before`` of the page that follows, null on the last one."""

    items: tuple[dict[str, Any], ...]
    next: int | None


class ItemHistory(Record):
    """An item with every answer, showing and flag. Answers are in item order."""

    item: dict[str, Any]


class Decision(Body):
    """What a lead decides: an answer in item order, and whether it becomes the known answer of the item as well."""

    answer: dict[str, Any]
    note: Text = Field("", max_length=10_000)
    make_gold: bool = False
    explanation: Text = Field("", max_length=_LONGEST_EXPLANATION)


class KnownAnswer(Body):
    """A known answer in item order. It may leave fields open; those are not compared."""

    expected: dict[str, Any]
    explanation: Text = Field("", max_length=_LONGEST_EXPLANATION)
    purpose: Literal["gold", "training", "qualification"] = "gold"


class ItemChange(Body):
    """What to change about an item; what is left out stays."""

    priority: int | None = Field(None, ge=-1_000_000, le=1_000_000)
    state: Literal["active", "withdrawn"] | None = None
    purpose: Literal["work"] | None = Field(None, description="work: ask for it as work again, without a known answer")


class Changed(Record):
    """The item that was changed."""

    id: str


_JSON = TypeAdapter(dict[str, Any])


def as_json(value: Any) -> dict[str, Any]:
    """A dataclass as plain values, moments as text."""
    made: dict[str, Any] = _JSON.dump_python(asdict(value), mode="json")
    return made


# Finding


async def items_page(
    call: Called,
    question: Choice = None,
    state: State = None,
    purpose: Purpose = None,
    rater: Choice = None,
    text: SearchText = None,
    before: Before = None,
) -> HTMLResponse:
    """Items that meet every condition, page by page."""
    wanted = ItemFilter(question, purpose, state, rater, text)
    found, questions = await call.read(
        lambda connection: (
            explorer.find_items(connection, wanted, before, PAGE_SIZE + 1),
            asked.questions_asked(connection),
        )
    )
    return await board_page(
        call,
        "items",
        "items",
        found=found[:PAGE_SIZE],
        older=found[PAGE_SIZE - 1].number if len(found) > PAGE_SIZE else None,
        before=before,
        wanted=wanted,
        questions=questions,
    )


async def find_items(
    call: Called,
    question: Choice = None,
    state: State = None,
    purpose: Purpose = None,
    rater: Choice = None,
    text: SearchText = None,
    before: Before = None,
    limit: Limit = PAGE_SIZE,
) -> JSONResponse:
    """Items that meet every condition, the newest first."""
    wanted = ItemFilter(question, purpose, state, rater, text)
    found = await call.read(lambda connection: explorer.find_items(connection, wanted, before, limit))
    following = found[-1].number if len(found) == limit else None
    return JSONResponse(ItemList(items=tuple(as_json(one) for one in found), next=following).model_dump(mode="json"))


# One


async def item(call: Called, item_id: ItemId) -> JSONResponse:
    """One item with its whole history."""
    found = await call.read(lambda connection: explorer.item_detail(connection, item_id))
    return JSONResponse(ItemHistory(item=as_json(found)).model_dump(mode="json"))


def detail(connection: Connection, item_id: str) -> tuple[ItemDetail, Question, dict[int, Form]]:
    """An item, the question that it belongs to, and every form under which it was answered."""
    found = explorer.item_detail(connection, item_id)
    question = asked.question(connection, found.summary.question_id)
    forms = {
        version: asked.form_of(connection, question.id, version)
        for version in {one.form_version for one in found.answers}
    }
    return found, question, forms


async def texts_shown(form: Form, found: ItemDetail) -> Callable[[str], Markup]:
    """Gives each text of an item as the question's raters read it."""
    plain = form.reading == "plain"
    texts = {one.id: one.text for one in found.completions}
    known = CONTENTS.known(found.prompt_id, found.prompt, texts, plain)

    def make() -> dict[str, Markup]:
        turns = CONTENTS.turns(found.prompt_id, known)
        read = [*turns, *CONTENTS.completions(list(texts), turns, plain, known)]
        return {one.text: Markup(one.html) for one in read}

    return (await beside_the_loop(make)).__getitem__


async def item_page(call: Called, item_id: ItemId, done: Done = None, take: Choice = None) -> HTMLResponse:
    """One item with its whole history."""
    if done:
        await numbers(call, fresh=True)
    return await page_of_item(call, item_id, take=take, done=done)


async def page_of_item(
    call: Call,
    item_id: str,
    *,
    take: str | None = None,
    typed: Mapping[str, Any] | None = None,
    typed_gold: Mapping[str, Any] | None = None,
    fault: DataError | None = None,
    done: str | None = None,
) -> HTMLResponse:
    """The page of an item.

    Args:
        take: id of the answer that the decision begins with; None: the decision, or what most answers say.
        typed: what stands in the form of the decision instead.
        typed_gold: what stands in the form of the known answer, instead of what it is or what the answers agree in.
        fault: why what was typed is refused.
        done: what has just been done.
    """
    (found, question, forms), out = await call.read(lambda c: (detail(c, item_id), exclusions.excluded(c)))
    form = question.form
    return await board_page(
        call,
        "item",
        "items",
        200 if fault is None else status_of(fault)[0],
        item=found,
        question=question,
        forms=forms,
        excluded=out,
        show=await texts_shown(form, found),
        telling=telling(call.project, found),
        decided=beginning(form, forms, found, take) if typed is None else typed,
        expected=_known_answer(form, forms, found) if typed_gold is None else typed_gold,
        deciding=take is not None or typed is not None,
        knowing=typed_gold is not None,
        take_from=f"/board/items/{item_id}?take=",
        fault=fault,
        done=done,
    )


def _known_answer(form: Form, forms: dict[int, Form], found: ItemDetail) -> dict[str, Any]:
    filled = answer_form.filled(form, found.expected or suggestions.agreed_answer(form, forms, found))
    return filled | {"explanation": found.explanation, "purpose": found.summary.purpose}


def beginning(form: Form, forms: dict[int, Form], found: ItemDetail, take: str | None) -> dict[str, Any]:
    """What stands in the form of a decision at first: the answer ``take``, else the decision, else what most answers say."""
    for one in found.answers:
        if one.id == take:
            return answer_form.filled(form, suggestions.taken(form, forms, one))
    decided = suggestions.decision_of(found)
    usual = suggestions.usual_answer(form, forms, suggestions.standing(found))
    return answer_form.filled(form, usual if decided is None else decided)


def telling(project: Project, found: ItemDetail) -> list[str]:
    """The words by which completions of an item tell who wrote them."""
    own = model_names(project.settings)
    return list(filter(None, (tells_its_author(completion.text, own) for completion in found.completions)))


# Changing


def _record(call: Call, connection: Connection, action: str, item_id: str, **details: Any) -> None:
    audit.record(connection, call.account.name, action, item_id, details, call.now)


def decide(
    call: Call, connection: Connection, item_id: str, answer: Any, note: str, explanation: str | None
) -> Changed:
    """Store a decision, and where ``explanation`` is not None make the item gold by it. The answer is in item order."""
    found = explorer.item_detail(connection, item_id)
    form = asked.question(connection, found.summary.question_id).form
    given = answer_form.in_shown_words(form, answer)
    lead = Rater(call.account.name, call.account.group)
    made = adjudication.adjudicate(connection, lead, item_id, given, note, call.now)
    _record(call, connection, "item.adjudicate", item_id, answer=made, note=note)
    if explanation is not None:
        make_gold(call, connection, item_id, answer, explanation, "gold")
    return Changed(id=item_id)


def take_back(call: Call, connection: Connection, item_id: str) -> Changed:
    """Let every decision on an item count no more."""
    count = adjudication.take_back(connection, Rater(call.account.name, call.account.group), item_id, call.now)
    _record(call, connection, "item.decision_undo", item_id, decisions=count)
    return Changed(id=item_id)


def make_gold(
    call: Call, connection: Connection, item_id: str, expected: Any, explanation: str, purpose: Any
) -> Changed:
    """Give an item a known answer in item order."""
    items.make_gold(connection, item_id, expected, explanation, purpose=purpose)
    _record(call, connection, "item.gold", item_id, purpose=purpose, expected=expected, explanation=explanation)
    return Changed(id=item_id)


def change(call: Call, connection: Connection, item_id: str, wanted: ItemChange) -> Changed:
    """Set priority, withdraw, or restore.

    Raises:
        MissingError: there is no such item, whatever is wanted of it.
    """
    if not explorer.summaries(connection, [item_id]):
        raise MissingError(f"item {shown(item_id)}", "there is none with this id.", "Look it up in the list of items.")
    if wanted.priority is not None:
        items.set_priority(connection, [item_id], wanted.priority)
        _record(call, connection, "item.priority", item_id, priority=wanted.priority)
    if wanted.state == "withdrawn":
        items.withdraw(connection, [item_id])
        _record(call, connection, "item.withdraw", item_id)
    if wanted.state == "active":
        items.restore(connection, [item_id])
        _record(call, connection, "item.restore", item_id)
    if wanted.purpose == "work":
        items.make_work(connection, item_id)
        _record(call, connection, "item.work", item_id)
    return Changed(id=item_id)


async def decide_item(call: Called, item_id: ItemId, body: Decision) -> Response:
    """Decide what the right answer to an item is; raters are asked no more about it."""
    explanation = body.explanation if body.make_gold else None
    return await call.reply(lambda c: decide(call, c, item_id, body.answer, body.note, explanation))


async def take_item_decision_back(call: Called, item_id: ItemId) -> Response:
    """Let the decision on an item count no more: its raters' answers are learned from again. A known answer stays."""
    return await call.reply(lambda c: take_back(call, c, item_id))


async def make_item_gold(call: Called, item_id: ItemId, body: KnownAnswer) -> Response:
    """Make an item gold, training or qualification by its known answer."""
    return await call.reply(lambda c: make_gold(call, c, item_id, body.expected, body.explanation, body.purpose))


async def change_item(call: Called, item_id: ItemId, body: ItemChange) -> Response:
    """Set an item's priority, withdraw it, or restore it."""
    return await call.reply(lambda c: change(call, c, item_id, body))
