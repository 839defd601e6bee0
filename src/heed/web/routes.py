"""The table of routes: everything the server answers, and who may ask. A test holds it complete."""

from __future__ import annotations

from importlib import import_module

from heed.web.routing import Route

# The first page of whoever comes is one of these.
_FIRST = ("heed.web.account.entry_routes",)

# Raters' first: they ask most, and routes are tried one after another.
_LATER = (
    "heed.web.studio.routes",
    "heed.web.account.routes",
    "heed.web.board.routes",
    "heed.web.exchange.routes",
    "heed.web.exchange.media_routes",
)


def first_routes() -> tuple[Route, ...]:
    """Those that a server has when it starts."""
    return _routes(_FIRST)


def later_routes() -> tuple[Route, ...]:
    """All others: to load what answers them takes a third of a server's start."""
    return _routes(_LATER)


def all_routes() -> tuple[Route, ...]:
    """Every route of every surface, in the order in which they are tried."""
    return first_routes() + later_routes()


def _routes(surfaces: tuple[str, ...]) -> tuple[Route, ...]:
    return tuple(route for surface in surfaces for route in import_module(surface).ROUTES)
