"""A studio to try: a throw-away project, and links that sign in as the people in it for as long as the server runs."""

from __future__ import annotations

import hmac
import secrets
from datetime import UTC, datetime
from pathlib import Path

from fastapi import FastAPI
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from heed.config import ProjectSettings
from heed.errors import MissingError
from heed.people import accounts, sessions
from heed.project import Project
from heed.sandbox import studio_world
from heed.web import media
from heed.web.app import create_app
from heed.web.call import Studio
from heed.web.identity import session_cookie
from heed.web.security import Address, cookie_flags

PEOPLE = (
    ("a rater", studio_world.RATER, "/"),
    ("the lead", studio_world.LEAD, "/board"),
    ("the admin", studio_world.ADMIN, "/board"),
)


def make_trial(folder: Path) -> Project:
    """A new project with something on every screen; the caller closes it."""
    project = Project.create(folder, ProjectSettings(name=studio_world.NAME, model="none"))
    try:
        studio_world.fill(project.store, lambda content: media.keep(folder, content).id, datetime.now(UTC))
    except BaseException:
        project.close()
        raise
    return project


def trial_app(project: Project, address: Address) -> tuple[FastAPI, list[tuple[str, str]]]:
    """The server of a project made by :func:`make_trial`, and (who, path) of links that sign in.

    The links are as secret as passwords, made anew at each start, and exist in no other server than this one.
    """
    app = create_app(project, address)
    secret = secrets.token_urlsafe(24)

    async def sign_in(request: Request) -> Response:
        given, person = request.path_params["secret"], request.path_params["person"]
        known = {name: (account, start) for (_, account, start), name in zip(PEOPLE, _NAMES, strict=True)}
        if not hmac.compare_digest(given.encode(), secret.encode()) or person not in known:
            raise MissingError("this address", "there is nothing here.", "Use a link that heed serve --try printed.")
        name, start = known[person]
        studio: Studio = request.app.state.studio
        now = datetime.now(UTC)

        def begin(connection: Connection) -> str:
            account = accounts.find(connection, name)
            assert account is not None
            return sessions.begin(connection, account.id, request.headers.get("user-agent", ""), now)

        response = RedirectResponse(start, 303)
        response.set_cookie(session_cookie(address), await studio.desk.write(begin), **cookie_flags(address))
        return response

    app.router.routes.insert(0, Route("/try/{secret}/{person}", sign_in, methods=["GET"]))
    return app, [
        (f"{role} ({account})", f"/try/{secret}/{name}")
        for (role, account, _), name in zip(PEOPLE, _NAMES, strict=True)
    ]


_NAMES = ("rater", "lead", "admin")
