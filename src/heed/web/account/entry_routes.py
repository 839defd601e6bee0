"""The routes by which people come in and leave."""

from __future__ import annotations

from heed.web.account import entry, guests, sso
from heed.web.permissions import anyone
from heed.web.routing import Route

ROUTES: tuple[Route, ...] = (
    Route("GET", "/sign-in", entry.sign_in_page, anyone, "page", "Sign in"),
    Route("POST", "/sign-in", entry.sign_in, anyone, "page", "Sign in"),
    Route("GET", "/sign-in/sso", sso.begin, anyone, "page", "Sign in elsewhere"),
    Route("GET", sso.CALLBACK, sso.callback, anyone, "page", "Back from signing in elsewhere"),
    Route("POST", "/sign-out", entry.sign_out, anyone, "page", "Sign out"),
    Route("POST", "/preferences", entry.preferences, anyone, "page", "Switch language or colours"),
    Route("GET", "/invitation/{secret}", guests.invitation_page, anyone, "page", "Take an invitation"),
    Route("POST", "/invitation/{secret}", guests.accept, anyone, "page", "Take an invitation"),
)
