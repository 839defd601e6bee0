"""The item screen in a real browser: going back, aside and elsewhere, and what comes before the work."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime

import pytest
from browser import SMALL, Person, Served, assert_accessible, person, settled
from playwright.sync_api import Browser, expect
from sqlalchemy import select
from work_screen import COMPARISON, ask, begin, places, prompt, sent, stored, waits_for_next

from heed.feedback import asked, items
from heed.feedback.forms import parse_form
from heed.feedback.item_files import parse_item
from heed.feedback.studio_schema import flags, showings
from heed.people import guidelines


def test_undo_opens_the_last_answer_and_the_change_supersedes_it(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON)
    with person(browser, served, "ann") as ann:
        begin(ann)
        first = prompt(ann)
        ann.press("1", "e", "Enter")
        waits_for_next(ann, first)
        sent(ann)
        second = prompt(ann)
        ann.press("u")
        expect(ann.page.locator(".prompt .turn")).to_contain_text(first)
        assert ann.page.locator("input:checked").evaluate_all("(all) => all.map((one) => one.value)") == ["left", "3"]
        expect(ann.page.locator("#tags")).to_have_text("Changing your answer")
        ann.press("2", "Enter")
        expect(ann.page.locator(".prompt .turn")).to_contain_text(second)
        sent(ann)
        before, after = stored(served)
        assert after.supersedes == before.id
        assert after.answer["better"]["choice"] != before.answer["better"]["choice"]
        assert after.showing_id == before.showing_id


@pytest.mark.slow
def test_what_was_half_written_is_there_again_after_an_undo(browser: Browser, served: Served) -> None:
    ask(served, {"kind": "demonstration", "name": "own", "label": "Own"})
    with person(browser, served, "ann") as ann:
        begin(ann)
        first, text = prompt(ann), ann.page.locator("textarea.tall")
        text.fill("done")
        ann.press("Control+Enter")
        waits_for_next(ann, first)
        sent(ann)
        second = prompt(ann)
        for words in ("half", "half of it"):
            text.fill(words)
            expect(ann.page.locator("#draft-state")).to_have_text("Draft saved")
            ann.press("Escape", "u")
            expect(text).to_have_value("done")
            ann.press("Enter")
            expect(ann.page.locator(".prompt .turn")).to_contain_text(second)
            expect(text).to_have_value(words)
            sent(ann)
        text.fill("half of it and more")
        expect(ann.page.locator("#draft-state")).to_have_text("Draft saved")
        assert ann.page.locator(".banner").count() == 0


def test_undo_brings_back_confidence_and_note_on_any_machine(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON, ask_confidence=True)
    with person(browser, served, "ann") as ann:
        begin(ann)
        ann.press("1", "q", "2")
        ann.page.get_by_text("Add a note").click()
        ann.page.locator(".note textarea").fill("hard to say")
        ann.press("Control+Enter")
        sent(ann)
    with person(browser, served, "ann") as elsewhere:
        begin(elsewhere)
        elsewhere.press("u")
        expect(elsewhere.page.locator("#tags")).to_have_text("Changing your answer")
        expect(elsewhere.page.locator(".note textarea")).to_have_value("hard to say")
        elsewhere.press("2", "Enter")
        sent(elsewhere)
        before, after = stored(served)
        assert (after.confidence, after.note) == (before.confidence, before.note) == (0.25, "hard to say")


def test_undo_without_the_network_takes_back_what_has_not_gone_out(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON)
    with person(browser, served, "ann") as ann:
        begin(ann)
        ann.page.wait_for_load_state("networkidle")
        ann.context.set_offline(True)
        first = prompt(ann)
        ann.press("1", "Enter")
        expect(ann.page.locator("#work-state")).to_have_text("Offline: 1 answer waits")
        ann.press("u")
        expect(ann.page.locator(".prompt .turn")).to_contain_text(first)
        ann.press("4", "Enter")
        ann.context.set_offline(False)
        sent(ann)
        assert [row.answer["better"]["choice"] for row in stored(served)] == ["both_bad"]


def test_skipping_takes_a_reason_and_flagging_leaves_the_item(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON)
    with person(browser, served, "ann") as ann:
        begin(ann)
        first = prompt(ann)
        ann.press("f")
        assert_accessible(ann.page)
        ann.page.keyboard.type("The prompt names a person")
        ann.press("Control+Enter")
        expect(ann.page.locator(".toast")).to_contain_text("Flagged")
        assert prompt(ann) == first
        ann.press("s")
        expect(ann.page.locator("#skip-dialog")).to_be_visible()
        assert_accessible(ann.page)
        ann.press("Escape")
        assert prompt(ann) == first
        ann.press("s", "ArrowDown", "Tab")
        ann.page.keyboard.type("Basque")
        ann.press("Control+Enter")
        waits_for_next(ann, first)
        sent(ann)
        with served.project.store.reading() as connection:
            skipped = connection.scalars(select(showings.c.skip_reason).where(showings.c.state == "skipped")).all()
            flagged = connection.scalars(select(flags.c.note)).all()
        assert (list(skipped), list(flagged)) == (["language: Basque"], ["The prompt names a person"])


@pytest.mark.slow
def test_keys_can_be_set_and_turned_off_and_stay_so_elsewhere(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON)
    with person(browser, served, "ann") as ann:
        begin(ann)
        ann.press("?")
        assert_accessible(ann.page)
        ann.page.get_by_role("button", name="Set keys").click()
        left = ann.page.get_by_role("button", name=re.compile("^Left is better"))
        left.focus()
        ann.press("Enter", "2")
        expect(ann.page.locator("#keys-fault.field-error")).to_contain_text("already the key")
        left.focus()
        with ann.page.expect_response("**/api/v1/me") as answered:
            ann.press("Enter", "g")
        assert answered.value.ok
        assert_accessible(ann.page)
        ann.press("Escape", "1")
        assert ann.page.locator(".item input:checked").count() == 0
        ann.press("g")
        assert ann.page.locator(".item input:checked").count() == 1
        expect(ann.page.locator(".pick", has_text="A is better").locator("kbd")).to_have_text("G")
    with person(browser, served, "ann") as elsewhere:
        begin(elsewhere)
        elsewhere.press("4")
        elsewhere.press("?")
        elsewhere.page.get_by_role("button", name="Set keys").click()
        with elsewhere.page.expect_response("**/api/v1/me") as answered:
            elsewhere.page.locator("#keys-enabled").click()
        assert answered.value.ok
        elsewhere.press("Escape", "g", "2", "s", "Enter")
        assert elsewhere.page.locator(".item input:checked").input_value() == "both_bad"
        assert elsewhere.page.locator("dialog[open], kbd:visible").count() == 0


def add(served: Served, question: str, purpose: str, count: int) -> None:
    """Items of a question whose known answer is the one that says so."""
    rows = [
        parse_item(
            {
                "prompt": f"{purpose} {n}",
                "completions": ["this is right", "this is wrong"],
                "purpose": purpose,
                "expected": {"better": {"choice": "a"}},
                "explanation": f"Because of **reason** {n}.",
            }
        )
        for n in range(count)
    ]
    now = datetime.now(UTC)
    served.write(lambda connection: items.add_items(connection, question, rows, now, random.Random(3)))


def choose(rater: Person, words: str) -> None:
    """The key of the completion that says ``words``."""
    rater.press(str(places(rater).index(words) + 1))


def test_a_training_item_explains_at_once_and_waits(browser: Browser, served: Served) -> None:
    question = ask(served, COMPARISON)
    add(served, question, "training", 2)
    with person(browser, served, "ann") as ann:
        begin(ann)
        expect(ann.page.locator("#tags")).to_have_text("Practice")
        for number, (words, verdict) in enumerate([("this is right", "That is right"), ("this is wrong", "Not quite")]):
            expect(ann.page.locator(".prompt .turn")).to_contain_text(f"training {number}")
            expect(ann.page.locator("#progress")).to_have_text(f"Practice {number + 1} of 2")
            choose(ann, words)
            right = "AB"[places(ann).index("this is right")]
            ann.press("Enter")
            box = ann.page.locator(".explanation")
            expect(box.locator("h2")).to_have_text(verdict)
            expect(box).to_contain_text(f"Because of reason {number}.")
            expect(box.locator("dd")).to_have_text(f"{right} is better")
            expect(box).to_be_focused()
            assert_accessible(ann.page)
            ann.press("Enter")
        expect(ann.page.locator("#tags")).to_be_empty()
        expect(ann.page.locator("#progress")).to_have_text("0 answered")
        expect(ann.page.locator(".prompt .turn")).to_contain_text("Prompt ")


def test_the_test_before_the_work_ends_on_its_page(browser: Browser, served: Served) -> None:
    question = ask(served, COMPARISON, qualification={"pass_mark": 1.0})
    add(served, question, "qualification", 2)
    with person(browser, served, "ann") as ann:
        ann.goto("/work")
        expect(ann.page).to_have_url(re.compile("/qualification/"))
        ann.page.locator("main form button").first.click()
        expect(ann.page.locator(".item")).to_be_visible()
        for number in range(2):
            expect(ann.page.locator(".prompt .turn")).to_contain_text(f"qualification {number}")
            expect(ann.page.locator("#tags")).to_have_text("Test")
            expect(ann.page.locator("#progress")).to_have_text(f"{number + 1} of 2")
            expect(ann.page.locator("#skip")).to_be_disabled()
            choose(ann, "this is right")
            ann.press("Enter")
        expect(ann.page).to_have_url(re.compile("/qualification/"))
        begin(ann)
        expect(ann.page.locator(".prompt .turn")).to_contain_text("Prompt ")


def test_training_goes_on_to_its_test_without_asking_for_what_comes_after_it(browser: Browser, served: Served) -> None:
    question = ask(served, COMPARISON, qualification={"pass_mark": 1.0})
    add(served, question, "training", 2)
    add(served, question, "qualification", 1)
    with person(browser, served, "ann") as ann:
        begin(ann)
        for number in range(2):
            expect(ann.page.locator(".prompt .turn")).to_contain_text(f"training {number}")
            choose(ann, "this is right")
            ann.press("Enter")
            expect(ann.page.locator(".explanation")).to_be_focused()
            ann.press("Enter")
        expect(ann.page).to_have_url(re.compile("/qualification/"))
        settled(ann.page)
        assert ann.complaints == []


def test_guidelines_come_before_the_first_item(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON)
    now = datetime.now(UTC)
    served.write(lambda connection: guidelines.save(connection, "Be fair.", "", "lea", 0, now))
    with person(browser, served, "ann") as ann:
        ann.goto("/work")
        expect(ann.page).to_have_url(re.compile("/guidelines"))
        ann.page.locator("main form button").last.click()
        expect(ann.page.locator(".item")).to_be_visible()


def test_of_several_questions_one_is_chosen(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON, title="The first")
    other = parse_form({"title": "The other", "fields": [{"kind": "thumb", "name": "good", "label": "Good?"}]})
    served.write(lambda connection: asked.create_question(connection, "other", other, "lea", datetime.now(UTC)))
    with person(browser, served, "ann") as ann:
        ann.goto("/work")
        assert_accessible(ann.page)
        ann.page.get_by_role("link", name="The first").click()
        expect(ann.page.locator(".item")).to_be_visible()
        ann.page.get_by_role("link", name="Other questions").click()
        ann.page.get_by_role("link", name="The other").click()
        expect(ann.page.locator(".empty")).to_contain_text("There are no items here for you yet.")
        ann.page.locator(".empty").get_by_role("link", name="Other questions").click()
        expect(ann.page.get_by_role("link", name="The first")).to_be_visible()


def test_the_choice_of_a_question_says_what_comes_before_its_work(browser: Browser, served: Served) -> None:
    trained = ask(served, COMPARISON, title="The first")
    add(served, trained, "training", 1)
    tested = parse_form({"title": "Tested", "fields": [COMPARISON], "qualification": {"pass_mark": 0.5}})
    made = served.write(lambda connection: asked.create_question(connection, "other", tested, "lea", datetime.now(UTC)))
    add(served, made.id, "qualification", 1)
    with person(browser, served, "ann") as ann:
        ann.goto("/work")
        cards = ann.page.locator(".question-card")
        expect(cards.filter(has_text="The first")).to_contain_text("practice comes first")
        expect(cards.filter(has_text="Tested")).to_contain_text("a test comes first")


def test_the_help_on_keys_begins_at_its_beginning_on_the_smallest_screen(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON)
    with person(browser, served, "ann", size=SMALL) as ann:
        begin(ann)
        ann.press("?")
        expect(ann.page.locator("#help-title")).to_be_focused()
        expect(ann.page.locator("#help-title")).to_be_in_viewport()


def test_what_a_proxy_says_is_not_told_to_raters(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON)
    with person(browser, served, "ann") as ann:
        ann.page.route("**/showings", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
        ann.goto("/work")
        expect(ann.page.locator(".empty")).to_contain_text("The server cannot answer now.")


HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}"


def test_hostile_words_of_a_question_stay_words(browser: Browser, served: Served) -> None:
    words = {"label": HOSTILE, "help": HOSTILE}
    attribute = {"name": "helpful", "label": HOSTILE, "low_label": HOSTILE, "high_label": HOSTILE}
    ask(
        served,
        {**COMPARISON, **words},
        {"kind": "rating", "name": "score", "attributes": [attribute], **words},
        {"kind": "critique", "name": "wrong", "defects": [HOSTILE], "spans": True, **words},
        texts=(HOSTILE, "other"),
        title=HOSTILE,
        instructions=HOSTILE,
    )
    with person(browser, served, "ann") as ann:
        begin(ann)
        assert ann.page.locator("main img, main script:not([type='application/json'])").count() == 0
        assert ann.page.locator("h1").inner_text() == HOSTILE
        assert ann.complaints == []
