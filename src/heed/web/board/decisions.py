"""What a lead does to an item by the forms of HTML. What is refused comes back as it was typed, with the reason beside it."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import FormData
from starlette.responses import Response

from heed.errors import DataError
from heed.web.board import answer_form
from heed.web.board.common import ItemId, checked
from heed.web.board.disagreements import page_of_disputed
from heed.web.board.items import (
    Decision,
    ItemChange,
    KnownAnswer,
    change,
    decide,
    detail,
    make_gold,
    page_of_item,
    take_back,
)
from heed.web.call import Call, Called


async def _filled(call: Call, item_id: str, given: FormData) -> dict[str, Any]:
    """The answer in the form that was sent, in item order."""
    found, question, _ = await call.read(lambda connection: detail(connection, item_id))
    answer = answer_form.read_answer(question.form, len(found.completions), given)
    named: dict[str, Any] = answer_form.in_item_words(question.form, answer)
    return named


async def decide_by_form(call: Called, item_id: ItemId) -> Response:
    """Decide, and go on to the next disputed item or back to this one."""
    given = await call.request.form()
    in_queue = given.get("next") == "queue"
    texts = {name: str(given.get(name, "")) for name in ("note", "explanation")}
    try:
        answer = await _filled(call, item_id, given)
        said = checked(Decision, texts | {"answer": answer, "make_gold": bool(given.get("gold"))})
        explanation = said.explanation if said.make_gold else None
        await call.write(lambda c: decide(call, c, item_id, said.answer, said.note, explanation))
    except DataError as fault:
        typed = answer_form.typed(given)
        if in_queue:
            return await page_of_disputed(call, None, item_id, typed=typed, fault=fault)
        return await page_of_item(call, item_id, typed=typed, fault=fault)
    # The queue goes on to the next item, and offers to take this decision back.
    on = f"/board/disagreements?last={item_id}&" if in_queue else f"/board/items/{item_id}?"
    return call.redirect(f"{on}done=adjudicated")


async def take_back_by_form(call: Called, item_id: ItemId) -> Response:
    """Take the decision on an item back, and show the item."""
    given = await call.request.form()
    await call.write(lambda c: take_back(call, c, item_id))
    on = f"/board/disagreements?item={item_id}&" if given.get("next") == "queue" else f"/board/items/{item_id}?"
    return call.redirect(f"{on}done=taken_back")


async def gold_by_form(call: Called, item_id: ItemId) -> Response:
    """Give the item the known answer that was filled in."""
    given = await call.request.form()
    texts = {"explanation": str(given.get("explanation", "")), "purpose": given.get("purpose", "gold")}
    try:
        answer = await _filled(call, item_id, given)
        wanted = checked(KnownAnswer, texts | {"expected": answer})
        await call.write(lambda c: make_gold(call, c, item_id, wanted.expected, wanted.explanation, wanted.purpose))
    except DataError as fault:
        return await page_of_item(call, item_id, typed_gold=answer_form.typed(given), fault=fault)
    return call.redirect(f"/board/items/{item_id}?done=gold")


async def change_by_form(call: Called, item_id: ItemId) -> Response:
    """Set priority, withdraw or restore, as the button says."""
    given = await call.request.form()
    values = {key: given[key] for key in ("priority", "state", "purpose") if given.get(key)}
    wanted = checked(ItemChange, values)
    await call.write(lambda c: change(call, c, item_id, wanted))
    done = {"withdrawn": "withdrawn", "active": "restored", "work": "restored"}.get(
        wanted.state or wanted.purpose or "", "priority"
    )
    return call.redirect(f"/board/items/{item_id}?done={done}")
