"""Signing in, invitations, guidelines, the test and settings in a real browser: by keyboard, at all widths, for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from browser import LARGE, SMALL, Person, Served, assert_accessible, chromium, overflow, person
from playwright.sync_api import Browser, expect
from site_of_tests import copy_project
from sqlalchemy import insert

from heed.feedback import asked, studio_schema
from heed.feedback.forms import parse_form
from heed.people import accounts, guidelines, invitations, qualification
from heed.people.accounts import OPERATOR
from heed.people.passwords import hash_password
from heed.project import Project

PASSWORD = "seven green bottles"
GUIDELINES = "# Be kind\n\nPrefer the reply that **helps**. See `area(r)` and $\\pi r^2$.\n\n| Fault | Weight |\n|:--|--:|\n| rude | 3 |\n"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def served(empty_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Project(copy_project(empty_project, tmp_path_factory.mktemp("account") / "project")) as project:
        running = Served(project)
        yield running
        running.stop()


@pytest.fixture(scope="module")
def places(served: Served) -> dict[str, str]:
    """Address of each screen of this surface."""
    now = datetime.now(UTC)
    made = served.write(lambda c: asked.create_question(c, "which", _form(), "boss", now))
    (prompt,) = served.project.store.add_prompts([("Say hello.", "train", "t")])
    served.write(lambda c: c.execute(insert(studio_schema.items), _item(made.id, prompt, now)))
    served.write(lambda c: guidelines.save(c, GUIDELINES, "", "boss", 0, now))
    served.account("ann")
    served.write(lambda c: guidelines.acknowledge(c, "ann", 1, now))
    served.write(lambda c: guidelines.save(c, GUIDELINES + "\nAnd be brief.", "brevity counts", "boss", 1, now))
    served.write(lambda c: qualification.begin(c, "ann", made.id, now))
    link = served.write(lambda c: invitations.invite(c, "lead", "", None, "", OPERATOR, now))
    zoe = served.account("zoë")
    reset = served.write(lambda c: invitations.reset_link(c, zoe.id, OPERATOR, now))
    hashed = hash_password(PASSWORD, "pia")
    served.write(lambda c: accounts.create_account(c, "pia", "admin", "north", now, hashed))
    return {
        "sign in": "/sign-in",
        "invitation": f"/invitation/{link}",
        "reset": f"/invitation/{reset}",
        "no invitation": "/invitation/nothing",
        "guidelines": "/guidelines",
        "test": f"/qualification/{made.id}",
        "settings": "/settings",
    }


def _form():
    return parse_form(
        {
            "title": "Which reply would you rather have received?",
            "fields": [{"kind": "comparison", "name": "better", "label": "Which?"}],
            "qualification": {"pass_mark": 0.8},
        }
    )


def _item(question: str, prompt: str, now: datetime) -> dict[str, object]:
    known = {"expected": {"better": {"choice": "a"}}, "explanation": "Because it is kind.", "purpose": "qualification"}
    counts = {"priority": 0, "overlap": 2, "level": 0, "answers": 0, "available": False, "random_key": 0.5}
    texts = {"state": "active", "adjudicated": False, "source": "", "search_text": "", "created": now}
    ids = {"id": "i0", "question_id": question, "prompt_id": prompt, "completion_ids": ["x", "y"]}
    return ids | known | counts | texts


SCREENS = ("sign in", "invitation", "reset", "no invitation", "guidelines", "test", "settings")
NOBODYS = ("sign in", "invitation", "reset", "no invitation")


@pytest.mark.parametrize(
    ("size", "language", "theme"),
    [
        pytest.param(LARGE, "en", "light", id="wide-en-light", marks=pytest.mark.slow),
        pytest.param(SMALL, "zh", "dark", id="narrow-zh-dark"),
        pytest.param(LARGE, "zh", "dark", id="wide-zh-dark", marks=pytest.mark.slow),
        pytest.param(SMALL, "en", "light", id="narrow-en-light", marks=pytest.mark.slow),
    ],
)
def test_every_screen_is_accessible_and_fits(browser, served, places, size, language, theme):
    for screen in SCREENS:
        who = None if screen in NOBODYS else "ann" if screen != "settings" else "pia"
        with person(browser, served, who, size=size, language=language, theme=theme) as visitor:
            visitor.goto(places[screen])
            expect(visitor.page.locator("h1")).to_be_visible()
            assert_accessible(visitor.page)
            assert overflow(visitor.page) == [], screen
            assert visitor.complaints == [], screen


def tab_to(visitor: Person, selector: str) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(80):
        if visitor.page.locator(selector).evaluate("one => one === document.activeElement"):
            return
        visitor.press("Tab")
    raise AssertionError(f"Tab does not lead to {selector}")


def test_a_guest_comes_in_signs_out_and_in_again_by_keyboard(browser, served):
    secret = served.write(lambda c: invitations.invite(c, "rater", "", None, "", OPERATOR, datetime.now(UTC)))
    with person(browser, served) as guest:
        page = guest.page
        guest.goto(f"/invitation/{secret}")
        tab_to(guest, "#field-name")
        page.keyboard.type("Grace")
        tab_to(guest, "#field-password")
        page.keyboard.type("short")
        guest.press("Enter")
        # The browser itself says that it is too short; nothing is sent.
        assert page.locator("#field-password").evaluate("one => one.validity.tooShort")
        page.keyboard.type(PASSWORD)
        tab_to(guest, "#field-password ~ label input")
        guest.press("Space")
        expect(page.locator("#field-password")).to_have_attribute("type", "text")
        tab_to(guest, "main button.primary")
        guest.press("Enter")
        expect(page.locator("form[action='/sign-out']")).to_have_count(1)
        guest.goto("/settings")
        expect(page.get_by_text("Grace").first).to_be_visible()
        tab_to(guest, "details[data-menu] summary")
        guest.press("Enter")
        tab_to(guest, "form[action='/sign-out'] button")
        guest.press("Enter")
        page.wait_for_url("**/sign-in")
        expect(page.locator("#field-name")).to_be_focused()
        page.keyboard.type("grace")
        guest.press("Tab")
        page.keyboard.type("wrong wrong wrong")
        guest.press("Enter")
        expect(page.get_by_role("alert")).to_be_visible()
        assert_accessible(page)
        expect(page.locator("#field-password")).to_be_focused()
        page.keyboard.type("short" + PASSWORD)
        guest.press("Enter")
        expect(page.locator("form[action='/sign-out']")).to_have_count(1)


def test_keys_are_set_by_pressing_them_and_a_new_token_is_shown_once(browser, served, places):
    with person(browser, served, "pia") as pia:
        page = pia.page
        pia.goto("/settings")
        tab_to(pia, "#key-left")
        pia.press("x")
        expect(page.locator("#key-left")).to_have_value("x")
        tab_to(pia, "#key-skip")
        pia.press("Backspace")
        page.locator("form[action='/settings/keys'] button.primary").click()
        page.wait_for_url("**/settings?done=keys")
        expect(page.locator("#key-left")).to_have_value("x")
        expect(page.locator("#key-skip")).to_have_value("")
        page.locator("#field-token-name").fill("a script")
        page.locator("form[action='/settings/tokens'] button.primary").click()
        expect(page.locator("#new-token")).to_contain_text("heed_")
        assert_accessible(page)
        pia.goto("/settings")
        expect(page.locator("#new-token")).to_have_count(0)
        assert pia.complaints == []


def test_everything_works_without_scripts(browser, served):
    secret = served.write(lambda c: invitations.invite(c, "rater", "", None, "", OPERATOR, datetime.now(UTC)))
    with person(browser, served, java_script_enabled=False) as guest:
        guest.goto(f"/invitation/{secret}")
        guest.page.locator("#field-name").fill("Plain")
        guest.page.locator("#field-password").fill(PASSWORD)
        guest.page.locator("main button.primary").click()
        guest.goto("/settings")
        guest.page.locator("#field-theme").select_option("dark")
        guest.page.locator("form[action='/settings/preferences'] button").click()
        guest.page.wait_for_url("**/settings?done=preferences")
        expect(guest.page.locator("html")).to_have_attribute("data-theme", "dark")
