"""The page of settings, by plain forms: language and colours, keys, password, sessions, API tokens."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Form, Query
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from heed.errors import ConflictError, DataError, LimitError, SignInError
from heed.feedback.kinds import Text
from heed.people import accounts, sessions, tokens
from heed.people.passwords import SHORTEST, password_fault
from heed.people.shortcuts import DEFAULT_KEYS, keys_of
from heed.web.account.me import set_password
from heed.web.account.models import Given, Identity, Password, Scope
from heed.web.call import Call, Called
from heed.web.errors import status_of
from heed.web.values import Whole

Did = Literal["", "preferences", "keys", "password", "sessions", "tokens"]

_LONGEST_KEY = 20


class PreferencesForm(Given):
    """Language and colours."""

    language: Literal["en", "zh"]
    theme: Literal["auto", "light", "dark"]
    revision: Whole


class PasswordForm(Given):
    """The password, and the one before."""

    # The name stands in the form for password managers.
    username: Annotated[Text, Form(max_length=255)] = ""
    current: Password
    password: Password


class SessionsForm(Given):
    """One session by its id; "" is all but this one."""

    session: Identity = ""


class TokenForm(Given):
    """A new token."""

    name: Annotated[Text, Form(max_length=200)]
    scopes: Annotated[list[Scope], Form(default_factory=list)]
    days: float


class TokenEnded(Given):
    """A token by its id."""

    token: Identity


async def settings_page(call: Called, done: Annotated[Did, Query()] = "") -> Response:
    """The page of settings."""
    return await _page(call, done=done)


async def change_preferences(call: Called, form: Annotated[PreferencesForm, Form()]) -> Response:
    """Language and colours."""
    return await _try(
        call,
        "preferences",
        lambda connection: accounts.set_preferences(
            connection, call.account.id, form.revision, form.language, form.theme
        ),
    )


async def change_keys(call: Called, request: Request) -> Response:
    """The keys: a field ``key-ACTION`` for each action, ``enabled`` where they are on, ``usual`` to go back to the usual."""
    form = await request.form(max_files=0, max_fields=len(DEFAULT_KEYS) + 2)
    known = {"enabled", "usual", *(f"key-{action}" for action in DEFAULT_KEYS)}
    if unknown := set(form) - known:
        raise DataError(f"'{min(unknown)[:80]}'", "there is no such field.", "Correct it.")
    keys = {} if "usual" in form else {a: str(form.get(f"key-{a}", ""))[:_LONGEST_KEY].strip() for a in DEFAULT_KEYS}
    chosen = {action: key for action, key in keys.items() if key.lower() != DEFAULT_KEYS[action].lower()}
    values = {"enabled": "enabled" in form or "usual" in form, "keys": chosen}
    return await _try(
        call, "keys", lambda connection: accounts.set_preferences(connection, call.account.id, keys=values), keys
    )


async def change_password(call: Called, form: Annotated[PasswordForm, Form()]) -> Response:
    """The password."""
    if fault := password_fault(form.password, call.account.name):
        return await _page(call, 422, error=f"password_{fault}", where="password")
    try:
        await set_password(call, form.current, form.password)
    except SignInError:
        return await _page(call, 422, error="current", where="current")
    except LimitError:
        return await _page(call, 429, error="limit", where="current")
    return _done(call, "password")


async def end_sessions(call: Called, form: Annotated[SessionsForm, Form()]) -> Response:
    """Sign out one browser, or all others."""

    def work(connection: Connection) -> None:
        if form.session:
            sessions.end_one(connection, call.account.id, form.session, call.now)
        else:
            sessions.end_all(connection, call.account.id, call.now, call.caller.session_id)

    return await _try(call, "sessions", work)


async def make_token(call: Called, form: Annotated[TokenForm, Form()]) -> Response:
    """A new API token, shown on the page that answers and never again."""
    try:
        made = await call.write(
            lambda connection: tokens.make(connection, call.account, form.name, form.scopes, form.days, call.now)
        )
    except (DataError, LimitError) as error:
        return await _page(call, status_of(error)[0], error="tokens", where="tokens")
    return await _page(call, made=made)


async def revoke_token(call: Called, form: Annotated[TokenEnded, Form()]) -> Response:
    """End an API token."""
    return await _try(call, "tokens", lambda connection: tokens.revoke(connection, call.account, form.token, call.now))


async def _try(call: Call, section: Did, work: Any, keys: dict[str, str] | None = None) -> Response:
    """Do it and go back to the page, which says so; or show the page with what is wrong."""
    try:
        await call.write(work)
    except ConflictError:
        return await _page(call, 409, error="stale", where=section)
    except DataError:
        return await _page(call, 422, error=section, where=section, keys=keys)
    return _done(call, section)


def _done(call: Call, section: Did) -> Response:
    return call.redirect(f"/settings?done={section}")


async def _page(
    call: Call,
    status: int = 200,
    done: Did = "",
    error: str = "",
    where: str = "",
    made: tokens.MadeToken | None = None,
    keys: dict[str, str] | None = None,
) -> Response:
    def look(
        connection: Connection,
    ) -> tuple[accounts.Account, list[sessions.SessionRecord], list[tokens.TokenRecord]]:
        account_id = call.account.id
        return (
            accounts.get(connection, account_id),
            sessions.sessions_of(connection, account_id, call.now),
            tokens.tokens_of(connection, account_id, call.now),
        )

    mine, open_sessions, held = await call.read(look)
    return call.page(
        "account/settings.html",
        status,
        mine=mine,
        sessions=open_sessions,
        current=call.caller.session_id,
        tokens=held,
        scopes=tokens.SCOPES[mine.role],
        made=made,
        keys=keys or keys_of({**mine.keys, "enabled": True}),
        keys_on=mine.keys.get("enabled", True),
        sso=bool(call.project.settings.serve.sso_issuer),
        shortest=SHORTEST,
        done=done,
        error=error,
        where=where,
    )
