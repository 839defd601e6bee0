"""Cookies of a session, links that let somebody in, and answers that hold a secret."""

from __future__ import annotations

import json
from collections.abc import Callable

from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.responses import JSONResponse, Response

from heed.people.sessions import LONGEST
from heed.web.call import Call
from heed.web.identity import session_cookie
from heed.web.security import cookie_flags


def set_session(call: Call, response: Response, secret: str) -> None:
    """Let the browser keep the secret of its session."""
    address = call.studio.address
    seconds = int(LONGEST.total_seconds())
    response.set_cookie(session_cookie(address), secret, max_age=seconds, **cookie_flags(address))


def drop_session(call: Call, response: Response) -> None:
    """Let the browser forget its session."""
    address = call.studio.address
    response.delete_cookie(session_cookie(address), **cookie_flags(address))


def presented_session(call: Call) -> str | None:
    """The secret of the session that the request came with, whether it still opens anything or not."""
    return call.request.cookies.get(session_cookie(call.studio.address))


def invitation_link(call: Call, secret: str) -> str:
    """The link of an invitation, at the address of this server that is configured or that the request rightly named."""
    return f"{call.base_url}/invitation/{secret}"


async def reply_with_secret(
    call: Call, work: Callable[[Connection], tuple[BaseModel, str]], field: str, status: int = 201
) -> Response:
    """Answer with what ``work`` returns, and the secret beside it in ``field``.

    What an idempotency key keeps for a retry is stored without the secret: the retry changes nothing and gets null there.
    """
    told: list[str] = []

    def without(connection: Connection) -> BaseModel:
        made, secret = work(connection)
        told[:] = [secret]
        return made

    response = await call.reply(without, status)
    if not told:
        return response
    return JSONResponse(json.loads(bytes(response.body)) | {field: told[0]}, status)
