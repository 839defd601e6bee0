"""The application: the table of routes behind one gate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from heed.config import ServeSettings
from heed.errors import HeedError, SignInError
from heed.memory import keep_what_is_loaded
from heed.project import Project
from heed.web.background import beside
from heed.web.call import Call, Studio
from heed.web.connections import AcceptErrors
from heed.web.desk import Desk
from heed.web.errors import PausedError, RoleError, asked_for_json, internal, of_http, of_validation, problem, status_of
from heed.web.identity import Identities, credentials_of
from heed.web.on_demand import OnDemand, Rest, api_route
from heed.web.pages import STATIC, static_version
from heed.web.permissions import Caller, anyone
from heed.web.routes import all_routes, first_routes, later_routes
from heed.web.routing import Route
from heed.web.security import Address, Gate
from heed.web.services import SERVICES

_FIRST_PAGE_SECONDS = 1.0
"""How long after its start a server leaves the processor to the first page."""


def create_app(project: Project, address: Address | None = None) -> FastAPI:
    """The server of a project.

    Args:
        project: open; the caller closes it when the server has ended.
        address: where the server is reached; None is this machine alone.
    """
    where = address or Address()
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=partial(_life, project, where))
    serve = project.settings.serve
    routes = app.router.routes
    routes += [OnDemand(route, route.most_sent(serve)) for route in first_routes()]
    app.mount(f"/static/{static_version()}", _StaticFiles(directory=STATIC))
    app.state.rest = Rest(routes, later_routes, lambda route: route.most_sent(serve))
    routes.append(app.state.rest)
    app.add_exception_handler(HeedError, _tell_error)
    app.add_exception_handler(RequestValidationError, _tell_validation)
    app.add_exception_handler(HTTPException, _tell_http)
    app.add_middleware(Gate, address=where, tell_fault=_tell_fault)
    return app


def documented_app() -> FastAPI:
    """The same routes with the models of what they answer, for the API's reference.

    The handlers answer with what they have made: the models are held by a test, not applied anew, and preparing them takes time
    that a server does not have when it starts.
    """
    app = FastAPI(title="heed", version="1")
    for route in all_routes():
        if route.path.startswith("/api/") and route.kind in ("api", "file"):
            told: dict[int | str, dict[str, Any]] = {route.status: {"model": route.model}} if route.model else {}
            plain = replace(route, kind="api")  # without the HEAD that files have beside GET
            app.router.routes.append(api_route(plain, route.most_sent(ServeSettings()), told))
    return app


@asynccontextmanager
async def _life(project: Project, address: Address, app: FastAPI) -> AsyncIterator[None]:
    asyncio.get_running_loop().set_exception_handler(AcceptErrors())
    desk = Desk(project.store)
    studio = Studio(project, desk, address, Identities(desk))
    app.state.studio = studio
    try:
        async with AsyncExitStack() as running:
            for service in SERVICES:
                await running.enter_async_context(service(studio))
            await running.enter_async_context(beside(_load_rest(app.state.rest)))
            try:
                yield
            finally:
                studio.stopping.set()
    finally:
        desk.close()


async def _load_rest(rest: Rest) -> None:
    """Once the first page is out, so that nobody's first click waits for it."""
    await asyncio.sleep(_FIRST_PAGE_SECONDS)
    await asyncio.to_thread(later_routes)
    rest.load()
    keep_what_is_loaded()


class _StaticFiles(StaticFiles):
    """Files under an address that changes with them, so that they may be kept for ever."""

    def file_response(self, *args: Any, **keywords: Any) -> Response:
        response = super().file_response(*args, **keywords)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


# Errors


async def _tell_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HeedError)
    status, _ = status_of(error)
    if asked_for_json(request):
        return problem(error, request)
    if isinstance(error, SignInError) and request.method in ("GET", "HEAD"):
        return RedirectResponse(f"/sign-in?next={quote(request.url.path, safe='/')}", 303)
    return await _error_page(request, error, status)


async def _error_page(request: Request, error: HeedError, status: int) -> Response:
    call = getattr(request.state, "call", None)
    if call is None:
        studio: Studio = request.app.state.studio
        try:
            caller = await studio.identities.caller(credentials_of(request), datetime.now(UTC))
        except HeedError:
            caller = Caller()  # whoever it is, this is about something else
        call = Call(request, studio, Route("GET", request.url.path, _nothing, anyone, "page"), caller)
    template = "account/paused.html" if isinstance(error, PausedError) else "error.html"
    needed = error.needed if isinstance(error, RoleError) else ""
    return call.page(template, status, error=error, status=status, needed=needed)


async def _nothing() -> None:
    """Handler of addresses that have none."""


async def _tell_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _tell_error(request, of_validation(error))


async def _tell_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return await _tell_error(request, of_http(error, request))


async def _tell_fault(request: Request) -> Response:
    return await _tell_error(request, internal())
