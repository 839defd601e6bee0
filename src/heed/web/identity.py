"""Who is calling: by the session's cookie, or by an API token."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import Connection
from starlette.requests import Request

from heed.errors import SignInError
from heed.people import sessions, tokens
from heed.people.hidden import hash_of, may_be_secret
from heed.web.desk import Desk
from heed.web.permissions import Caller
from heed.web.security import Address

SESSION_COOKIE = "heed_session"
SECURE_SESSION_COOKIE = "__Host-heed_session"
"""The prefix makes browsers refuse it unless it is secure, for this host alone and for every path."""


def session_cookie(address: Address) -> str:
    """The one cookie that opens a session. Where the server is reached by HTTPS the plain one opens nothing: a neighbouring
    site, or whoever sits on the line of an HTTP request, could have set it."""
    return SECURE_SESSION_COOKIE if address.secure else SESSION_COOKIE


_KEPT_SECONDS = 1.0


@dataclass(frozen=True)
class Credentials:
    """What came with a request: the secret of a session or of a token, or neither."""

    session: str | None
    token: str | None


def credentials_of(request: Request) -> Credentials:
    """What the request brings to say who sends it.

    A header of another kind than Bearer, as a browser goes on sending to the password of a proxy before heed, is no word to
    heed on a page, nor where a session comes with it.

    Raises:
        SignInError: an Authorization header of another kind than Bearer from a program.
    """
    header = request.headers.get("authorization")
    session = request.cookies.get(session_cookie(request.app.state.studio.address))
    if header is None:
        return Credentials(session, None)
    kind, _, secret = header.partition(" ")
    if kind.lower() == "bearer" and secret.strip():
        return Credentials(None, secret.strip())
    if kind.lower() != "bearer" and (session is not None or not request.url.path.startswith("/api/")):
        return Credentials(session, None)
    raise SignInError("the Authorization header", "it is not 'Bearer TOKEN'.", "Send an API token of heed.")


def _no_token(connection: Connection, secret: str, now: datetime) -> SignInError:
    if tokens.is_paused(connection, secret, now):
        return SignInError(
            "the API token", "its account is paused, and it does nothing meanwhile.", "Ask the lead of the project."
        )
    return _unknown_token()


def _unknown_token() -> SignInError:
    return SignInError("the API token", "it is unknown, expired or revoked.", "Make a new one under Settings.")


class Identities:
    """Finds out who calls, and remembers it for a second, by the hash of what they are known by.

    A session or token that is revoked by this process is forgotten at once (see :meth:`forget`), by another one within a
    second.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._kept: dict[str, tuple[float, Caller]] = {}

    async def caller(self, given: Credentials, now: datetime) -> Caller:
        """Who calls; nobody where the session has ended.

        Raises:
            SignInError: the token is unknown, expired or revoked, or its account paused.
        """
        secret = given.token or given.session
        if secret is None:
            return Caller()
        if not may_be_secret(secret, tokens.PREFIX if given.token else ""):
            if given.token:
                raise _unknown_token()
            return Caller()
        key = hash_of(secret)
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() - kept[0] < _KEPT_SECONDS:
            return kept[1]

        def look_up(connection: Connection) -> tuple[Caller, Callable[[Connection], None] | None]:
            if given.token is not None:
                token = tokens.find(connection, given.token, now)
                if token is None:
                    raise _no_token(connection, given.token, now)
                used = partial(tokens.touch, token_id=token.id, now=now) if token.stale else None
                return Caller(token.account, scopes=token.scopes), used
            session = sessions.find(connection, secret, now)
            if session is None:
                return Caller(), None
            seen = partial(sessions.touch, session_id=session.id, now=now) if session.stale else None
            return Caller(session.account, session_id=session.id), seen

        caller, touch = await self._desk.read(look_up)
        if touch is not None:
            self._desk.submit(touch)  # nobody waits for it: when somebody was last seen is no promise
        if caller.account is not None:
            self._keep(key, caller)
        return caller

    def _keep(self, key: str, caller: Caller) -> None:
        """Remember somebody, and nobody any more who was remembered longer ago than it is good for."""
        now = time.monotonic()
        self._kept.pop(key, None)  # whoever is there anew stands at the end: the oldest are the first
        while self._kept:
            oldest = next(iter(self._kept))
            if now - self._kept[oldest][0] < _KEPT_SECONDS:
                break
            del self._kept[oldest]
        self._kept[key] = (now, caller)

    def forget(self) -> None:
        """Look everybody up again: something about accounts may have changed."""
        self._kept.clear()
