"""The item screen in a real browser: which part a key goes to, what is missing, and what is said of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from browser import Served, person
from playwright.sync_api import Browser, Route, expect
from work_screen import COMPARISON, CRITIQUE, RATING, ask, begin, places, prompt, sent, stored, waits_for_next

OWN = {"kind": "demonstration", "name": "own", "label": "Own", "required": False}


def chosen(rater: Any) -> list[str]:
    """Values of what is chosen, in the order of the screen."""
    return rater.page.locator(".item input:checked").evaluate_all("(all) => all.map((one) => one.value)")


def test_a_choice_marks_the_next_part_and_its_strength_is_still_one_key_away(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON, ask_confidence=True)
    with person(browser, served, "ann") as ann:
        begin(ann)
        first = prompt(ann)
        marked = ann.page.locator(".part.current .part-label")
        expect(marked).to_contain_text("Which is better?")
        ann.press("1", "4")
        assert chosen(ann) == ["left", "3"]
        expect(marked).to_contain_text("How sure are you?")
        ann.press("w")
        assert chosen(ann) == ["left", "2", "3"]
        ann.press("Enter")
        waits_for_next(ann, first)
        sent(ann)
        (row,) = stored(served)
        assert (row.answer["better"]["choice"], row.answer["better"]["strength"]) == ("ab"[row.shown_order[0]], 2)
        assert row.confidence == 0.75


def test_no_key_changes_an_answer_in_another_part(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON, {"kind": "ranking", "name": "order", "label": "Order"}, OWN)
    with person(browser, served, "ann") as ann:
        begin(ann)
        ann.press("1", "q", "2", "1")
        assert chosen(ann) == ["left", "1", "1", "0"]
        # The mark stands on the text now: none of these keys is its own.
        ann.press("2", "4", "w", "e")
        assert chosen(ann) == ["left", "1", "1", "0"]
        ann.press("k", "k", "k", "2", "k", "w")
        assert chosen(ann) == ["right", "2", "1", "0"]


def test_every_gap_is_marked_at_once_and_the_columns_stay_aligned(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON, RATING)
    with person(browser, served, "ann") as ann:
        begin(ann)
        ann.press("1", "Enter")
        wrong = ann.page.locator(".field-error:visible")
        expect(wrong.filter(has_text="Give a score.")).to_have_count(3)
        expect(wrong.filter(has_text="Choose one.")).to_have_count(1)
        tops = ann.page.locator(".slot .part").evaluate_all(
            "(all) => all.map((one) => one.getBoundingClientRect().top)"
        )
        assert tops[:2] == tops[2:]
        # What is mended says nothing any more; what is not still does.
        ann.press("ArrowRight")
        expect(wrong.filter(has_text="Give a score.")).to_have_count(2)


def test_a_ranking_with_gaps_is_asked_about_once_unless_they_were_meant(browser: Browser, served: Served) -> None:
    ask(served, {"kind": "ranking", "name": "order", "label": "Order"}, texts=("one", "two", "three"))
    with person(browser, served, "ann") as ann:
        begin(ann)
        asked_about = ann.page.locator("#work-state", has_text="1 answer is not ranked.")
        ann.press("1", "2", "Enter")
        expect(asked_about).to_be_visible()
        ann.press("0")
        expect(ann.page.get_by_role("radio", name="leave out").last).to_be_checked()
        expect(asked_about).to_have_count(0)
        ann.press("Enter")
        sent(ann)
        assert sum(len(group) for group in stored(served)[0].answer["order"]["groups"]) == 2


def test_a_form_may_want_all_ranked(browser: Browser, served: Served) -> None:
    ask(served, {"kind": "ranking", "name": "order", "label": "Order", "partial": False}, texts=("one", "two", "three"))
    with person(browser, served, "ann") as ann:
        begin(ann)
        ann.press("1", "2", "Enter", "Enter")
        expect(ann.page.locator(".field-error:visible")).to_have_text("Rank them all.")
        assert stored(served) == []
        ann.press("3", "Enter")
        sent(ann)
        assert len(stored(served)) == 1


def test_a_message_goes_by_itself_and_covers_no_bar_even_under_a_resting_pointer(
    browser: Browser, served: Served
) -> None:
    ask(served, COMPARISON)
    with person(browser, served, "ann") as ann:
        ann.page.clock.install()
        begin(ann)
        first = prompt(ann)
        ann.press("1", "Enter")
        waits_for_next(ann, first)
        sent(ann)
        ann.press("u")
        toast = ann.page.locator(".toast")
        box, bar = toast.bounding_box(), ann.page.locator("#bar").bounding_box()
        assert box is not None
        assert bar is not None
        assert box["y"] + box["height"] <= bar["y"]
        ann.page.clock.run_for(6_000)
        expect(toast).to_have_count(0)
        # The next one comes up under the pointer, which holds it only once it moves there.
        ann.page.mouse.move(box["x"] + 20, box["y"] + 20)
        ann.press("Enter")
        waits_for_next(ann, first)
        sent(ann)
        ann.press("u")
        expect(toast).to_be_visible()
        ann.page.mouse.move(box["x"] + 24, box["y"] + 20)
        ann.page.clock.run_for(12_000)
        expect(toast).to_be_visible()
        ann.page.mouse.move(10, 10)
        ann.page.clock.run_for(6_000)
        expect(toast).to_have_count(0)
        ann.page.mouse.move(box["x"] + 20, box["y"] + 20)
        ann.press("Enter")
        waits_for_next(ann, first)
        sent(ann)
        ann.press("u")
        expect(toast).to_be_visible()
        ann.page.clock.run_for(6_000)
        expect(toast).to_have_count(0)


def test_what_the_server_refuses_is_told_in_the_language_of_the_screen(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON)
    with person(browser, served, "ann", language="zh") as ann:
        begin(ann)
        problem = {"what": "this item", "why": "others have it.", "fix": "Go on."}

        def refuse(route: Route, code: str, status: int) -> None:
            body = json.dumps({"error": {**problem, "code": code}})
            route.fulfill(status=status, content_type="application/json", body=body)

        ann.page.route("**/answer", lambda route: refuse(route, "conflict", 409))
        ann.press("1", "Enter")
        banner = ann.page.locator(".banner")
        expect(banner).to_contain_text("您已标注或跳过此条目")
        expect(banner).not_to_contain_text("others have it")
        ann.page.route("**/flag", lambda route: refuse(route, "refused", 403))
        ann.press("f")
        ann.page.keyboard.type("odd")
        ann.press("Control+Enter")
        expect(ann.page.locator(".toast")).to_contain_text("可能已被暂停")
        assert len(places(ann)) == 2


@pytest.mark.parametrize(
    ("language", "told"),
    [("en", "Shown as plain text: it is too long"), ("zh", "内容过长或嵌套过深，未作排版，按纯文本显示。")],
)
def test_texts_too_long_to_be_formatted_say_so_below_themselves(
    browser: Browser, served: Served, language: str, told: str
) -> None:
    ask(served, COMPARISON, texts=("**short**", "**long** " * 5000))
    with person(browser, served, "ann", language=language) as ann:
        begin(ann)
        long = ann.page.locator(".completion").filter(has_text="**long**")
        expect(long.locator(".rendered > .plain + .help")).to_contain_text(told)
        expect(ann.page.locator(".rendered .help")).to_have_count(1)  # neither below the short one nor below the prompt


def test_texts_that_are_to_be_read_as_written_say_nothing_of_it(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON, reading="plain")
    with person(browser, served, "ann") as ann:
        begin(ann)
        expect(ann.page.locator(".completion .rendered > .plain")).to_have_count(2)
        expect(ann.page.locator(".rendered .help")).to_have_count(0)


@pytest.mark.parametrize("reading", ["plain", pytest.param("rendered", marks=pytest.mark.slow)])
def test_the_hint_says_how_parts_are_marked_by_keys_and_it_works(
    browser: Browser, served: Served, reading: str
) -> None:
    ask(served, CRITIQUE, texts=("one **two** three", "four five six"), reading=reading)
    with person(browser, served, "ann") as ann:
        begin(ann)
        hint = ann.page.locator(".completion .help", has_text="arrows choose a word").first
        opener = ann.page.get_by_role("button", name="Mark parts of the text").first
        if reading == "rendered":
            expect(hint).to_contain_text("First press “Mark parts of the text”")
            opener.focus()
            ann.press("Enter")
        else:
            expect(hint).to_contain_text("Tab into the text")
            expect(opener).to_have_count(0)
            ann.page.locator(".marking").first.focus()
        ann.press("ArrowRight", "Shift+ArrowRight", "1")
        expect(ann.page.locator(".marking mark")).to_have_count(1)
        ann.press("?")
        expect(ann.page.locator("#help-keys")).to_contain_text("opened with “Mark parts of the text”")
