"""The table of routes: everything the server answers, and who may ask. A test holds it complete."""

from __future__ import annotations

from importlib import import_module

from heed.web.routing import Route

# Raters' first: they ask most, and routes are tried one after another.
_SURFACES = (
    "heed.web.studio.routes",
    "heed.web.account.routes",
    "heed.web.board.routes",
    "heed.web.exchange.routes",
    "heed.web.exchange.media_routes",
)


def all_routes() -> tuple[Route, ...]:
    """Every route of every surface, in the order in which they are tried."""
    return tuple(route for surface in _SURFACES for route in import_module(surface).ROUTES)
