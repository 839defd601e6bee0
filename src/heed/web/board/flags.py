"""What raters raised about items."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Form, Query
from pydantic import AwareDatetime, Field
from sqlalchemy import Connection
from starlette.responses import HTMLResponse, JSONResponse, Response

from heed.feedback import explorer
from heed.feedback.flags import LONGEST_RESOLUTION, resolve_flag
from heed.feedback.kinds import Text
from heed.people import audit
from heed.statistics import Record
from heed.web.board.common import Body, Done, ItemId, board_page, numbers
from heed.web.board.items import as_json
from heed.web.call import Call, Called

State = Annotated[Literal["open", "resolved"], Query()]


class Flags(Record):
    """Flags, the newest first; ``next`` is the ``before`` of the page that follows."""

    flags: tuple[dict[str, Any], ...]
    next: str | None


class Resolution(Body):
    """How a flag was settled."""

    resolution: Text = Field(min_length=1, max_length=LONGEST_RESOLUTION)


class Resolved(Record):
    """The flag that was settled."""

    id: str


async def flags_page(
    call: Called, state: State = "open", before: AwareDatetime | None = None, done: Done = None
) -> HTMLResponse:
    """Flags that wait, or those that are settled."""
    if done:
        await numbers(call, fresh=True)
    found, summaries = await call.read(lambda connection: _flags(connection, state, before))
    return await board_page(call, "flags", "flags", found=found, summaries=summaries, state=state, done=done)


def _flags(connection: Connection, state: str, before: AwareDatetime | None) -> tuple[Any, Any]:
    found = explorer.flags_of(connection, resolved=state == "resolved", before=before)
    return found, {one.id: one for one in explorer.summaries(connection, [flag.item_id for flag in found])}


async def flags(call: Called, state: State = "open", before: AwareDatetime | None = None) -> JSONResponse:
    """Flags that wait, or those that are settled, the newest first."""
    found, _ = await call.read(lambda connection: _flags(connection, state, before))
    following = found[-1].created.isoformat() if len(found) == explorer.MOST_ON_A_PAGE else None
    return JSONResponse(Flags(flags=tuple(as_json(one) for one in found), next=following).model_dump(mode="json"))


def _resolve(call: Call, connection: Connection, flag_id: str, resolution: str) -> Resolved:
    item = resolve_flag(connection, flag_id, resolution, call.account.name, call.now)
    details = {"item": item, "resolution": resolution}
    audit.record(connection, call.account.name, "flag.resolve", flag_id, details, call.now)
    return Resolved(id=flag_id)


async def resolve(call: Called, flag_id: ItemId, body: Resolution) -> Response:
    """Settle a flag with a word on how."""
    return await call.reply(lambda connection: _resolve(call, connection, flag_id, body.resolution))


async def resolve_by_form(
    call: Called, flag_id: ItemId, resolution: Annotated[Text, Form(max_length=LONGEST_RESOLUTION)] = ""
) -> Response:
    """Settle a flag, and go back to the list."""
    await call.write(lambda connection: _resolve(call, connection, flag_id, resolution))
    return call.redirect("/board/flags?done=resolved")
