"""The item screen in a real browser: every kind of answer, by keys alone."""

from __future__ import annotations

import pytest
from browser import LARGE, SMALL, Person, Served, assert_accessible, overflow, person
from playwright.sync_api import Browser, expect
from sqlalchemy import select
from work_screen import COMPARISON, CRITIQUE, RATING, ask, begin, places, prompt, sent, stored, text_of, waits_for_next

from heed.feedback.schema import feedback


def test_a_comparison_needs_three_keys_and_the_next_item_is_there(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON)
    with person(browser, served, "ann") as ann:
        begin(ann)
        asked_of, (left, right) = prompt(ann), places(ann)
        ann.press("2", "w", "Enter")
        waits_for_next(ann, asked_of)
        sent(ann)
        (row,) = stored(served)
        assert row.answer["better"]["strength"] == 2
        winner = row.completion_ids["ab".index(row.answer["better"]["choice"])]
        assert text_of(served, winner) == right != left
        assert row.chose_left is False
        expect(ann.page.locator("#progress")).to_have_text("1 answered")
        assert ann.complaints == []


def test_every_kind_of_answer_can_be_given_by_keys_alone(browser: Browser, served: Served) -> None:
    ask(
        served,
        COMPARISON,
        RATING,
        {"kind": "ranking", "name": "order", "label": "Order"},
        {"kind": "thumb", "name": "good", "label": "Good?"},
        {"kind": "edit", "name": "mended", "label": "Mend it"},
        {"kind": "demonstration", "name": "own", "label": "Your answer"},
        {**CRITIQUE, "spans": False},
        ask_confidence=True,
    )
    with person(browser, served, "ann") as ann:
        begin(ann)
        asked_of, shown = prompt(ann), places(ann)
        # By completion: helpful, kind, thumb, edit, critique.
        for thumb, words in (("y", "!"), ("n", " indeed")):
            ann.press("4", "ArrowRight", "ArrowRight", "j", thumb, "i", "End")
            ann.page.keyboard.type(words)
            ann.press("Escape", "j", "1", "j")
        ann.press("2", "e")  # the comparison, then the ranks
        ann.press("2", "1", "i")
        ann.page.keyboard.type("My own 1234 answer sfu?")
        ann.press("Escape", "j", "5", "Enter")
        waits_for_next(ann, asked_of)
        sent(ann)
        (row,) = stored(served)
        order = row.shown_order
        winner = "ab"[order[1]]
        assert row.answer["better"] == {"choice": winner, "strength": 3}
        assert row.answer["score"] == [{"helpful": 4.0, "kind": 7.0}] * 2
        assert row.answer["order"] == {"groups": [[order[1]], [order[0]]]}
        assert [row.answer["good"][position] for position in order] == [True, False]
        assert [row.answer["mended"][p] for p in order] == [shown[0] + "!", shown[1] + " indeed"]
        assert row.answer["own"] == "My own 1234 answer sfu?"
        assert row.answer["wrong"] == [{"defects": ["rude"], "spans": [], "note": ""}] * 2
        assert row.confidence == 1.0
        with served.project.store.reading() as connection:
            kinds = sorted(connection.scalars(select(feedback.c.kind)))
        assert kinds == sorted(["comparison", "demonstration", "ranking", *["rating", "thumb", "edit", "critique"] * 2])
        assert ann.complaints == []


def test_submitting_too_early_says_what_is_missing_and_sends_nothing(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON, RATING)
    with person(browser, served, "ann") as ann:
        begin(ann)
        asked_of = prompt(ann)
        ann.press("1", "Enter")
        slider = ann.page.locator(".part", has_text="Kind").first
        expect(slider.locator(".field-error")).to_have_text("Give a score.")
        expect(slider.locator("input")).to_be_focused()
        assert prompt(ann) == asked_of
        assert stored(served) == []
        assert_accessible(ann.page)


def test_nothing_happens_by_keys_while_typing(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON, {"kind": "demonstration", "name": "own", "label": "Own", "required": False})
    with person(browser, served, "ann") as ann:
        begin(ann)
        asked_of = prompt(ann)
        ann.press("i")
        ann.page.keyboard.type("1234 qwe sfu?jk")
        ann.press("Enter", "Backspace", "Backspace")
        assert ann.page.locator("textarea.tall").input_value() == "1234 qwe sfu?j"
        assert prompt(ann) == asked_of
        assert ann.page.locator(".item input:checked").count() == 0
        assert ann.page.locator("dialog[open]").count() == 0
        ann.press("Escape", "1")
        ann.page.locator("textarea.tall").focus()
        ann.press("Control+Enter")
        waits_for_next(ann, asked_of)


def test_a_ranking_by_dragging_says_the_same_as_one_by_keys(browser: Browser, served: Served) -> None:
    ask(served, {"kind": "ranking", "name": "order", "label": "Order"}, texts=("one", "two", "three", "four"))
    with person(browser, served, "ann") as ann:
        begin(ann)

        def drag(letter: str, target: str) -> None:
            chip = ann.page.locator(".chip", has_text=letter)
            chip.scroll_into_view_if_needed()
            chip.hover()
            ann.page.mouse.down()
            box = ann.page.locator(f"[data-drop='{target}']").bounding_box()
            assert box is not None
            ann.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
            ann.page.mouse.up()

        drag("C", "before-0")
        drag("A", "before-1")
        drag("D", "with-1")
        drag("B", "before-0")
        assert ann.page.locator(".rank-group").all_inner_texts() == ["1\nB", "2\nC", "3\nA\nD\nTie"]
        state = [ann.page.locator(".rank-rows .part").nth(n).locator("input:checked").input_value() for n in range(4)]
        assert state == ["2", "0", "1", "2"]
        drag("C", "none")
        ann.press("Enter")
        expect(ann.page.locator("#work-state")).to_have_text("1 answer is not ranked. Submit again to send it so.")
        assert stored(served) == []
        ann.press("Enter")
        expect(ann.page.locator(".empty")).to_be_visible()
        sent(ann)
        (row,) = stored(served)
        assert row.answer["order"] == {
            "groups": [[row.shown_order[1]], sorted([row.shown_order[0], row.shown_order[3]])]
        }


def test_marks_count_characters_of_the_raw_text(browser: Browser, served: Served) -> None:
    ask(served, CRITIQUE, texts=("👍🏽 is **bold**\nand so on", "我不太明白。"), reading="plain")
    with person(browser, served, "ann") as ann:
        begin(ann)
        ann.page.evaluate(
            """() => {
              const text = [...document.querySelectorAll(".marking")].find((one) => one.textContent.includes("bold"));
              text.focus();
              const at = text.textContent.indexOf("**bold**");
              getSelection().setBaseAndExtent(text.firstChild, at, text.firstChild, at + 8);
            }"""
        )
        ann.page.locator(".marker:visible button", has_text="false").click()
        expect(ann.page.locator(".marking mark")).to_have_text("**bold**")
        # The Chinese one by keys: the first two words, marked by the key of the first defect.
        chinese = ann.page.locator(".marking", has_text="我")
        chinese.focus()
        ann.press("ArrowRight", "Shift+ArrowRight", "1")
        expect(chinese.locator("mark")).to_have_count(1)
        marked = chinese.locator("mark").inner_text()
        assert_accessible(ann.page)
        ann.press("Enter")
        sent(ann)
        (row,) = stored(served)
        texts = [text_of(served, key) for key in row.completion_ids]
        for text, entry in zip(texts, row.answer["wrong"], strict=True):
            (span,) = entry["spans"]
            expected = "**bold**" if "bold" in text else marked
            assert text[span["start"] : span["end"]] == expected
            assert entry["defects"] == [span["label"]]


def test_an_edit_shows_what_was_changed_as_words_taken_out_and_put_in(browser: Browser, served: Served) -> None:
    ask(served, {"kind": "edit", "name": "mended", "label": "Mend it"}, texts=("The cat sat on the mat.",))
    with person(browser, served, "ann") as ann:
        begin(ann)
        ann.press("Enter")
        expect(ann.page.locator(".field-error:visible")).to_have_count(1)
        ann.page.locator("textarea").first.fill("The old cat lay on the mat.")
        expect(ann.page.locator(".diff del")).to_have_text("sat")
        assert [text.strip() for text in ann.page.locator(".diff ins").all_inner_texts()] == ["old", "lay"]
        assert_accessible(ann.page)
        ann.press("Control+Enter")
        sent(ann)
        assert stored(served)[0].answer["mended"] == ["The old cat lay on the mat."]


@pytest.mark.parametrize(
    ("label", "above"),
    [
        ("How kind is it to the customer?", ["How kind is it to the customer?", "To the customer.", "Kindness"]),
        ("Kindness", ["Kindness", "To the customer."]),
    ],
)
def test_a_rating_keeps_its_question_above_its_one_scale_and_says_nothing_twice(
    browser: Browser, served: Served, label: str, above: list[str]
) -> None:
    scales = [{"name": "kind", "label": "Kindness"}]
    field = {"kind": "rating", "name": "kind", "label": label, "help": "To the customer.", "attributes": scales}
    ask(served, field, texts=("one",))
    with person(browser, served, "ann") as ann:
        begin(ann)
        said = ann.page.locator(".slot").inner_text().replace("Answer A:\n", "")
        assert said.split("\n\n")[: len(above)] == above


DIFFED = [
    ("", "a"),
    ("a b", ""),
    ("same", "same"),
    ("我不太明白。", "我很明白。"),
    ("a\n\nb 👍🏽 c", "a\nb 👍 c d"),
    ("one two three " * 900, "two one three " * 900),
]


READ = {
    ("Go away, and never come back again, please.", "We are closed; please come back another day, if you can."): (
        "[Go away, and never|We are closed; please] come back [again|another day], [please|if you can]."
    ),
    ("a b c d", "a x y d"): "a [b c|x y] d",
    ("one two three", "one three"): "one [two |]three",
    ("我不知道，请您以后再来。", "我们不知道，请您明天再来。"): "[我|我们]不知道，请您[以后|明天]再来。",
    ("first\n\nsecond", "1st\n\n2nd"): "[first|1st]\n\n[second|2nd]",
}
"""What a diff of two texts reads like: [taken out|put in]."""


def diff_module(nobody: Person) -> str:
    """Address of the module that finds diffs, on a page that has nothing else."""
    nobody.goto("/nothing-is-here")
    return str(nobody.page.get_attribute("script[type=module]", "src")).replace("base.js", "studio/diff.js")


def test_a_diff_is_read_in_whole_phrases(browser: Browser, served: Served) -> None:
    with person(browser, served) as nobody:
        address = diff_module(nobody)
        found = nobody.page.evaluate(
            """async ([address, pairs]) => {
              const { diffWords } = await import(address);
              return pairs.map(([old, now]) => diffWords(old, now).map(({ kind, text }, at, all) => {
                if (kind === "same") return text;
                if (kind === "del") return `[${text}|${all[at + 1]?.kind === "ins" ? "" : "]"}`;
                return `${all[at - 1]?.kind === "del" ? "" : "[|"}${text}]`;
              }).join(""));
            }""",
            [address, list(READ)],
        )
        assert found == list(READ.values())


def test_a_diff_holds_both_texts(browser: Browser, served: Served) -> None:
    with person(browser, served) as nobody:
        address = diff_module(nobody)
        found = nobody.page.evaluate(
            """async ([address, pairs]) => {
              const { diffWords } = await import(address);
              const without = (pieces, kind) => pieces.filter((piece) => piece.kind !== kind).map(({ text }) => text).join("");
              return pairs.map(([old, now]) => [without(diffWords(old, now), "ins"), without(diffWords(old, now), "del")]);
            }""",
            [address, DIFFED],
        )
        assert [tuple(pair) for pair in found] == DIFFED


@pytest.mark.parametrize(
    ("size", "language", "theme"),
    [
        (LARGE, "en", "light"),
        (SMALL, "zh", "dark"),
        pytest.param(LARGE, "zh", "dark", marks=pytest.mark.slow),
        pytest.param(SMALL, "en", "light", marks=pytest.mark.slow),
    ],
)
def test_an_item_with_everything_is_accessible_and_fits(
    browser: Browser, served: Served, size: tuple[int, int], language: str, theme: str
) -> None:
    ask(
        served,
        COMPARISON,
        RATING,
        {"kind": "ranking", "name": "order", "label": "Order"},
        {"kind": "thumb", "name": "good", "label": "Good?"},
        {"kind": "edit", "name": "mended", "label": "Mend it"},
        {"kind": "demonstration", "name": "own", "label": "Your answer"},
        CRITIQUE,
        ask_confidence=True,
        instructions="Read **both**.",
    )
    with person(browser, served, "ann", size=size, language=language, theme=theme) as ann:
        begin(ann)
        ann.press("1")
        assert overflow(ann.page) == []
        assert_accessible(ann.page)
        small = ann.page.evaluate(
            """() => [...document.querySelectorAll("main button, main a, main label, .work-bar button")]
              .filter((one) => one.offsetWidth && (one.offsetHeight < 24 || one.offsetWidth < 24)
                && !one.closest(".rendered"))
              .map((one) => one.outerHTML.slice(0, 100))"""
        )
        assert small == []
        assert ann.complaints == []


def test_when_all_is_answered_the_screen_says_so(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON, count=1)
    with person(browser, served, "ann") as ann:
        begin(ann)
        ann.press("1", "Enter")
        expect(ann.page.locator(".empty")).to_contain_text("You have answered all that was there for you.")
        expect(ann.page.locator(".empty").get_by_role("link", name="My page")).to_be_visible()
        assert_accessible(ann.page)
        ann.press("u")
        expect(ann.page.locator("#tags")).to_have_text("Changing your answer")
