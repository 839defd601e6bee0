"""The frame of every page in a real browser, and that texts of anybody do nothing in one."""

from __future__ import annotations

import pytest
from browser import LARGE, SMALL, Served, assert_accessible, overflow, person
from playwright.sync_api import Browser
from test_markup import ATTACKS

from heed.web.markup import plain, render


@pytest.mark.parametrize("size", [LARGE, SMALL], ids=["wide", "narrow"])
@pytest.mark.parametrize(
    ("theme", "language"),
    [
        ("light", "en"),
        ("dark", "zh"),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in (("light", "zh"), ("dark", "en"))),
    ],
)
def test_the_frame_is_accessible_and_fits(browser: Browser, served: Served, size, theme: str, language: str) -> None:
    with person(browser, served, "lea", "lead", size=size, theme=theme, language=language) as lea:
        lea.goto("/nothing-is-here")
        assert lea.page.get_attribute("html", "lang") == {"en": "en", "zh": "zh-Hans"}[language]
        assert overflow(lea.page) == []
        assert lea.complaints == []
        assert_accessible(lea.page)


def test_the_first_tab_reaches_a_way_past_the_navigation(browser: Browser, served: Served) -> None:
    with person(browser, served, "lea", "lead") as lea:
        lea.goto("/nothing-is-here")
        lea.press("Tab")
        assert lea.page.evaluate("document.activeElement.className") == "skip-link"
        assert lea.page.locator(".skip-link").bounding_box()["width"] > 40
        lea.press("Enter")
        assert lea.page.evaluate("document.activeElement.id") == "main"


def test_the_account_menu_opens_and_closes_by_keys(browser: Browser, served: Served) -> None:
    with person(browser, served, "lea", "lead") as lea:
        lea.goto("/nothing-is-here")
        menu = lea.page.locator("details[data-menu]")
        menu.locator("summary").focus()
        lea.press("Enter")
        assert menu.get_attribute("open") is not None
        assert lea.page.get_by_role("button", name="Sign out").is_visible()
        lea.press("Tab", "Escape")
        assert menu.get_attribute("open") is None
        assert lea.page.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_attacks_in_texts_do_nothing_in_a_browser(browser: Browser, served: Served) -> None:
    """Each attack is put into a page that allows every script, so that only the text's own harmlessness protects it."""
    texts = [str(make(attack.replace("\ud800", ""))) for attack in ATTACKS for make in (render, plain)]
    context = browser.new_context()
    try:
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: (asked.append("dialog"), dialog.dismiss()))
        page.set_content("<!doctype html><main></main>")
        found = page.evaluate(
            """async (texts) => {
              const faults = [];
              window.alert = () => faults.push("alert");
              const active = "script, style, iframe, object, embed, form, base, meta, link, svg, mglyph, annotation-xml";
              for (const text of texts) {
                const place = document.querySelector("main");
                place.innerHTML = text;
                if (place.querySelector(active)) faults.push(text);
                for (const one of place.querySelectorAll("*")) {
                  if ([...one.attributes].some((a) => a.name.startsWith("on") || a.name === "style")) faults.push(text);
                  if (one.href && !/^(https?|mailto):/.test(one.href)) faults.push(one.href);
                }
                for (const link of place.querySelectorAll("math *")) link.dispatchEvent(new MouseEvent("click"));
              }
              await new Promise((resolve) => setTimeout(resolve, 200));
              return faults;
            }""",
            texts,
        )
        assert found == []
        assert [url for url in asked if not url.startswith(("about:", "data:")) and "/media/" not in url] == []
    finally:
        context.close()


def test_times_are_shown_in_the_readers_language_and_zone(browser: Browser, served: Served) -> None:
    with person(browser, served, language="zh", timezone_id="Asia/Shanghai") as reader:
        reader.goto("/nothing-is-here")
        shown = reader.page.evaluate(
            """async (base) => {
              const ui = await import(base);
              document.querySelector("main").innerHTML =
                '<time datetime="2026-03-01T20:00:00+00:00" data-time="full"></time><time datetime="' +
                new Date(Date.now() - 3 * 60000 - 5000).toISOString() + '" data-time="relative"></time>';
              ui.showTimes();
              return [...document.querySelectorAll("time")].map((one) => one.textContent);
            }""",
            str(reader.page.get_attribute("script[type=module]", "src")).replace("base.js", "ui.js"),
        )
        assert shown[0].startswith("2026年3月2日")
        assert "04:00" in shown[0]
        assert shown[1] == "3分钟前"
