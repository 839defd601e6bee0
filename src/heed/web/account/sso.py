"""Signing in elsewhere (OIDC). It lets in who has an account, an invitation to a verified address, or an allowed domain."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Query
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from heed.errors import ConflictError, DataError, HeedError, MissingError, RefusedError, SignInError
from heed.people import accounts, audit, invitations
from heed.people.accounts import Account
from heed.people.secrets import load_secrets
from heed.web.account.entry import begin_session
from heed.web.account.oidc import Attempt, Client, Identity, authorization_url, identity_of
from heed.web.account.replies import set_session
from heed.web.call import Call, Called
from heed.web.security import cookie_flags, safe_target

CALLBACK = "/sign-in/sso/callback"
_MINUTES = 10
_TRIES = 20
_log = logging.getLogger("heed.web")

Short = Annotated[str, Query(max_length=4000)]


async def begin(call: Called, next: Annotated[str, Query(max_length=2000)] = "/") -> Response:
    """To the issuer."""
    client, key = await _client(call)
    attempt = Attempt.new()
    try:
        target = await authorization_url(client, attempt, call.base_url + CALLBACK)
    except SignInError as error:
        return _failed(call, "provider", 502, error)
    response = RedirectResponse(target, 303)
    kept = {"attempt": asdict(attempt), "next": safe_target(next), "until": call.now.timestamp() + 60 * _MINUTES}
    flags = cookie_flags(call.studio.address)
    response.set_cookie(_cookie(call), _sealed(kept, key), max_age=60 * _MINUTES, **flags)
    return response


async def callback(call: Called, state: Short = "", code: Short = "", error: Short = "") -> Response:
    """Back from the issuer."""
    client, key = await _client(call)
    kept = _opened(call.request.cookies.get(_cookie(call), ""), key)
    if kept is None or kept["until"] < call.now.timestamp():
        return _failed(call, "stale", 400)
    attempt = Attempt(**kept["attempt"])
    if error or not code or not hmac.compare_digest(attempt.state.encode(), state.encode()):
        return _failed(call, "stale", 400)
    try:
        identity = await identity_of(client, attempt, code, call.base_url + CALLBACK, call.now)
        secret = await call.write(lambda connection: _let_in(connection, call, identity))
    except RefusedError as refused:
        return _failed(call, "refused", 403, refused)
    except SignInError as distrusted:
        return _failed(call, "provider", 502, distrusted)
    response = call.redirect(safe_target(kept["next"]))
    response.delete_cookie(_cookie(call), **cookie_flags(call.studio.address))
    set_session(call, response, secret)
    return response


def _let_in(connection: Connection, call: Call, identity: Identity) -> str:
    account = accounts.find_subject(connection, identity.subject) or _made(connection, call, identity)
    if account.state == "closed":
        raise RefusedError("this account", "it is closed.", "Ask the lead of the project.")
    return begin_session(connection, call, account.id)


def _made(connection: Connection, call: Call, identity: Identity) -> Account:
    """An account for somebody who comes for the first time.

    Raises:
        RefusedError: nobody has invited the address, nor is its domain allowed.
    """
    email = identity.email
    if email is None:
        raise RefusedError("this account", "its address is not verified.", "Verify it there first.")
    invitation = invitations.for_email(connection, email, call.now)
    if invitation is not None:
        name = invitation.name or _free_name(connection, call, identity)
        try:
            return invitations.accept_elsewhere(connection, invitation, name, identity.subject, call.now, call.language)
        except (MissingError, ConflictError) as error:
            raise RefusedError("the invitation", error.why, "Ask the lead of the project for another.") from None
    domains = {domain.strip().lower().lstrip("@") for domain in call.project.settings.serve.sso_domains}
    if email.rpartition("@")[2] not in domains:
        raise RefusedError(f"the address {email}", "nobody has invited it.", "Ask the lead of the project.")
    name = _free_name(connection, call, identity)
    made = accounts.create_account(
        connection, name, "rater", "", call.now, subject=identity.subject, language=call.language
    )
    audit.record(connection, name, "account.make", name, {"role": "rater", "email": email}, call.now)
    return made


def _free_name(connection: Connection, call: Call, identity: Identity) -> str:
    """The best name for a newcomer that nobody has; a number behind it where need be."""
    settings = call.project.settings.raters
    simulated = [rater.name for rater in (*settings.simulated, *settings.held_out)]
    for name in identity.names:
        for number in range(1, _TRIES):
            wanted = name.strip()[:180] if number == 1 else f"{name.strip()[:180]} {number}"
            try:
                return accounts.check_name(connection, wanted, reserved=simulated)
            except ConflictError:
                continue
            except DataError:
                break
    raise RefusedError("this account", "it has no name that can be used here.", "Ask for an invitation with a name.")


async def _client(call: Call) -> tuple[Client, bytes]:
    """What the issuer knows this server by, and the key of the cookie.

    Raises:
        MissingError: heed.yaml names no issuer.
    """
    serve = call.project.settings.serve
    if not serve.sso_issuer or not serve.sso_client_id:
        raise MissingError("this address", "there is nothing here.", "Check the link, or begin at the first page.")
    kept = await asyncio.to_thread(load_secrets, call.project.folder)
    return Client(serve.sso_issuer, serve.sso_client_id, kept.sso), kept.derived("sign-in elsewhere")


def _failed(call: Call, why: str, status: int, error: HeedError | None = None) -> Response:
    if error is not None:
        _log.warning("sign-in elsewhere: %s", error)
    return call.page("account/sso_failed.html", status, why=why)


def _cookie(call: Call) -> str:
    return "__Host-heed_sso" if call.studio.address.secure else "heed_sso"


def _sealed(values: dict[str, Any], key: bytes) -> str:
    content = base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
    return f"{content}.{hmac.new(key, content.encode(), 'sha256').hexdigest()}"


def _opened(cookie: str, key: bytes) -> dict[str, Any] | None:
    content, _, seal = cookie.rpartition(".")
    expected = hmac.new(key, content.encode(), "sha256").hexdigest()
    if not hmac.compare_digest(expected.encode(), seal.encode()):
        return None
    opened: dict[str, Any] = json.loads(base64.urlsafe_b64decode(content))
    return opened
