"""Browsers in which an account has signed in before. Their tries at its password are counted apart from everybody else's.

Otherwise whoever goes on failing at somebody's name, or from the proxy that all share, would keep that person out. The cookie
opens nothing; it only says at which counter to queue. It ends with the password that was given for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac

from starlette.responses import Response

from heed.people.hidden import new_id
from heed.people.secrets import load_secrets
from heed.web.call import Call
from heed.web.security import Address, cookie_flags

_SECONDS = 365 * 24 * 3600
_LONGEST = 200


def _cookie(address: Address) -> str:
    return "__Host-heed_browser" if address.secure else "heed_browser"


async def browser_of(call: Call, stored: tuple[str, str] | None) -> str | None:
    """The id of the browser, if the account has signed in there with the password that it has now.

    Args:
        call: the request.
        stored: id and password hash of the account.
    """
    browser, _, mark = call.request.cookies.get(_cookie(call.studio.address), "")[:_LONGEST].partition(".")
    if stored is None or not mark.isascii():
        return None
    return browser if hmac.compare_digest(mark, await _mark(call, browser, stored)) else None


async def remember(call: Call, response: Response, stored: tuple[str, str]) -> None:
    """Let the browser know that the account has signed in here."""
    address, browser = call.studio.address, new_id("b")
    value = f"{browser}.{await _mark(call, browser, stored)}"
    response.set_cookie(_cookie(address), value, max_age=_SECONDS, **cookie_flags(address))


async def _mark(call: Call, browser: str, stored: tuple[str, str]) -> str:
    key = (await asyncio.to_thread(load_secrets, call.project.folder)).derived("known browsers")
    return hmac.new(key, "\n".join((browser, *stored)).encode(), hashlib.sha256).hexdigest()
