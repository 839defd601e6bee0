"""What a route is. Every address of the server is one row that says who may use it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from heed.config import ServeSettings
from heed.web.permissions import Permission, Scope

Kind = Literal["api", "page", "stream", "file"]

DEFAULT_BODY_LIMIT = 2 * 1024 * 1024
"""Largest body of a request (bytes) where the route says no other: four times the longest answer anybody types."""


@dataclass(frozen=True)
class Route:
    """One address.

    Attributes:
        method: of HTTP. A GET changes nothing.
        path: as FastAPI writes it, with ``{names}``.
        handler: ``async def`` with a parameter ``call: Called`` and whatever FastAPI can read from the request.
        allow: who may.
        kind: "api" answers JSON and is in the OpenAPI document; "page" HTML; "stream" server-sent events; "file" bytes.
        summary: what it does, for the reference.
        scope: which API tokens may use it; None for none, only sessions.
        model: what an API route answers, for the reference.
        status: of success.
        body_limit: largest body (bytes), or how the project's settings say it.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    handler: Callable[..., Awaitable[Any]]
    allow: Permission
    kind: Kind = "api"
    summary: str = ""
    scope: Scope | None = None
    model: Any = None
    status: int = 200
    body_limit: int | Callable[[ServeSettings], int] = DEFAULT_BODY_LIMIT

    def most_sent(self, settings: ServeSettings) -> int:
        """Largest body (bytes) of a request under a project's settings."""
        return self.body_limit(settings) if callable(self.body_limit) else self.body_limit

    @property
    def tokens(self) -> str:
        """Which API tokens may use it, in words."""
        if self.scope is None:
            return "not for API tokens"
        return "for every API token" if self.scope == "any" else f"an API token needs the scope '{self.scope}'"

    @property
    def key(self) -> tuple[str, str]:
        """Method and path, which no two routes share."""
        return self.method, self.path
