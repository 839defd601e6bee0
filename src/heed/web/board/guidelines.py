"""What raters are to go by: the editor of the guidelines, their versions, and who has yet to read the newest."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import Form, Query
from pydantic import Field
from sqlalchemy import Connection
from starlette.responses import HTMLResponse, JSONResponse, Response

from heed.errors import ConflictError, DataError
from heed.feedback.kinds import Text
from heed.people import guidelines as domain
from heed.statistics import Record
from heed.web.board.common import Body, Done, board_page
from heed.web.call import Call, Called
from heed.web.errors import status_of
from heed.web.rendering import rendered
from heed.web.values import LARGEST, Whole


class GuidelineShown(Record):
    """A version of the guidelines: markdown, and what changed."""

    version: int
    text: str
    note: str
    author: str
    created: str


class GuidelinesShown(Record):
    """All versions, the newest first, and who has not acknowledged the newest."""

    versions: tuple[GuidelineShown, ...]
    missing: tuple[str, ...]


class ChangedGuidelines(Body):
    """Another version; ``version`` is the one that it began from, 0 for none, and another one since is a conflict.

    ``note`` says what changed; only the first version may leave it out.
    """

    text: Text = Field(min_length=1, max_length=domain.LONGEST_TEXT)
    note: Text = Field("", max_length=2000)
    version: Whole


def _shown(one: domain.Guideline) -> GuidelineShown:
    return GuidelineShown(**asdict(one) | {"created": one.created.isoformat()})


def _save(call: Call, connection: Connection, text: str, note: str, version: int) -> GuidelineShown:
    return _shown(domain.save(connection, text, note, call.account.name, version, call.now))


async def guidelines(call: Called) -> JSONResponse:
    """All versions of the guidelines."""
    versions, missing = await call.read(lambda c: (domain.versions(c), domain.missing(c)))
    made = GuidelinesShown(versions=tuple(_shown(one) for one in versions), missing=tuple(missing))
    return JSONResponse(made.model_dump(mode="json"))


async def save(call: Called, body: ChangedGuidelines) -> Response:
    """Save another version of the guidelines; every rater has to acknowledge it."""
    return await call.reply(lambda connection: _save(call, connection, body.text, body.note, body.version))


async def guidelines_page(
    call: Called, version: Annotated[int | None, Query(ge=1, le=LARGEST)] = None, done: Done = None
) -> HTMLResponse:
    """The editor with the newest version, or with an older one to be taken up again."""
    versions = await call.read(domain.versions)
    chosen = next((one for one in versions if one.version == version), versions[0] if versions else None)
    newest = versions[0].version if versions else 0
    old = chosen if chosen and chosen.version != newest else None
    return await _editor(call, chosen.text if chosen else "", "", newest, old=old, done=done)


async def edit(
    call: Called,
    text: Annotated[str, Form(max_length=2 * domain.LONGEST_TEXT)] = "",
    note: Annotated[str, Form(max_length=4000)] = "",
    version: Annotated[int, Form(ge=0, le=LARGEST)] = 0,
    do: Annotated[Literal["preview", "save"], Form()] = "preview",
) -> Response:
    """Look at the guidelines as raters will see them, or save them."""
    text = text.replace("\r\n", "\n")
    if do == "save":
        try:
            await call.write(lambda connection: _save(call, connection, text, note, version))
            return call.redirect("/board/guidelines?done=saved")
        except (DataError, ConflictError) as error:
            return await _editor(call, text, note, version, error=error)
    return await _editor(call, text, note, version)


async def _editor(
    call: Call,
    text: str,
    note: str,
    version: int,
    error: DataError | ConflictError | None = None,
    old: domain.Guideline | None = None,
    done: str | None = None,
) -> HTMLResponse:
    """The editor; ``old`` is the version in it where that is not the newest."""
    versions, missing = await call.read(lambda connection: (domain.versions(connection), domain.missing(connection)))
    values: dict[str, Any] = {"versions": versions, "missing": missing}
    return await board_page(
        call,
        "guidelines",
        "guidelines",
        200 if error is None else status_of(error)[0],
        text=text,
        note=note,
        version=version,
        old=old,
        newest=versions[0] if versions else None,
        preview=await rendered(text, 3, call.text("studio.as_written")) if text.strip() else "",
        fault=error if isinstance(error, DataError) else None,
        conflict=error if isinstance(error, ConflictError) else None,
        done=done,
        **values,
    )
