"""The table of routes against roles: complete, and what the server does."""

from __future__ import annotations

import re

import pytest
from route_table import ROUTES_AND_ROLES
from site_of_tests import Site
from starlette.routing import Mount
from starlette.testclient import TestClient

from heed.web.on_demand import OnDemand, Rest
from heed.web.permissions import PERMISSIONS
from heed.web.routes import all_routes
from heed.web.routing import Route

CALLERS = ("nobody", "paused", "rater", "lead", "admin")
MAY = {
    "anyone": set(CALLERS),
    "signed_in": {"paused", "rater", "lead", "admin"},
    "rates": {"rater", "lead", "admin"},
    "leads": {"lead", "admin"},
    "administers": {"admin"},
}
SCOPES = ("rate", "read", "manage")

REFUSED = [(route, who) for route in all_routes() for who in CALLERS if who not in MAY[route.allow.__name__]]
OUT_OF_SCOPE = [(route, scope) for route in all_routes() for scope in SCOPES if route.scope not in (scope, "any")]


def name_of(value: object) -> str:
    return f"{value.method} {value.path}" if isinstance(value, Route) else str(value)


def test_the_table_names_every_route_with_who_may_use_it_and_no_other():
    actual = {(*route.key, route.allow.__name__, route.scope) for route in all_routes()}
    assert actual == set(ROUTES_AND_ROLES)


def test_no_two_routes_share_an_address():
    keys = [route.key for route in all_routes()]
    shapes = [(method, re.sub(r"\{[^}]*\}", "{}", path)) for method, path in keys]
    assert len(set(shapes)) == len(shapes)


def test_the_application_answers_the_table_and_static_files_and_nothing_else(site: Site):
    site.app.state.rest.load()
    served = {
        (method, route.path) for route in site.app.routes if isinstance(route, OnDemand) for method in route.methods
    }
    assert {key for key in served if key[0] != "HEAD"} == {route.key for route in all_routes()}
    assert all(path in {path for _, path in served - {("HEAD", path)}} for method, path in served if method == "HEAD")
    others = [route for route in site.app.routes if not isinstance(route, OnDemand)]
    assert [type(route) for route in others] == [Mount, Rest]
    assert others[0].path.startswith("/static/")


def test_reading_never_changes_and_changing_is_never_a_get():
    assert {route.method for route in all_routes() if route.kind in ("stream", "file")} <= {"GET"}


def test_permissions_are_those_of_the_table(site: Site):
    assert {permission.__name__ for permission in PERMISSIONS} == set(MAY)


@pytest.fixture(scope="module")
def clients(empty_project, tmp_path_factory):
    from site_of_tests import copy_project

    from heed.project import Project

    with Project(copy_project(empty_project, tmp_path_factory.mktemp("routes") / "project")) as project:
        site = Site(project)
        found: dict[str, TestClient] = {"nobody": site.anonymous}
        for role in ("rater", "lead", "admin"):
            found[role] = site.client(f"the {role}", role)
        found["paused"] = site.client("the paused", "rater")
        site.pause("the paused")
        for scope in SCOPES:
            found[scope] = site.program("the admin", "admin", [scope])
        yield found
        site.close()


def ask(client: TestClient, route: Route) -> tuple[int, str]:
    """Status and body of the route called with names that nothing has and, where it changes something, an empty body."""
    path = re.sub(r"\{[^}]*\}", "nothing-of-this-name", route.path)
    json = None if route.method == "GET" else {}
    response = client.request(route.method, path, json=json)
    return response.status_code, response.headers.get("location", "") + response.text


@pytest.mark.parametrize(("route", "caller"), REFUSED, ids=name_of)
def test_who_may_not_is_refused_before_anything_is_looked_at(clients, route: Route, caller: str):
    status, text = ask(clients[caller], route)
    if caller != "nobody":
        assert status == 403
    elif route.kind != "api" and not route.path.startswith("/api/") and route.method == "GET":
        assert status == 303
        assert text.startswith("/sign-in?next=")
    else:
        assert status == 401


@pytest.mark.parametrize(("route", "scope"), OUT_OF_SCOPE, ids=name_of)
def test_a_token_does_only_what_its_scope_is_for(clients, route: Route, scope: str):
    assert ask(clients[scope], route)[0] == 403
