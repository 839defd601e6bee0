"""The routes of this surface."""

from __future__ import annotations

from heed.web.routing import Route
from heed.web.studio import api, home, my_page, pages

ROUTES: tuple[Route, ...] = (
    *home.ROUTES,
    *pages.ROUTES,
    *my_page.ROUTES,
    *api.API_ROUTES,
)
