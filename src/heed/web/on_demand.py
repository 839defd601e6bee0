"""Routes that FastAPI prepares when their first request comes.

To read the parameters of every handler takes longer than half of all that a server does before it answers, and most sessions
use a few of them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any

from fastapi.routing import APIRoute
from starlette import routing
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from heed.web.call import guard
from heed.web.routing import Route


def api_route(route: Route, body_limit: int, responses: dict[int | str, dict[str, Any]] | None = None) -> APIRoute:
    """A row of the table as FastAPI takes it, with the guard before its handler.

    Args:
        route: the row.
        body_limit: largest body (bytes).
        responses: what it answers, for the reference.
    """
    return _guarded(route)(
        route.path,
        route.handler,
        methods=_methods(route),
        status_code=route.status,
        max_body_size=body_limit,
        summary=route.summary,
        operation_id=f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}",
        tags=[route.path.split("/")[3]] if route.path.startswith("/api/v1/") else None,
        response_model=None,
        responses=responses,
    )


class OnDemand(routing.Route):
    """A row of the table, known by its address and methods from the start, prepared once in a process."""

    def __init__(self, route: Route, body_limit: int) -> None:
        super().__init__(route.path, route.handler)
        self.methods = set(_methods(route))
        self.app = self._answer
        self._route, self._body_limit = route, body_limit

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _prepared(self._route, self._body_limit).app(scope, receive, send)


@cache
def _prepared(route: Route, body_limit: int) -> APIRoute:
    return api_route(route, body_limit)


def _methods(route: Route) -> list[str]:
    return [route.method, "HEAD"] if route.method == "GET" and route.kind != "api" else [route.method]


def _guarded(route: Route) -> type[APIRoute]:
    """A kind of route whose guard stands before everything: what nobody may send is not even read."""
    check = guard(route)

    class Guarded(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handler = super().get_route_handler()

            async def checked(request: Request) -> Response:
                await check(request)
                return await handler(request)

            return checked

    return Guarded
