"""Every page of the route table in a real browser: each role, both languages, both themes, a wide window and a narrow one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from browser import LARGE, SMALL, Served, assert_accessible, overflow, person, settled
from playwright.sync_api import Browser, expect
from populated import populate
from site_of_tests import copy_project

from heed.project import Project
from heed.web.language import LANGUAGES, catalogue
from heed.web.permissions import anyone, leads, rates, signed_in
from heed.web.routes import all_routes
from heed.web.routing import Route

NO_SCREENS = {"/board/exchange/jobs", "/sign-in/sso", "/sign-in/sso/callback"}
"""Parts of pages that scripts fetch, which are looked at within their pages; and ways to another server and back."""

PAGES = [one for one in all_routes() if one.kind == "page" and one.method == "GET" and one.path not in NO_SCREENS]
PEOPLE = {"nobody": None, "rater": "Ann", "lead": "Lea", "admin": "Root"}
FIRST_WHO_MAY = {anyone: "nobody", signed_in: "rater", rates: "rater", leads: "lead"}

PARAMETERS = {"question_id": "question", "item_id": "item", "account_id": "ann", "secret": "secret"}
"""What stands for the parameters of a path: a name among those that ``populate`` returns."""

OF_PATHS = {"/qualification/{question_id}": {"question_id": "examined"}}
"""Where something else has to stand."""

NAMES = {"name": "Ann"}
"""Parameters whose value is no id."""

LOOKS = [
    pytest.param("en", "light", LARGE, id="en-light-wide", marks=pytest.mark.slow),
    pytest.param("zh", "dark", SMALL, id="zh-dark-narrow"),
]
OTHER_LOOKS = [
    pytest.param(language, theme, size, id=f"{language}-{theme}-{size[0]}")
    for language in LANGUAGES
    for theme in ("light", "dark")
    for size in (LARGE, SMALL)
]


@dataclass(frozen=True)
class World:
    """A server of a populated project, and what is in it by name."""

    served: Served
    names: dict[str, str]

    def path(self, route: Route) -> str:
        """The address of a page with its parameters filled in."""

        def value(match: re.Match[str]) -> str:
            name = match[1].partition(":")[0]
            known = PARAMETERS | OF_PATHS.get(route.path, {})
            assert name in known or name in NAMES, f"{route.path}: say in PARAMETERS what stands for {name}"
            return NAMES[name] if name in NAMES else self.names[known[name]]

        return re.sub(r"\{([^}]*)\}", value, route.path)


@pytest.fixture(scope="module")
def world(empty_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Project(copy_project(empty_project, tmp_path_factory.mktemp("screens") / "project")) as project:
        names = populate(project.store)
        served = Served(project)
        yield World(served, names)
        served.stop()


def visit(
    browser: Browser, world: World, route: Route, who: str, language: str, theme: str, size: tuple[int, int]
) -> None:
    """Open the page and find nothing wrong with it."""
    with person(browser, world.served, PEOPLE[who], size=size, language=language, theme=theme) as visitor:
        page = visitor.page
        response = visitor.goto(world.path(route))
        assert response is not None
        assert response.status == 200, f"{route.path}: {response.status}"
        settled(page)
        assert page.get_attribute("html", "lang") == {"zh": "zh-Hans"}.get(language, language)
        text = page.inner_text("body")
        assert [word for word in re.findall(r"\b[a-z_]+\.[a-z_.]+\b", text) if word in catalogue(language)] == []
        assert re.findall(r"(?<!\w)\{[a-z_]+\}", text) == []
        assert overflow(page) == []
        assert page.locator("h1").count() == 1
        assert visitor.complaints == []
        assert_accessible(page)


def name_of(route: object) -> str | None:
    return route.path if isinstance(route, Route) else None


@pytest.mark.parametrize(("language", "theme", "size"), LOOKS)
@pytest.mark.parametrize("route", PAGES, ids=name_of)
def test_every_page_is_right(browser: Browser, world: World, route: Route, language, theme, size) -> None:
    visit(browser, world, route, FIRST_WHO_MAY.get(route.allow, "admin"), language, theme, size)


def test_the_rows_of_the_log_are_read_whole_on_a_narrow_screen(browser: Browser, world: World) -> None:
    with person(browser, world.served, PEOPLE["lead"], "lead", size=(360, 740)) as lead:
        lead.page.context.request.post(
            world.served.url + "/board/acts/exclude",
            form={"name": "Ann", "reason": "copies what others say, word for word, since Monday"},
            headers={"sec-fetch-site": "same-origin"},
        )
        lead.goto("/board/audit?action=rater.exclude")
        row = lead.page.locator(".rows-alone tbody tr").first
        details = row.locator("td").last
        expect(details).to_contain_text("word for word")
        box, cell = row.bounding_box(), details.bounding_box()
        assert box is not None
        assert cell is not None
        assert cell["x"] >= 0
        assert cell["x"] + cell["width"] <= 360
        assert box["height"] < 260
        assert overflow(lead.page) == []
        assert_accessible(lead.page)


@pytest.mark.slow
@pytest.mark.parametrize(("language", "theme", "size"), OTHER_LOOKS)
@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("route", PAGES, ids=name_of)
def test_every_page_is_right_for_everybody_in_every_look(
    browser: Browser, world: World, route: Route, who: str, language, theme, size
) -> None:
    order = list(PEOPLE)
    if order.index(who) < order.index(FIRST_WHO_MAY.get(route.allow, "admin")):
        pytest.skip("not for this role")
    visit(browser, world, route, who, language, theme, size)
