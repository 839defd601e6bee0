"""Pictures and videos: leads add them, everybody who is signed in sees them where a text shows them."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import File, UploadFile
from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.responses import FileResponse, JSONResponse, Response

from heed.config import ServeSettings
from heed.people import audit
from heed.web import media
from heed.web.board.common import frame_values
from heed.web.call import Call, Called
from heed.web.media import FORMATS, MEGABYTE, Medium
from heed.web.permissions import leads, signed_in
from heed.web.routing import Route

PLACE = "/board/media"


def _largest_upload(settings: ServeSettings) -> int:
    """A little more than the project allows for a file: the form around it."""
    return (settings.media_megabytes + 1) * MEGABYTE


class MediumFacts(BaseModel):
    """A picture or video of the project. ``reference`` is how a text shows it."""

    id: str
    media_type: str
    bytes: int
    reference: str


class AllMedia(BaseModel):
    """Every picture and video, the newest first."""

    media: list[MediumFacts]


def _facts(medium: Medium) -> MediumFacts:
    return MediumFacts(
        id=medium.id,
        media_type=medium.format.media_type,
        bytes=medium.size,
        reference=f"![](media:{medium.id})",
    )


Upload = Annotated[UploadFile, File(description="PNG, JPEG, GIF, WebP, MP4 or WebM")]


async def add(call: Called, file: Upload) -> Response:
    """Keep a file; its name is not used."""
    return JSONResponse(_facts(await _keep(call, file)).model_dump(), 201)


async def _keep(call: Call, file: UploadFile) -> Medium:
    allowed = call.project.settings.serve.media_megabytes
    if (file.size or 0) > allowed * MEGABYTE:
        raise media.too_large(allowed)
    content = await file.read()
    kept = await asyncio.to_thread(media.keep, call.project.folder, content)
    actor, now = call.account.name, call.now

    def work(connection: Connection) -> None:
        audit.record(connection, actor, "media.add", kept.id, {"bytes": kept.size}, now)

    await call.once(work, kept.id.encode())
    return kept


async def everything(call: Called) -> AllMedia:
    """What there is."""
    found = await asyncio.to_thread(media.all_media, call.project.folder)
    return AllMedia(media=[_facts(medium) for medium in found])


async def remove(call: Called, medium_id: str) -> Response:
    """Delete one; texts that show it show its words instead."""
    await _remove(call, medium_id)
    return Response(status_code=204)


async def _remove(call: Call, medium_id: str) -> None:
    await asyncio.to_thread(media.remove, call.project.folder, medium_id)
    actor, now = call.account.name, call.now
    await call.write(lambda connection: audit.record(connection, actor, "media.remove", medium_id, {}, now))


async def gallery(call: Called) -> Response:
    """All pictures and videos, and a form for more."""
    found = await asyncio.to_thread(media.all_media, call.project.folder)
    values = {"media": [_facts(medium) for medium in found], "megabytes": call.project.settings.serve.media_megabytes}
    return call.page("exchange/media.html", **await frame_values(call, "exchange") | values)


async def add_by_form(call: Called, file: Upload) -> Response:
    """Keep a file that was chosen in the form."""
    await _keep(call, file)
    return call.redirect(PLACE)


async def remove_by_form(call: Called, medium_id: str) -> Response:
    """Delete one by its button."""
    await _remove(call, medium_id)
    return call.redirect(PLACE)


async def show(call: Called, medium_id: str) -> Response:
    """The file itself, in ranges if asked for; told to be what it was found to be when it was added."""
    path = await asyncio.to_thread(media.path_of, call.project.folder, medium_id)
    return FileResponse(
        path,
        media_type=FORMATS[path.suffix[1:]].media_type,
        filename=medium_id,
        content_disposition_type="attachment",
        headers={
            "content-security-policy": "default-src 'none'; sandbox",
            "cache-control": "private, max-age=31536000, immutable",
        },
    )


ROUTES: tuple[Route, ...] = (
    Route("GET", PLACE, gallery, leads, "page", "Pictures and videos"),
    Route("POST", PLACE, add_by_form, leads, "page", "Add a picture or video", body_limit=_largest_upload),
    Route("POST", PLACE + "/{medium_id}", remove_by_form, leads, "page", "Delete a picture or video"),
    Route("GET", "/media/{medium_id}", show, signed_in, "file", "Picture or video", "read"),
    Route("GET", "/api/v1/media", everything, leads, summary="Pictures and videos", scope="read", model=AllMedia),
    Route(
        "POST",
        "/api/v1/media",
        add,
        leads,
        summary="Add a picture or video",
        scope="manage",
        model=MediumFacts,
        status=201,
        body_limit=_largest_upload,
    ),
    Route(
        "DELETE",
        "/api/v1/media/{medium_id}",
        remove,
        leads,
        summary="Delete a picture or video",
        scope="manage",
        status=204,
    ),
)
"""Of pictures and videos."""
