"""Items with a known answer: gold, training and qualification, and how raters do on each."""

from __future__ import annotations

from pydantic import Field
from starlette.responses import HTMLResponse, JSONResponse, Response

from heed.feedback import asked, explorer
from heed.feedback.explorer import ItemFilter, ItemSummary
from heed.lazily import np
from heed.raters.agreement import Measured, measured, undefined
from heed.raters.progress import agreed_items
from heed.raters.statistics import agreement_by_field, agreement_with_others
from heed.statistics import Record, wilson_interval
from heed.web.board.common import PAGE_SIZE, Before, Choice, Done, ItemId, Purpose, board_page, numbers
from heed.web.board.items import Changed, ItemChange, as_json, change
from heed.web.board.watch import Numbers
from heed.web.call import Called

SUGGESTED = 10


class GoldItem(Record):
    """An item with a known answer and how far the answers to it meet that."""

    item: dict[str, object]
    accuracy: Measured = Field(description="mean share of the known answer that was met")


class GoldItems(Record):
    """Items with a known answer, the newest first; ``next`` is the ``before`` of the page that follows."""

    items: tuple[GoldItem, ...]
    next: int | None


def accuracy_on(counted: Numbers, item_id: str) -> Measured:
    """How far the answers to one item meet its known answer."""
    answers = counted.answers
    if item_id not in counted.item_numbers:
        return undefined("nothing", "Nobody has answered it yet.", "Wilson score")
    shares = answers.correct[answers.item == counted.item_numbers[item_id]]
    shares = shares[np.isfinite(shares)]
    if not shares.size:
        return undefined("nothing", "Nobody has answered it yet.", "Wilson score")
    return measured(wilson_interval(min(float(shares.sum()), shares.size), shares.size))


async def gold_page(
    call: Called, question: Choice = None, purpose: Purpose = None, before: Before = None, done: Done = None
) -> HTMLResponse:
    """Items with a known answer, and agreed items that could be made gold."""
    counted = await numbers(call, fresh=done is not None)
    purpose = "gold" if purpose in (None, "work") else purpose
    shares = agreement_by_field(counted.answers, counted.excluded)
    agreed = agreed_items(counted.answers, agreement_with_others(counted.answers, counted.excluded), shares)
    ids = [one.item for one in agreed if question in (None, one.question)][: 5 * SUGGESTED]
    found, suggested, questions = await call.read(
        lambda connection: (
            explorer.find_items(connection, ItemFilter(question, purpose), before, PAGE_SIZE + 1),
            explorer.summaries(connection, ids),
            asked.questions_asked(connection),
        )
    )
    return await board_page(
        call,
        "gold",
        "gold",
        found=[(one, accuracy_on(counted, one.id)) for one in found[:PAGE_SIZE]],
        older=found[PAGE_SIZE - 1].number if len(found) > PAGE_SIZE else None,
        before=before,
        suggested=[one for one in suggested if _may_become_gold(one)][:SUGGESTED],
        questions=questions,
        wanted=question,
        purpose=purpose,
        done=done,
    )


def _may_become_gold(one: ItemSummary) -> bool:
    return one.purpose == "work" and one.state == "active"


async def gold_items(
    call: Called, question: Choice = None, purpose: Purpose = "gold", before: Before = None
) -> JSONResponse:
    """Items with a known answer and how raters do on each."""
    counted = await numbers(call)
    wanted = ItemFilter(question, purpose or "gold")
    found = await call.read(lambda connection: explorer.find_items(connection, wanted, before, PAGE_SIZE))
    made = tuple(GoldItem(item=as_json(one), accuracy=accuracy_on(counted, one.id)) for one in found)
    following = found[-1].number if len(found) == PAGE_SIZE else None
    return JSONResponse(GoldItems(items=made, next=following).model_dump(mode="json"))


async def retire(call: Called, item_id: ItemId) -> Response:
    """Hand an item with a known answer out no more."""

    def work(connection: object) -> Changed:
        return change(call, connection, item_id, ItemChange(state="withdrawn"))  # type: ignore[arg-type]

    return await call.reply(work)


async def retire_by_form(call: Called, item_id: ItemId) -> Response:
    """Hand an item out no more, and go back to the list."""
    await call.write(lambda connection: change(call, connection, item_id, ItemChange(state="withdrawn")))
    return call.redirect("/board/gold?done=retired")
