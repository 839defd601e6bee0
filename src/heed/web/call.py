"""One request, as the handlers see it: who calls, the database, the language, and how to answer."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from fastapi import Depends
from pydantic import BaseModel
from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from heed.errors import ConflictError, DataError, ProjectError, RefusedError, SignInError
from heed.feedback import studio_schema
from heed.feedback.database import unkeepable
from heed.people.accounts import Account
from heed.project import Project
from heed.web.desk import Desk
from heed.web.errors import PausedError, RoleError
from heed.web.identity import Identities, credentials_of
from heed.web.language import language_for, translate
from heed.web.pages import THEMES, page
from heed.web.permissions import Caller, administers
from heed.web.routing import Route
from heed.web.security import Address

T = TypeVar("T")

THEME_COOKIE = "heed_theme"
_LONGEST_KEY = 128


@dataclass
class Studio:
    """What all requests share.

    Attributes:
        project: whose studio it is.
        desk: the way to its database.
        address: where the server is reached.
        identities: who is behind a cookie or a token.
        stopping: set when the server is about to end, for what would go on for ever.
        jobs_asked: set when an import or an export was asked for, so that its worker need not find it by looking.
        database_there: False while the database's file is not the one that was opened.
    """

    project: Project
    desk: Desk
    address: Address
    identities: Identities
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    jobs_asked: threading.Event = field(default_factory=threading.Event)
    database_there: bool = True


class Call:
    """One request that its route allows.

    Attributes:
        request: as Starlette gives it.
        studio: what all requests share.
        route: the row of the table.
        caller: who calls.
        now: when it began (UTC); everything it does happened then.
    """

    def __init__(self, request: Request, studio: Studio, route: Route, caller: Caller) -> None:
        self.request = request
        self.studio = studio
        self.route = route
        self.caller = caller
        self.now = datetime.now(UTC)

    @property
    def account(self) -> Account:
        """The account that is signed in.

        Raises:
            SignInError: nobody is.
        """
        if self.caller.account is None:
            raise not_signed_in()
        return self.caller.account

    @property
    def project(self) -> Project:
        """The project; its store is reached by :meth:`read` and :meth:`write`."""
        return self.studio.project

    @property
    def desk(self) -> Desk:
        """The way to the database, for what outlives the request."""
        return self.studio.desk

    @property
    def base_url(self) -> str:
        """Beginning of absolute links to this server; never what a proxy's or an attacker's header says."""
        return self.studio.address.base(self.request.url.scheme, self.request.headers["host"])

    @property
    def language(self) -> str:
        """In which language to answer, see :func:`heed.web.language.language_for`."""
        return language_for(self.request, self.caller)

    @property
    def theme(self) -> str:
        """The account's theme, else the one chosen on this machine."""
        chosen = self.caller.account.theme if self.caller.account else self.request.cookies.get(THEME_COOKIE, "")
        return chosen if chosen in THEMES else THEMES[0]

    @property
    def client(self) -> str:
        """Address of whoever connects (the proxy's where there is one), for limits."""
        return self.request.client.host if self.request.client else "unknown"

    def text(self, key: str, **values: Any) -> str:
        """A text of the interface in the caller's language."""
        return translate(self.language, key, **values)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in a transaction that only reads, off the event loop."""
        with self._storing():
            return await self.desk.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in a transaction; what it wrote is on the disk when this returns. It may be done twice."""
        with self._storing():
            done = await self.desk.write(work)
        if self.route.scope != "rate":
            self.studio.identities.forget()  # it may have been about accounts
        return done

    @contextmanager
    def _storing(self) -> Iterator[None]:
        if not self.studio.database_there:
            raise ProjectError(
                "the database",
                "its file was moved away, deleted or replaced.",
                "Whoever runs heed has to put it back and start the server anew.",
            )
        try:
            yield
        except (DBAPIError, UnicodeEncodeError, OverflowError) as error:
            mended = unkeepable(error)
            if mended is None:
                raise
            raise mended from error

    async def reply(self, work: Callable[[Connection], Any], status: int = 200) -> Response:
        """Do ``work`` in a transaction and answer with what it returns, as :meth:`once` does it."""
        return JSONResponse(await self.once(work), status)

    async def once(self, work: Callable[[Connection], Any], content: bytes | None = None) -> Any:
        """Do ``work`` in a transaction; what it returns, a pydantic model or plain values, as plain values.

        A request with an ``Idempotency-Key`` is done once: the same one again gets the same, which is stored in the
        transaction of the work.

        Args:
            work: what is to be done.
            content: what makes this request the same as another beside its address; None for the body.

        Raises:
            ConflictError: the key came with another request before. DataError: it is no key.
        """
        key = self.request.headers.get("idempotency-key")
        if key is None:
            return _plain(await self.write(work))
        if not 0 < len(key) <= _LONGEST_KEY or not key.isascii() or not key.isprintable():
            raise DataError("Idempotency-Key", f"it is not 1 to {_LONGEST_KEY} printable characters.", "Send a UUID.")
        url = self.request.url
        # The body is kept by Starlette once it has been read, as every JSON body has been by now.
        body = await self.request.body() if content is None else content
        said = f"{self.route.method} {url.path}?{url.query}\n".encode() + body
        request, account = hashlib.sha256(said).hexdigest(), self.account.id
        table = studio_schema.replays

        def once(connection: Connection) -> Any:
            mine = (table.c.account_id == account, table.c.key == key)
            before = connection.execute(select(table.c.request, table.c.response).where(*mine)).first()
            if before is None:
                answer = _plain(work(connection))
                row = {"account_id": account, "key": key, "request": request, "response": answer, "created": self.now}
                connection.execute(insert(table), row)
                return answer
            if before.request != request:
                raise ConflictError(
                    f"Idempotency-Key '{key}'",
                    "it came with another request before.",
                    "Send a new key for a new request.",
                )
            return before.response

        return await self.write(once)

    def page(self, name: str, status: int = 200, /, **values: Any) -> HTMLResponse:
        """A page from the template ``name``, with what every page needs beside ``values``."""
        shared = {
            "theme": self.theme,
            "account": self.caller.account,
            "project_name": self.project.settings.name,
            "path": self.request.url.path,
            # What answers a form is shown once: switching language or colours would leave it, for an address that cannot be read.
            "may_switch": self.request.method in ("GET", "HEAD"),
        }
        return page(name, self.language, shared | values, status)

    def redirect(self, path: str) -> RedirectResponse:
        """On to another page after a form."""
        return RedirectResponse(path, 303)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def not_signed_in() -> SignInError:
    """Nobody is signed in where somebody must be."""
    return SignInError("this", "nobody is signed in.", "Sign in, or send an API token.")


def guard(route: Route) -> Callable[[Request], Awaitable[None]]:
    """The check that stands before the handler of ``route``."""

    async def check(request: Request) -> None:
        studio: Studio = request.app.state.studio
        try:
            caller = await studio.identities.caller(credentials_of(request), datetime.now(UTC))
        except SignInError:
            if route.kind != "page":
                raise
            caller = Caller()  # the page where one signs in must open, whatever header a browser sends with it
        request.state.caller = caller
        if caller.scopes is not None and route.scope != "any" and route.scope not in caller.scopes:
            raise RefusedError("this API token", f"{route.method} {route.path}: {route.tokens}.", "Make another token.")
        if not route.allow(caller):
            if caller.account is None:
                raise not_signed_in()
            if caller.account.state != "active":
                raise PausedError()
            raise RoleError(caller.role, "admin" if route.allow is administers else "lead")
        request.state.call = Call(request, studio, route, caller)

    return check


async def call_of(request: Request) -> Call:
    """The call of a request that :func:`guard` has let in; without the guard there is none."""
    # Asynchronous though it waits for nothing: FastAPI takes any other dependency through a thread of its own.
    call: Call = request.state.call
    return call


Called = Annotated[Call, Depends(call_of)]
"""Type of a handler's parameter ``call``."""
