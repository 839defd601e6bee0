"""The first page: on to where whoever comes has something to do."""

from __future__ import annotations

from starlette.responses import Response

from heed.web.call import Called
from heed.web.permissions import signed_in
from heed.web.routing import Route


async def home(call: Called) -> Response:
    """To the board for leads, to the work for raters, and to their own page for who is paused."""
    if call.account.state != "active":
        return call.redirect("/me")
    return call.redirect("/work" if call.account.role == "rater" else "/board")


ROUTES: tuple[Route, ...] = (Route("GET", "/", home, signed_in, "page", "On to where there is something to do."),)
"""The routes of the first page."""
