"""Routes that are loaded, and prepared by FastAPI, when a request first needs them.

To load all that answers, and to read the parameters of every handler, takes longer than all else that a server does before
it answers, and most sessions use a few of them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
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


class Rest(routing.BaseRoute):
    """Stands last in a list of routes for those that are not loaded yet, and makes way for them when a request gets so far.

    Args:
        routes: the list, which grows.
        load: gives the rows of the table that are to follow.
        body_limit: largest body (bytes) of a row.
    """

    def __init__(
        self,
        routes: list[routing.BaseRoute],
        load: Callable[[], Sequence[Route]],
        body_limit: Callable[[Route], int],
    ) -> None:
        self._routes, self._load, self._body_limit = routes, load, body_limit
        self._loaded = False

    def matches(self, scope: Scope) -> tuple[routing.Match, Scope]:
        """None itself. The router, which is going through the list, goes on with what now follows."""
        self.load()
        return routing.Match.NONE, {}

    def load(self) -> None:
        """Have the rows follow, if they do not yet."""
        if not self._loaded:
            self._loaded = True
            self._routes += [OnDemand(route, self._body_limit(route)) for route in self._load()]


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
