"""Oneself over HTTP: preferences, password, sessions and API tokens."""

from __future__ import annotations

import asyncio

from sqlalchemy import Connection
from starlette.responses import Response

from heed.errors import DataError, SignInError
from heed.people import accounts, limits, sessions, tokens
from heed.people.limits import PASSWORD_CHANGE, bucket_name
from heed.people.passwords import hash_password, verify_password
from heed.web.account.models import (
    Done,
    Ended,
    Me,
    MeChanged,
    PasswordChanged,
    SessionList,
    SessionShown,
    TokenAsked,
    TokenList,
    TokenMade,
    TokenShown,
)
from heed.web.account.replies import reply_with_secret
from heed.web.call import Call, Called


async def me(call: Called) -> Me:
    """The account that is signed in."""
    return Me.of(call.account)


async def change_me(call: Called, given: MeChanged) -> Response:
    """Change language, theme or keys; what is not given stays."""

    def work(connection: Connection) -> Me:
        keys = None if given.keys is None else given.keys.model_dump()
        return Me.of(
            accounts.set_preferences(connection, call.account.id, given.revision, given.language, given.theme, keys)
        )

    return await call.reply(work)


async def change_password(call: Called, given: PasswordChanged) -> Done:
    """Change the password; all other sessions and all API tokens end."""
    await set_password(call, given.current, given.password)
    return Done()


async def set_password(call: Call, current: str, password: str) -> None:
    """Replace the password of whoever calls.

    Raises:
        SignInError: ``current`` is not the password.
        DataError: the new one cannot be a password, or there is none to replace.
        LimitError: too many tries.
    """
    account = call.account
    if not account.has_password:
        raise DataError(
            "your password", "you have none here and sign in elsewhere.", "Ask an admin for a link to set one."
        )
    limit, bucket = PASSWORD_CHANGE, bucket_name("password", account.id)
    await call.write(lambda connection: limits.take(connection, bucket, limit.capacity, limit.per_second, call.now))
    stored = await call.read(lambda connection: accounts.stored_password(connection, account.name))
    if not await asyncio.to_thread(verify_password, current, stored[1] if stored else None):
        raise SignInError(
            "the current password", "it is another one.", "Try again, or ask for a link to set a new one."
        )
    hashed = await asyncio.to_thread(hash_password, password, account.name)
    session = call.caller.session_id
    await call.write(lambda connection: accounts.change_password(connection, account.id, hashed, call.now, session))


async def my_sessions(call: Called) -> SessionList:
    """The browsers in which this account is signed in."""
    found = await call.read(lambda connection: sessions.sessions_of(connection, call.account.id, call.now))
    return SessionList(sessions=[SessionShown.of(session, call.caller.session_id) for session in found])


async def end_session(call: Called, session_id: str) -> Response:
    """Sign out one browser."""

    def work(connection: Connection) -> Ended:
        sessions.end_one(connection, call.account.id, session_id, call.now)
        return Ended(ended=1)

    return await call.reply(work)


async def end_other_sessions(call: Called) -> Response:
    """Sign out all browsers but this one."""
    return await call.reply(
        lambda connection: Ended(ended=sessions.end_all(connection, call.account.id, call.now, call.caller.session_id))
    )


async def my_tokens(call: Called) -> TokenList:
    """The API tokens of this account."""
    found = await call.read(lambda connection: tokens.tokens_of(connection, call.account.id, call.now))
    return TokenList(tokens=[TokenShown.of(token) for token in found], scopes=list(tokens.SCOPES[call.account.role]))


async def make_token(call: Called, given: TokenAsked) -> Response:
    """Make an API token; the answer holds it, and it is never shown again."""

    def work(connection: Connection) -> tuple[TokenMade, str]:
        made = tokens.make(connection, call.account, given.name, given.scopes, given.days, call.now)
        return TokenMade(**TokenShown.of(made.record).model_dump()), made.secret

    return await reply_with_secret(call, work, "token")


async def revoke_token(call: Called, token_id: str) -> Response:
    """End an API token."""

    def work(connection: Connection) -> Done:
        tokens.revoke(connection, call.account, token_id, call.now)
        return Done()

    return await call.reply(work)
