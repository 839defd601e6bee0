"""What a lead sees on a phone, and while choosing what others are asked, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from browser import Served, person
from playwright.sync_api import Browser, expect
from site_of_tests import copy_project

from heed.project import Project
from heed.sandbox import studio_world
from heed.web import media

PHONE = (390, 780)


@pytest.fixture(scope="module")
def world(empty_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of the studio to try."""
    root = copy_project(empty_project, tmp_path_factory.mktemp("board") / "project")
    with Project(root) as project:
        studio_world.fill(project.store, lambda content: media.keep(root, content).id, datetime.now(UTC))
        served = Served(project)
        yield served
        served.stop()


def test_a_persons_page_fits_a_phone_and_the_rest_unfolds(browser: Browser, world: Served) -> None:
    with person(browser, world, studio_world.LEAD, "lead", size=PHONE) as lead:
        lead.goto("/board/people/Mira")
        page = lead.page
        assert page.evaluate("document.documentElement.scrollHeight") < 6000
        rows = page.locator("section[aria-labelledby=answers-title] tbody tr")
        assert rows.count() > 30
        shown = rows.locator("visible=true").count()
        assert shown < 10
        page.locator("section[aria-labelledby=answers-title] summary").click()
        assert rows.locator("visible=true").count() == rows.count()


def test_the_total_follows_what_is_ticked_and_how_many_can_still_answer(browser: Browser, world: Served) -> None:
    with person(browser, world, studio_world.LEAD, "lead") as lead:
        lead.goto("/board/trust")
        page = lead.page
        boxes = page.locator("form[data-round] input[name=item]:enabled")
        room = [int(boxes.nth(n).get_attribute("data-room") or 0) for n in range(boxes.count())]
        assert min(room) < max(room)
        total, more = page.locator("form[data-round] output"), page.locator("#round-more")
        expect(total).to_have_text("In all: 0 further answers")
        expect(page.get_by_role("button", name="Ask others")).to_be_disabled()
        for number in range(len(room)):
            boxes.nth(number).check()
        expect(total).to_have_text(f"In all: {len(room)} further answers")
        more.fill(str(max(room)))
        expect(total).to_have_text(f"In all: {sum(room)} further answers")
        for number in range(1, len(room)):
            boxes.nth(number).uncheck()
        expect(total).to_have_text(f"In all: {room[0]} further answers")
        more.fill("1")
        expect(total).to_have_text("In all: 1 further answer")
        boxes.nth(0).uncheck()
        expect(page.get_by_role("button", name="Ask others")).to_be_disabled()
        boxes.nth(0).check()
        page.get_by_role("button", name="Ask others").click()
        expect(page.get_by_text("further answers: 1, items: 1")).to_be_visible()
        page.get_by_role("button", name="Take back").click()
        page.locator("dialog[open] button.primary").click()
        expect(page.get_by_text("nobody further is asked about these items")).to_be_visible()
        assert lead.complaints == []
