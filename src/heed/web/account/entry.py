"""Signing in and out. Whoever gets it wrong learns nothing but that: not whether there is somebody of that name."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Form, Query
from sqlalchemy import Connection
from starlette.responses import Response

from heed.errors import LimitError, SignInError
from heed.people import accounts, limits, sessions
from heed.people.limits import SIGN_IN_ADDRESS, SIGN_IN_NAME, Limit, bucket_name
from heed.people.passwords import verify_password
from heed.web.account.known_browser import browser_of, remember
from heed.web.account.models import Given, Password
from heed.web.account.replies import drop_session, presented_session, set_session
from heed.web.call import THEME_COOKIE, Call, Called
from heed.web.language import LANGUAGE_COOKIE, LANGUAGES
from heed.web.pages import THEMES
from heed.web.security import cookie_flags, safe_target

_YEAR = 365 * 24 * 3600

Target = Annotated[str, Query(max_length=2000)]


class SignIn(Given):
    """The form of the page to sign in."""

    # Whatever is typed looks the same as any name that nobody has.
    name: Annotated[str, Form(max_length=255)]
    password: Password
    next: Annotated[str, Form(max_length=2000)] = "/"


class Preferences(Given):
    """The form in the head of every page."""

    language: str = ""
    theme: str = ""
    next: Annotated[str, Form(max_length=2000)] = "/"


def sign_in_page_of(call: Call, target: str, status: int = 200, error: str = "", name: str = "") -> Response:
    """The page to sign in, with the key of an error to be told."""
    sso = bool(call.project.settings.serve.sso_issuer)
    return call.page("account/sign_in.html", status, target=safe_target(target), error=error, name=name, sso=sso)


async def sign_in_page(call: Called, next: Target = "/") -> Response:
    """The page to sign in."""
    if call.caller.account is not None:
        return call.redirect(safe_target(next))
    return sign_in_page_of(call, next)


async def sign_in(call: Called, form: Annotated[SignIn, Form()]) -> Response:
    """Sign in with name and password: a new session, whatever the browser held before."""
    try:
        secret, checked = await _signed_in(call, form.name, form.password)
    except LimitError:
        return sign_in_page_of(call, form.next, 429, "limit", form.name)
    except SignInError:
        return sign_in_page_of(call, form.next, 401, "wrong", form.name)
    response = call.redirect(safe_target(form.next))
    set_session(call, response, secret)
    await remember(call, response, checked)
    return response


async def _signed_in(call: Call, name: str, password: str) -> tuple[str, tuple[str, str]]:
    """The secret of a new session, and whose it is with the password that opened it (id and hash).

    Raises:
        LimitError: too many tries in this browser, or elsewhere at this name or from this address.
        SignInError: nobody has this name and password.
    """
    stored = await call.read(lambda connection: accounts.stored_password(connection, name))
    browser = await browser_of(call, stored)
    buckets: tuple[tuple[str, Limit], ...] = (
        (bucket_name("sign-in name", accounts.name_key(name)), SIGN_IN_NAME),
        (bucket_name("sign-in address", call.client), SIGN_IN_ADDRESS),
    )
    if browser is not None:
        buckets = ((bucket_name("sign-in browser", browser), SIGN_IN_NAME),)
    await call.write(lambda connection: _each(connection, call, buckets, limits.take))
    # Outside of any transaction and of the event loop: it takes its time on purpose.
    fits = await asyncio.to_thread(verify_password, password, stored[1] if stored else None)
    if stored is None or not fits:
        raise SignInError("the name or the password", "they do not fit.", "Try again.")
    return await call.write(lambda connection: _begin(connection, call, name, stored, buckets)), stored


def _begin(
    connection: Connection, call: Call, name: str, checked: tuple[str, str], buckets: tuple[tuple[str, Limit], ...]
) -> str:
    if accounts.stored_password(connection, name) != checked:
        raise SignInError("the name or the password", "they were changed meanwhile.", "Try again.")
    _each(connection, call, buckets, limits.give_back)
    return begin_session(connection, call, checked[0])


def begin_session(connection: Connection, call: Call, account_id: str) -> str:
    """End the session that the browser came with, and begin another; its secret."""
    before = presented_session(call)
    if before is not None:
        sessions.end(connection, before, call.now)
    return sessions.begin(connection, account_id, call.request.headers.get("user-agent", ""), call.now)


def _each(connection: Connection, call: Call, buckets: tuple[tuple[str, Limit], ...], act: limits.Act) -> None:
    for bucket, limit in buckets:
        act(connection, bucket, limit.capacity, limit.per_second, call.now)


async def sign_out(call: Called) -> Response:
    """End the session."""
    secret = presented_session(call)
    if secret is not None:
        await call.write(lambda connection: sessions.end(connection, secret, call.now))
    response = call.redirect("/sign-in")
    drop_session(call, response)
    return response


async def preferences(call: Called, form: Annotated[Preferences, Form()]) -> Response:
    """Switch language or colours: for the account, and on this machine for the pages before signing in."""
    language = form.language if form.language in LANGUAGES else None
    theme = form.theme if form.theme in THEMES else None
    account = call.caller.account
    if account is not None and (language or theme):
        await call.write(
            lambda connection: accounts.set_preferences(connection, account.id, language=language, theme=theme)
        )
    response = call.redirect(safe_target(form.next))
    for cookie, value in ((LANGUAGE_COOKIE, language), (THEME_COOKIE, theme)):
        if value is not None:
            response.set_cookie(cookie, value, max_age=_YEAR, **cookie_flags(call.studio.address))
    return response
